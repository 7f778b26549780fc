"""Several models in one farm: loaded, used, evicted and unloaded while it works."""

import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.client import JobFailed, JobSpec, ModelRefused
from farm.paths import DEMO_MODEL, TINY_MODEL
from tests.farm_process import FAST, RunningFarm, running_farm, wait_until
from tests.material import EDGE_BOXES, FAMILY, clouds, expected, noise_avatar
from workers.arrays import F32
from workers.avatar_compiler import compile_avatar
from workers.model import Model

pytestmark = pytest.mark.beside_a_farm


@pytest.fixture(scope="module")
def models(data: Path) -> dict[str, Model]:
    """Models of the user's own: copies of the demo and the tiny one, which paint differently."""
    for name, source in (("clear", DEMO_MODEL), ("rough", TINY_MODEL)):
        shutil.copytree(source, data / "models" / name)
    loaded = {name: Model.load(data / "models" / name) for name in ("clear", "rough")}
    return {**loaded, "default": loaded["rough"]}


@pytest.fixture(scope="module")
def farm(data: Path, models: dict[str, Model]) -> Iterator[RunningFarm]:
    assert models
    with running_farm(data, config=FAST) as farm:
        yield farm


def run_job(farm: RunningFarm, speech: F32, model: str | None, avatar: str = "anna") -> list[bytes]:
    with farm.client() as client:
        return list(client.submit(JobSpec(audio=speech, avatar=avatar, model=model)))


def test_jobs_of_several_models_come_out_as_each_model_paints(
    farm: RunningFarm, data: Path, speech: F32, models: dict[str, Model]
) -> None:
    jobs = [(name, speech[: 9_000 * k]) for k in (1, 2, 4) for name in models]

    with ThreadPoolExecutor(len(jobs)) as clients:
        results = list(clients.map(lambda job: run_job(farm, job[1], job[0]), jobs))

    for (name, samples), frames in zip(jobs, results, strict=True):
        assert frames == expected(data, "anna", samples, models[name]), name


def test_an_avatar_is_painted_by_its_own_model(
    farm: RunningFarm, data: Path, speech: F32, models: dict[str, Model]
) -> None:
    compile_avatar(
        zip(clouds(4), EDGE_BOXES, strict=True),
        data / "avatars" / "clara",
        avatar_id="clara",
        source_version="1",
        family=FAMILY,
        model="clear",
    )

    frames = run_job(farm, speech[:9_000], None, avatar="clara")

    assert frames == expected(data, "clara", speech[:9_000], models["clear"])


