"""Who runs in a farm, and what each is told."""

import json
import sys
from pathlib import Path

import pytest

from farm.children import child_specs
from farm.config import BadConfig, FarmConfig, endpoints, with_overrides
from farm.paths import DEMO_MODEL, Paths
from farm.restart import ChildSpec, Incarnation
from shm.layout import RingLayout


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_the_farm_is_a_broker_and_its_workers(run_dir: Path, tmp_path: Path) -> None:
    values = {"audio.workers": 2, "inference.batch_size": 25}
    config = with_overrides(FarmConfig(), values, source="options")
    paths = Paths(data=tmp_path / "data", cache=tmp_path / "cache")

    specs = child_specs(config, paths, endpoints(config, run_dir), n_cores=4)

    names = [spec.name for spec in specs]
    assert names == ["broker", "audio-0", "audio-1", "inference-0"] + [
        f"compositor-{n}" for n in range(3)
    ]
    rings = {spec.name: spec.makes_ring for spec in specs if spec.makes_ring}
    assert rings == {"inference-0": RingLayout(4, 25, 328 * 328 * 4)}


def options_of(spec: ChildSpec) -> dict[str, str]:
    has_ring = spec.makes_ring is not None
    given = Incarnation(number=2, life_fd=7, control_fd=8, ring="lipfarm-x" if has_ring else None)
    words = spec.command(given)
    assert words[:3] == [sys.executable, "-P", "-m"]
    return dict(zip(words[4::2], words[5::2], strict=True))


def test_everybody_is_told_what_it_needs(run_dir: Path, tmp_path: Path) -> None:
    paths = Paths(data=tmp_path / "data", cache=tmp_path / "cache")
    config = FarmConfig()

    specs = child_specs(config, paths, endpoints(config, run_dir), n_cores=1)
    broker, audio, inference, compositor = map(options_of, specs)

    assert json.loads(broker.pop("--config-json"))["workers"] == {
        "audio": 1,
        "inference": 1,
        "compositor": 1,
    }
    assert broker == {
        "--client-endpoint": f"ipc://{run_dir}/client.sock",
        "--worker-endpoint": f"ipc://{run_dir}/worker.sock",
        "--control-fd": "8",
        "--life-fd": "7",
        "--data": str(paths.data),
        "--cache": str(paths.cache),
    }
    demo = json.dumps({"demo": str(DEMO_MODEL)})
    assert audio == {
        "--role": "audio",
        "--name": "audio-0",
        "--life-fd": "7",
        "--broker": f"ipc://{run_dir}/worker.sock",
        "--cache": str(paths.graphs),
        "--heartbeat-s": "1.0",
        "--silent-s": "5.0",
        "--device": "cpu",
        "--preload": demo,
    }
    shared = {"--life-fd", "--broker", "--cache", "--heartbeat-s", "--silent-s"}
    assert {k: v for k, v in inference.items() if k not in shared} == {
        "--role": "inference",
        "--name": "inference-0",
        "--batch-size": "8",
        "--threads": "1",
        "--spinning": "0",
        "--precision": "fp32",
        "--may-fall-back": "0",
        "--provider-options": "{}",
        "--device": "cpu",
        "--preload": demo,
        "--ring": "lipfarm-x",
        "--ring-blocks": "4",
        "--epoch": "2",
    }
    assert {k: v for k, v in compositor.items() if k not in shared} == {
        "--role": "compositor",
        "--name": "compositor-0",
        "--kernels": "fastest",
        "--log-times": "0",
    }


def inference_of(run_dir: Path, n_gpus: int = 0, **values: object) -> list[dict[str, str]]:
    """What the inference workers are told; ``values`` by "section__key"."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    config = with_overrides(FarmConfig(), named, source="options")
    paths = Paths(data=run_dir, cache=run_dir)
    specs = child_specs(config, paths, endpoints(config, run_dir), n_cores=4, n_gpus=n_gpus)
    return [options_of(spec) for spec in specs if spec.role == "inference"]


@pytest.mark.parametrize(
    ("devices", "n_gpus", "wanted"),
    [
        (["auto"], 0, ["cpu"]),
        (["auto"], 2, ["cuda:0", "cuda:1"]),
        (["cpu"], 2, ["cpu"]),
        (["cuda", "tensorrt:3"], 0, ["cuda:0", "tensorrt:3"]),
    ],
)
def test_there_is_a_worker_for_each_device(
    run_dir: Path, devices: list[str], n_gpus: int, wanted: list[str]
) -> None:
    workers = inference_of(run_dir, n_gpus, inference__devices=devices)

    assert [options["--device"] for options in workers] == wanted


def test_workers_on_the_cpu_share_its_cores(run_dir: Path) -> None:
    workers = inference_of(run_dir, inference__devices=["cpu", "cpu"])

    assert [options["--threads"] for options in workers] == ["2", "2"]


@pytest.mark.parametrize(
    ("assignment", "pinned", "placed"),
    [
        ("spread", {}, [["demo", "tiny"], ["demo", "tiny"]]),
        ("round-robin", {}, [["demo"], ["tiny"]]),
        ("least-loaded", {"demo": ["cuda:1"]}, [[], ["demo", "tiny"]]),
        ("spread", {"demo": ["cuda:1"]}, [["tiny"], ["demo", "tiny"]]),
    ],
)
def test_models_are_preloaded_where_they_belong(
    run_dir: Path, assignment: str, pinned: dict[str, list[str]], placed: list[list[str]]
) -> None:
    workers = inference_of(
        run_dir,
        n_gpus=2,
        models__preload=["demo", "tiny"],
        models__assignment=assignment,
        models__devices=pinned,
    )

    assert [sorted(json.loads(options["--preload"])) for options in workers] == placed


def test_a_model_for_devices_that_are_not_there_is_refused_at_once(run_dir: Path) -> None:
    with pytest.raises(BadConfig, match=r"models\.devices\.demo = \['cuda:5'\]"):
        inference_of(run_dir, models__devices={"demo": ["cuda:5"]})


def test_a_model_that_is_to_be_preloaded_and_is_not_there_is_refused_at_once(
    run_dir: Path,
) -> None:
    with pytest.raises(BadConfig, match=r"models\.preload: 'nobody'"):
        inference_of(run_dir, models__preload=["nobody"])


def test_a_model_directory_that_is_missing_is_refused_at_once(run_dir: Path) -> None:
    config = with_overrides(FarmConfig(), {"model.directory": "/nowhere"}, source="options")
    paths = Paths(data=run_dir, cache=run_dir)

    with pytest.raises(BadConfig, match=r"model\.directory = '/nowhere'"):
        child_specs(config, paths, endpoints(config, run_dir), n_cores=1)


def test_compositors_are_told_to_log_their_times(run_dir: Path) -> None:
    values = {"compositors.log_compositing_times": True}
    config = with_overrides(FarmConfig(), values, source="options")
    paths = Paths(data=run_dir, cache=run_dir)

    silent = child_specs(FarmConfig(), paths, endpoints(config, run_dir), n_cores=1)[-1]
    specs = child_specs(config, paths, endpoints(config, run_dir), n_cores=1)

    assert options_of(silent)["--log-times"] == "0"
    assert options_of(specs[-1])["--log-times"] == "1"
