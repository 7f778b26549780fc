"""Who runs in a farm, and what each is told."""

import json
import sys
from pathlib import Path

import pytest

from farm.children import child_specs
from farm.config import BadConfig, FarmConfig, endpoints, with_overrides
from farm.paths import Paths
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
    assert (audio["--role"], audio["--name"], audio["--life-fd"]) == ("audio", "audio-0", "7")
    assert (audio["--threads"], audio["--silent-s"]) == ("1", "5.0")
    assert {**audio, "--role": "compositor", "--name": "compositor-0"} == compositor
    assert inference.items() - audio.items() == {
        ("--role", "inference"),
        ("--name", "inference-0"),
        ("--ring", "lipfarm-x"),
        ("--ring-blocks", "4"),
        ("--epoch", "2"),
    }


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