def test_a_model_that_the_farm_does_not_have_is_refused(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        with pytest.raises(JobFailed, match="no model of that id") as refused:
            client.submit(JobSpec(audio=speech, avatar="anna", model="nobody"))
        with pytest.raises(ModelRefused, match="no model of that id"):
            client.models.load("../models/clear")

    assert refused.value.code == "UNKNOWN_MODEL"


def test_a_model_comes_and_goes_by_name(farm: RunningFarm, models: dict[str, Model]) -> None:
    assert models
    with farm.client() as client:
        client.models.load("clear", pin=True)
        report = client.models.status("clear")
        assert (report.places, report.is_pinned) == ({"ready": 1}, True)
        assert report.memory_bytes["cpu"] > 1_000_000
        assert client.models.ids() == ["default", "demo", "clear", "rough"]

        client.models.unload("clear")
        wait_until(lambda: client.models.status("clear").places == {})
        assert not client.models.status("clear").is_pinned


def test_a_model_that_a_job_uses_is_not_unloaded(
    farm: RunningFarm, speech: F32, models: dict[str, Model]
) -> None:
    assert models
    with farm.client() as client, farm.client() as operator:
        job = client.submit(JobSpec(audio=iter([speech]), avatar="anna", model="rough"))
        frames = iter(job)
        next(frames)
        with pytest.raises(ModelRefused, match="a job uses it") as refused:
            operator.models.unload("rough")
        assert len(list(frames)) == 124

    assert refused.value.code == "IN_USE"


def test_files_that_are_no_model_fail_their_job_in_one_line(
    farm: RunningFarm, data: Path, speech: F32
) -> None:
    broken = data / "models" / "broken"
    broken.mkdir()
    (broken / "a.onnx").write_bytes(b"\0" * 1000)

    with pytest.raises(JobFailed) as failed:
        run_job(farm, speech, "broken")

    assert failed.value.code == "MODEL_FAILED"
    assert re.fullmatch(r"a\.onnx: onnxruntime cannot load it \(.*\)", str(failed.value))
    shutil.rmtree(broken)


def test_a_farm_that_must_make_room_all_the_time_loses_nothing(
    data: Path, speech: F32, models: dict[str, Model]
) -> None:
    """One model at a time, idle ones unloaded at once, and an operator who will not let it be."""
    config = FAST + "[models]\nmax_loaded = 1\nidle_unload_s = 0.3\n"
    names = ["clear", "rough", "default"] * 4
    with running_farm(data, config=config) as farm:
        with farm.client() as operator, ThreadPoolExecutor(3) as clients:
            results = clients.map(lambda name: run_job(farm, speech[:16_000], name), names)
            for _ in range(10):
                with suppress(ModelRefused):  # while a job uses it
                    operator.models.unload("clear")
                time.sleep(0.05)
            frames = list(results)
        wanted = {n: expected(data, "anna", speech[:16_000], m) for n, m in models.items()}
        assert frames == [wanted[name] for name in names]
        with farm.client() as client:
            reports = {name: client.models.status(name) for name in ("clear", "rough", "default")}
            wait_until(lambda: all(client.models.status(n).places == {} for n in reports))

    assert {name: report.requests for name, report in reports.items()} == dict.fromkeys(reports, 4)
    assert all(report.frames == 4 * 25 for report in reports.values())
    assert sum(report.loads for report in reports.values()) >= 2


def test_memory_comes_back_when_a_model_goes(data: Path, speech: F32) -> None:
    """A model of 64 MB of weights, used, unloaded, and used again."""
    heavy(data / "models" / "heavy")
    with running_farm(data, config=FAST) as farm, farm.client() as client:
        (worker,) = farm.workers("inference")
        run_job(farm, speech[:9_000], "heavy")
        client.models.unload("heavy")
        wait_until(lambda: client.models.status("heavy").places == {})
        before = private_mb(worker.pid)
        for _ in range(3):
            run_job(farm, speech[:9_000], "heavy")
            loaded, report = private_mb(worker.pid), client.models.status("heavy")
            client.models.unload("heavy")
            wait_until(lambda: client.models.status("heavy").places == {})

            assert loaded - before > 60
            assert report.memory_bytes["cpu"] > 60e6, "what it takes was measured"
            assert private_mb(worker.pid) - before < 10


def heavy(directory: Path) -> None:
    directory.mkdir(parents=True)
    shutil.copy(TINY_MODEL / "audio_encoder.onnx", directory)
    model = onnx.load(TINY_MODEL / "unet.onnx")
    weights = np.zeros((3, 16 << 20 >> 2), np.float32)[:, None]
    weights[:, 0, :] = np.random.default_rng(1).random(weights.shape[-1], np.float32)
    graph, output = model.graph, model.graph.output[0].name
    graph.initializer.append(numpy_helper.from_array(weights, "heavy"))
    nodes = [
        helper.make_node("ReduceMin", ["heavy"], ["least"], keepdims=0),
        helper.make_node("Sub", ["least", "least"], ["nothing"]),
        helper.make_node("Sum", ["inner", "nothing"], [output]),
    ]
    for node in graph.node:
        node.output[:] = ["inner" if name == output else name for name in node.output]
    # Not a constant for the optimiser: it would fold the weights away.
    image = next(v for v in graph.input if v.type.tensor_type.shape.dim[1].dim_value == 6)
    nodes[0].input[0] = "weighed"
    nodes.insert(0, helper.make_node("Mul", ["heavy", "one"], ["weighed"]))
    nodes.insert(0, helper.make_node("ReduceMax", [image.name], ["one"], keepdims=0))
    graph.node.extend(nodes)
    onnx.save(model, directory / "unet.onnx")


def private_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


def test_a_frame_that_is_not_a_number_fails_its_job_alone(data: Path, speech: F32) -> None:
    """A model that answers NaN where the picture has a white pixel: one template of one avatar."""
    nan_where_white(data / "models" / "nan")
    noise_avatar(data / "avatars" / "fine")
    frames = list(clouds(4))
    frames[2][:] = 255
    compile_avatar(
        zip(frames, EDGE_BOXES, strict=True),
        data / "avatars" / "white",
        avatar_id="white",
        source_version="1",
        family=FAMILY,
    )
    model = Model.load(data / "models" / "nan")
    with running_farm(data, config=FAST) as farm, ThreadPoolExecutor(4) as clients:
        bad = clients.submit(run_job, farm, speech, "nan", "white")
        fine = [clients.submit(run_job, farm, speech, "nan", "fine") for _ in range(3)]
        with pytest.raises(JobFailed, match="NaN or infinity in frame 2") as failed:
            bad.result()
        results = [job.result() for job in fine]

    assert failed.value.code == "MODEL_FAILED"
    assert results == [expected(data, "fine", speech, model)] * 3


def nan_where_white(directory: Path) -> None:
    directory.mkdir(parents=True)
    shutil.copy(TINY_MODEL / "audio_encoder.onnx", directory)
    model = onnx.load(TINY_MODEL / "unet.onnx")
    graph, output = model.graph, model.graph.output[0].name
    image = next(v for v in graph.input if v.type.tensor_type.shape.dim[1].dim_value == 6)
    for node in graph.node:
        node.output[:] = ["inner" if name == output else name for name in node.output]
    constants = {"white": np.float32(0.99), "nan": np.float32(np.nan)}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", [image.name], ["most"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Greater", ["most", "white"], ["is_white"]),
            helper.make_node("Where", ["is_white", "nan", "inner"], [output]),
        ]
    )
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, directory / "unet.onnx")


