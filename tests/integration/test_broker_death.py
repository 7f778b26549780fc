"""The broker dies, or the whole farm does: jobs go on, and each frame comes once, in order.

The oracle is the sequential renderer, as everywhere.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from farm.client import Client, JobFailed, JobRefused, JobSpec
from farm.embedded import embedded_farm
from farm.paths import TINY_MODEL
from tests.farm_process import FAST, RunningFarm, running_farm, wait_until
from tests.material import expected
from workers.arrays import F32
from workers.avatar import Bundle
from workers.model import Model

pytestmark = pytest.mark.beside_a_farm

CONFIG = FAST + "[compositors]\ncount = 2\n[limits]\ndetached_s = 20\n"


@pytest.fixture(scope="module")
def farm(data: Path, demo_bundle: Bundle) -> Iterator[RunningFarm]:
    """One farm, whose brokers come and go."""
    assert demo_bundle.manifest.n_templates == 100, "drawn once, before any farm starts"
    with running_farm(data, config=CONFIG) as farm:
        yield farm


@pytest.fixture(scope="module")
def long_speech(speech: F32) -> F32:
    return np.tile(speech, 4)


def kill_broker(farm: RunningFarm) -> None:
    (broker,) = farm.workers("broker")
    broker.kill()
    wait_until(lambda: [b.pid for b in farm.workers("broker")] not in ([], [broker.pid]))


def test_a_dead_broker_costs_no_frame_of_any_job(
    farm: RunningFarm, data: Path, long_speech: F32, model: Model
) -> None:
    jobs = [("anna", long_speech), ("ben", long_speech[:30_000]), ("anna", long_speech[:90_000])]
    wanted = [expected(data, *job, model) for job in jobs]

    def run(avatar: str, samples: F32) -> list[bytes]:
        with farm.client() as client:
            return list(client.submit(JobSpec(audio=samples, avatar=avatar)))

    with ThreadPoolExecutor(len(jobs)) as clients:
        results = [clients.submit(run, *job) for job in jobs]
        with farm.client() as other:
            for _ in range(3):
                wait_until(lambda: other.farm_status().frames_sent > 20 or done(results))
                kill_broker(farm)
        frames = [result.result() for result in results]

    assert [len(f) for f in frames] == [len(f) for f in wanted]
    assert frames == wanted


def done(results: "list[Future[list[bytes]]]") -> bool:
    return all(result.done() for result in results)


def test_one_client_goes_on_with_several_jobs(
    farm: RunningFarm, data: Path, long_speech: F32, model: Model
) -> None:
    lengths = (90_000, 12_000, 60_000)
    with farm.client() as client:
        jobs = [client.submit(JobSpec(audio=long_speech[:n], avatar="anna")) for n in lengths]
        first = iter(jobs[0])
        frames = [next(first)]
        kill_broker(farm)
        results = [[*frames, *first], list(jobs[1]), list(jobs[2])]

    assert results == [expected(data, "anna", long_speech[:n], model) for n in lengths]


def test_a_job_is_submitted_while_there_is_no_broker(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    with farm.client() as client:
        (broker,) = farm.workers("broker")
        broker.kill()
        frames = list(client.submit(JobSpec(audio=speech, avatar="ben")))

    assert frames == expected(data, "ben", speech, model)


def test_frames_come_again_within_a_second(farm: RunningFarm, long_speech: F32) -> None:
    with farm.client() as client:
        wait_until(lambda: client.farm_status().is_ready)
        job = iter(client.submit(JobSpec(audio=np.tile(long_speech, 3), avatar="anna")))
        for _ in range(100):
            next(job)
        (broker,) = farm.workers("broker")
        broker.kill()
        begin, gaps = time.monotonic(), [0.0]
        for _ in job:
            now = time.monotonic()
            gaps.append(now - begin)
            begin = now

    print(f"recovery: {max(gaps):.2f} s")
    assert max(gaps) < 5.0  # 0.6 s on an idle machine of two cores


def test_a_broker_that_hangs_is_replaced(
    farm: RunningFarm, data: Path, long_speech: F32, model: Model
) -> None:
    with farm.client() as client:
        job = iter(client.submit(JobSpec(audio=long_speech, avatar="anna")))
        frames = [next(job)]
        (broker,) = farm.workers("broker")
        broker.suspend()
        frames += job

    assert frames == expected(data, "anna", long_speech, model)
    assert not broker.is_running()


def test_a_client_goes_on_after_its_line_was_cut(
    farm: RunningFarm, data: Path, long_speech: F32, model: Model
) -> None:
    with farm.client() as client:
        job = iter(client.submit(JobSpec(audio=long_speech, avatar="anna")))
        frames = []
        for frame in job:
            frames.append(frame)
            if len(frames) in (1, 40, 41, 200):
                client.redial()

    assert frames == expected(data, "anna", long_speech, model)


def test_a_broker_and_workers_die_together(
    farm: RunningFarm, data: Path, long_speech: F32, model: Model
) -> None:
    with farm.client() as client:
        job = iter(client.submit(JobSpec(audio=long_speech, avatar="ben")))
        frames = [next(job)]
        for role in ("inference", "broker", "compositor", "audio"):
            for process in farm.workers(role):
                process.kill()
        frames += job

    assert frames == expected(data, "ben", long_speech, model)


def test_an_open_that_is_repeated_is_harmless(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    spec = JobSpec(audio=speech, avatar="anna", job_id="twice")
    with farm.client() as client, farm.client() as other:
        job = client.submit(spec)
        with pytest.raises(JobRefused, match="of this id is running"):
            other.submit(spec)
        assert list(job) == expected(data, "anna", speech, model)
        begin = other.farm_status().frames_sent
        with pytest.raises(JobRefused, match="taken by another client"):
            list(other.submit(spec))
        with pytest.raises(JobRefused, match="another job of this id was finished"):
            other.submit(JobSpec(audio=speech, avatar="ben", job_id="twice"))
        kill_broker(farm)
        with pytest.raises(JobRefused, match="taken by another client"):
            list(other.submit(spec))
        assert other.farm_status().frames_sent == 0
        assert begin >= 125


def test_a_failed_job_may_be_tried_again(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    with farm.client() as client:
        job = client.submit(JobSpec(audio=endless(speech), avatar="anna", job_id="again"))
        job.cancel()
        with pytest.raises(JobFailed):
            list(job)
        frames = list(client.submit(JobSpec(audio=speech, avatar="anna", job_id="again")))

    assert frames == expected(data, "anna", speech, model)


def test_a_job_can_be_cancelled_while_there_is_no_broker(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        job = client.submit(JobSpec(audio=endless(speech), avatar="anna"))
        frames = iter(job)
        next(frames)
        (broker,) = farm.workers("broker")
        broker.kill()
        job.cancel()
        with pytest.raises(JobFailed, match="cancelled"):
            list(frames)
        wait_until(lambda: client.farm_status().jobs == [], timeout_s=20)


def endless(speech: F32) -> Iterator[F32]:
    while True:
        yield speech


def test_a_job_is_cancelled_when_its_client_does_not_come_back(data: Path, speech: F32) -> None:
    config = FAST + "[limits]\ndetached_s = 0.5\n"
    with running_farm(data, config=config) as farm:
        client = farm.client()
        next(iter(client.submit(JobSpec(audio=endless(speech), avatar="anna"))))
        client._endpoint.close()  # without a word, as a crash would
        client.is_closed = True

        with farm.client() as other:
            wait_until(lambda: other.farm_status().jobs == [], timeout_s=20)
        wait_until(lambda: not list((farm.run_dir / "state" / "speech").iterdir()), timeout_s=20)


def kill_farm(farm: RunningFarm) -> None:
    family = [farm.process.pid, *(c.pid for c in psutil.Process(farm.process.pid).children())]
    processes = [psutil.Process(pid) for pid in family]
    for process in processes:
        process.kill()
    farm.process.wait()
    psutil.wait_procs(processes, timeout=20)


def test_accepted_jobs_survive_the_whole_farm(data: Path, long_speech: F32, model: Model) -> None:
    with running_farm(data, config=CONFIG) as farm:
        with farm.client() as client:
            jobs = [
                client.submit(JobSpec(audio=long_speech[:n], avatar="anna"))
                for n in (200_000, 100_000)
            ]
            first = iter(jobs[0])
            frames = [next(first) for _ in range(50)]
            client.pump(0.2)
            assert not jobs[0]._speech.is_whole, "what is on disk is kept no longer"
            kill_farm(farm)
            farm.start_again()
            with farm.client() as other:
                assert other.farm_status().n_jobs == 2, "they were promised"
            frames += first
            other_frames = list(jobs[1])
        end_farm(farm)

        assert frames == expected(data, "anna", long_speech[:200_000], model)
        assert other_frames == expected(data, "anna", long_speech[:100_000], model)
        assert list((farm.run_dir / "state" / "speech").iterdir()) == []


def end_farm(farm: RunningFarm) -> None:
    farm.process.terminate()
    assert farm.process.wait(30) == 0


def test_a_damaged_journal_is_moved_aside(data: Path, speech: F32, model: Model) -> None:
    with running_farm(data, config=CONFIG) as farm:
        end_farm(farm)
        state = farm.run_dir / "state"
        for name in ("journal.sqlite3-wal", "journal.sqlite3-shm"):
            (state / name).unlink(missing_ok=True)
        (state / "journal.sqlite3").write_bytes(os.urandom(9_000))
        farm.start_again()
        with farm.client() as client:
            frames = list(client.submit(JobSpec(audio=speech, avatar="anna")))
        end_farm(farm)

        assert farm.log().count("the journal is damaged") == 1
        assert [d.name for d in state.iterdir() if d.name.startswith("unusable-")]
    assert frames == expected(data, "anna", speech, model)


def test_an_embedded_farm_without_a_journal_loses_nothing_either(
    data: Path, long_speech: F32, model: Model
) -> None:
    overrides = {"model.directory": str(TINY_MODEL), "inference.threads": 1}
    with embedded_farm(data / "avatars" / "anna", overrides) as client:
        frames = []
        for frame in client.submit(JobSpec(audio=long_speech, avatar="avatar")):
            frames.append(frame)
            if len(frames) in (1, 150):
                embedded_broker().kill()

    assert frames == expected(data, "anna", long_speech, model)


def embedded_broker() -> psutil.Process:
    family = psutil.Process().children(recursive=True)
    brokers = [
        process
        for process in family
        if "farm.broker_main" in process.cmdline() and "--state-dir" not in process.cmdline()
    ]
    return brokers[0]


def test_a_client_gives_up_when_nobody_comes_back(data: Path, speech: F32) -> None:
    from farm.client import FarmLost

    with running_farm(data, config=CONFIG) as farm:
        with Client(farm.url, connect_timeout_s=20, patience_s=1.0) as client:
            job = iter(client.submit(JobSpec(audio=endless(speech), avatar="anna")))
            next(job)
            kill_farm(farm)
            with pytest.raises(FarmLost, match="said nothing for 1 s"):
                list(job)
        farm.start_again()