def test_short_jobs_share_their_batches(data: Path, speech: F32) -> None:
    """Eight jobs of five frames at once, at batch size 8: five batches would be perfect."""
    together = Barrier(8)

    def short_job(k: int) -> list[bytes]:
        samples = speech[1_000 * k :][: 5 * 640]
        with farm.client() as client:
            together.wait(60)
            return list(client.submit(JobSpec(audio=samples, avatar="anna")))

    with running_farm(data, config=FAST) as farm, farm.client() as client:
        with ThreadPoolExecutor(8) as clients:
            results = list(clients.map(short_job, range(8)))
        report = client.models.status()

    assert [len(frames) for frames in results] == [5] * 8
    assert report.frames == 40
    assert report.batches <= 6


def test_speech_that_was_heard_before_is_not_encoded_again(
    farm: RunningFarm, data: Path, speech: F32, models: dict[str, Model]
) -> None:
    samples = speech[7_001:60_000]
    with farm.client() as client:
        spent = []
        for avatar in ("anna", "ben"):
            job = client.submit(JobSpec(audio=samples, avatar=avatar))
            assert list(job) == expected(data, avatar, samples, models["default"])
            assert job.done is not None
            spent.append(job.done.stage_ms.get("audio", 0.0))

    assert spent[0] > 0
    assert spent[1] == 0


def test_two_devices_share_the_work_and_one_of_them_may_die(
    data: Path, speech: F32, models: dict[str, Model]
) -> None:
    config = FAST.replace("[inference]", "[inference]\ndevices = ['cpu', 'cpu']")
    with running_farm(data, config=config) as farm:
        workers = farm.workers("inference")
        assert len(workers) == 2
        with ThreadPoolExecutor(6) as clients:
            jobs = [clients.submit(run_job, farm, speech, None) for _ in range(6)]
            wait_until(lambda: all(sum(w.cpu_times()[:2]) > 0.5 for w in workers))
            workers[0].kill()
            frames = [job.result() for job in jobs]
        with farm.client() as client:
            wait_until(lambda: client.farm_status().is_ready)
            assert client.models.status().places == {"ready": 2}

    assert frames == [expected(data, "anna", speech, models["default"])] * 6
