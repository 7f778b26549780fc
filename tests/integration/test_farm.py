"""Real farms: processes, sockets, shared memory.  The oracle: the sequential renderer's bytes."""

import os
import signal
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq

from farm import protocol
from farm.client import Client, JobFailed, JobRefused, JobSpec, NoFarm
from farm.paths import DEMO_SPEECH
from shm.segment import PREFIX
from tests.farm_process import FAST, RunningFarm, running_farm, start, wait_until
from tests.material import EDGE_BOXES, expected, in_pieces, noise_avatar, read_speech
from workers import wire
from workers.arrays import F32
from workers.avatar import PATCHES, Bundle
from workers.model import Model

pytestmark = pytest.mark.beside_a_farm

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def farm(data: Path, demo_bundle: Bundle) -> Iterator[RunningFarm]:
    """One farm for the tests that leave it as it was."""
    assert demo_bundle.manifest.n_templates == 100, "drawn once, before any farm starts"
    config = FAST + "[compositors]\ncount = 2\n[limits]\ndetached_s = 2\n"
    with running_farm(data, config=config) as farm:
        yield farm


@pytest.mark.parametrize("n_compositors", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 8, 25, 32])
def test_farm_and_sequential_renderer_give_the_same_bytes(
    data: Path, speech: F32, model: Model, batch_size: int, n_compositors: int
) -> None:
    rng = np.random.default_rng(batch_size)
    jobs = [
        (("anna", "ben")[k % 2], speech[: int(rng.integers(1, 40_000))]) for k in range(1 + 4 + 12)
    ]
    options = ("--batch-size", str(batch_size), "--compositors", str(n_compositors))
    with running_farm(data, config=FAST, options=options) as farm:
        for begin, end in ((0, 1), (1, 5), (5, 17)):
            with ThreadPoolExecutor(end - begin) as clients:
                results = clients.map(lambda job: run_job(farm, *job), jobs[begin:end])
            for (avatar, samples), frames in zip(jobs[begin:end], results, strict=True):
                assert frames == expected(data, avatar, samples, model)


def run_job(farm: RunningFarm, avatar: str, samples: F32) -> list[bytes]:
    rng = np.random.default_rng(len(samples))
    pieces = in_pieces(samples, rng, 9_001)
    with farm.client() as client:
        return list(client.submit(JobSpec(audio=pieces, avatar=avatar)))


def test_one_client_can_run_several_jobs_at_once(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    with farm.client() as client:
        jobs = [client.submit(JobSpec(audio=speech[: 9_000 * k], avatar="anna")) for k in (3, 1, 2)]
        results = [list(job) for job in jobs]

    assert results == [expected(data, "anna", speech[: 9_000 * k], model) for k in (3, 1, 2)]


def test_a_path_is_decoded_by_the_client(farm: RunningFarm, data: Path, model: Model) -> None:
    with farm.client() as client:
        frames = list(client.submit(JobSpec(audio=DEMO_SPEECH, avatar="ben")))

    assert frames == expected(data, "ben", read_speech(DEMO_SPEECH), model)


def test_the_demo_avatar_is_offered(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        job = client.submit(JobSpec(audio=speech[:8_000]))
        frames = list(job)

    assert len(frames) == 13
    assert job.accepted is not None
    assert (job.accepted.width_px, job.accepted.height_px, job.accepted.fps) == (1280, 720, 25)


@pytest.mark.parametrize("avatar", ["anna", "hard"])
def test_a_client_that_joins_gets_the_same_bytes_again_and_again(
    farm: RunningFarm, data: Path, speech: F32, model: Model, avatar: str
) -> None:
    if avatar == "hard":
        noise_avatar(data / "avatars" / "hard", paste="hard")
    with farm.client() as client:
        for _ in range(3):  # the later ones begin with the templates of the first
            job = client.submit(JobSpec(audio=speech[:30_000], avatar=avatar))
            assert list(job) == expected(data, avatar, speech[:30_000], model)
            assert job.accepted is not None
            assert (job.accepted.encoding, job.accepted.path) == ("patch", "spliced")


def test_another_quality_comes_whole_and_the_answer_says_so(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    with farm.client() as client:
        job = client.submit(JobSpec(audio=speech[:30_000], avatar="anna", quality=40))
        frames = list(job)

    assert frames == expected(data, "anna", speech[:30_000], model, quality=40)
    assert job.accepted is not None
    said = (job.accepted.encoding, job.accepted.path, job.accepted.quality)
    assert said == ("whole", "whole", 40)


def test_frames_come_while_the_speech_is_still_being_spoken(farm: RunningFarm, speech: F32) -> None:
    spoken = 0

    def microphone() -> Iterator[F32]:
        nonlocal spoken
        for _ in range(120):
            spoken += 8_000
            yield np.resize(speech, 8_000)

    with farm.client() as client:
        job = iter(client.submit(JobSpec(audio=microphone(), avatar="anna")))
        next(job)
        spoken_then = spoken
        n_frames = 1 + sum(1 for _ in job)

    assert n_frames == 120 * 8_000 // 640
    assert spoken_then < 80 * 8_000


def test_the_plain_client_renders_a_clip(
    farm: RunningFarm, data: Path, speech: F32, model: Model, tmp_path: Path
) -> None:
    pcm = np.rint(speech * 32767).astype("<i2")
    (tmp_path / "speech.s16le").write_bytes(pcm.tobytes())
    (tmp_path / "out").mkdir()
    script = ROOT / "scripts" / "plain_client.py"

    command = [
        sys.executable,
        script,
        farm.url,
        tmp_path / "speech.s16le",
        "anna",
        tmp_path / "out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    frames = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    assert frames == expected(data, "anna", pcm.astype(np.float32) / 32768, model)


def test_the_plain_client_imports_nothing_of_ours() -> None:
    text = (ROOT / "scripts" / "plain_client.py").read_text()

    imports = {line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))}
    assert imports == {"pathlib", "secrets", "sys", "msgpack", "zmq"}


class Raw:
    """A client without manners."""

    def __init__(self, url: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, 5_000)
        self._socket.connect(url)

    def ask(self, *frames: bytes) -> dict[str, object]:
        self._socket.send_multipart(frames)
        return self.hear()

    def hear(self) -> dict[str, object]:
        import msgpack

        while True:
            header, *_ = self._socket.recv_multipart()
            answer: dict[str, object] = msgpack.unpackb(header)
            if answer["kind"] != "keep_alive":
                return answer

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def raw(farm: RunningFarm) -> Iterator[Raw]:
    raw = Raw(farm.url)
    yield raw
    raw.close()


def packed(**fields: object) -> bytes:
    import msgpack

    data: bytes = msgpack.packb(fields)
    return data


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b""], "BAD_MESSAGE"),
        ([b"\xff\xfe garbage"], "BAD_MESSAGE"),
        ([packed(v=2, kind="hello")], "BAD_VERSION"),
        ([packed(kind="hello")], "BAD_VERSION"),
        ([packed(v=1, kind="dance")], "UNKNOWN_KIND"),
        ([packed(v=1)], "UNKNOWN_KIND"),
        ([packed(v=1, kind="open")], "BAD_MESSAGE"),
        ([packed(v=1, kind="open", job_id=7, avatar="a", credit=1)], "BAD_MESSAGE"),
        ([packed(v=1, kind="open", job_id="x", avatar="a", credit=1, extra=1)], "BAD_MESSAGE"),
        ([packed(v=1, kind="credit", job_id="x", frames=-5)], "BAD_MESSAGE"),
        ([packed(v=1, kind="hello", client="x" * 70_000)], "TOO_LARGE"),
        ([b"\xdd\xff\xff\xff\xff"], "BAD_MESSAGE"),
        ([b"\x81" * 5_000], "BAD_MESSAGE"),
    ],
)
def test_what_is_no_message_gets_a_typed_error(raw: Raw, frames: list[bytes], code: str) -> None:
    answer = raw.ask(*frames)

    assert (answer["kind"], answer["code"]) == ("error", code)
    assert answer["retryable"] is False
    assert raw.ask(packed(v=1, kind="ping", nonce=7)) == {"v": 1, "kind": "pong", "nonce": 7}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"avatar": "nobody"}, "UNKNOWN_AVATAR"),
        ({"avatar": "../../etc"}, "UNKNOWN_AVATAR"),
        ({"avatar": "/etc"}, "UNKNOWN_AVATAR"),
        ({"job_id": ""}, "BAD_MESSAGE"),
        ({"job_id": "x" * 500}, "BAD_MESSAGE"),
        ({"credit": -1}, "BAD_MESSAGE"),
        ({"job_id": "\x1b[31m"}, "BAD_MESSAGE"),
        ({"quality": 0}, "BAD_MESSAGE"),
        ({"encoding": "zip"}, "BAD_MESSAGE"),
        ({"template_bytes": -1}, "BAD_MESSAGE"),
        ({"priority": 10**6}, "BAD_MESSAGE"),
        ({"deadline_s": -1.0}, "BAD_MESSAGE"),
        ({"sample_format": "mp3"}, "BAD_MESSAGE"),
    ],
)
def test_a_job_that_cannot_be_is_refused(raw: Raw, fields: dict[str, object], code: str) -> None:
    whole = {"v": 1, "kind": "open", "job_id": "j", "avatar": "anna", "credit": 1, **fields}

    answer = raw.ask(packed(**whole))

    assert (answer["kind"], answer["code"]) == ("failed", code)
    assert "/" not in str(answer["message"]).replace(str(fields.get("avatar")), "")


@pytest.mark.parametrize(
    ("seq", "payload", "code"),
    [
        (5, b"\0" * 400, "BAD_MESSAGE"),
        (0, b"\0" * 401, "BAD_AUDIO"),
        (0, np.full(100, np.nan, "<f4").tobytes(), "BAD_AUDIO"),
        (0, b"\0" * (4 * 262_000), "NO_CREDIT"),
    ],
)
def test_audio_that_cannot_be_ends_its_job_only(
    raw: Raw, seq: int, payload: bytes, code: str
) -> None:
    job = {"job_id": f"bad audio {seq} {len(payload)} {code}"}
    raw.ask(packed(v=1, kind="open", avatar="anna", credit=0, **job))
    n_chunks = 4 if code == "NO_CREDIT" else 1  # 30 s are granted at once
    answer = raw.hear()
    assert answer["kind"] == "audio_credit"

    for k in range(n_chunks):
        raw._socket.send_multipart([packed(v=1, kind="audio", seq=seq + k, **job), payload])
    answer = raw.hear()

    assert (answer["kind"], answer["code"]) == ("failed", code)


def test_a_frame_beyond_the_limit_cuts_off_its_sender_and_nobody_else(
    farm: RunningFarm, speech: F32
) -> None:
    rude = Raw(farm.url)
    try:
        rude._socket.setsockopt(zmq.RCVTIMEO, 500)
        with pytest.raises(zmq.Again):
            rude.ask(packed(v=1, kind="hello"), b"\0" * (16 << 20))
    finally:
        rude.close()

    with farm.client() as client:
        assert len(list(client.submit(JobSpec(audio=speech[:6_400], avatar="anna")))) == 10


def test_whoever_says_nothing_disturbs_nobody(farm: RunningFarm, speech: F32) -> None:
    silent = [Raw(farm.url) for _ in range(20)]
    try:
        with farm.client() as client:
            assert len(list(client.submit(JobSpec(audio=speech[:6_400], avatar="anna")))) == 10
    finally:
        for raw in silent:
            raw.close()


def test_nobody_at_the_address_is_said_within_the_timeout(tmp_path: Path) -> None:
    with pytest.raises(NoFarm, match=r"no farm answers within 0.3 s"):
        Client(f"ipc://{tmp_path}/nothing", connect_timeout_s=0.3)


def test_a_job_can_be_cancelled_from_elsewhere(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client, farm.client() as other:
        job = client.submit(JobSpec(audio=endless(speech), avatar="anna", job_id="endless"))
        frames = iter(job)
        next(frames)
        report = other.job_status("endless")
        other.cancel("endless")
        with pytest.raises(JobFailed, match="cancelled") as failure:
            list(frames)

    assert (report.state, report.position) == ("listening", 0)
    assert failure.value.code == "CANCELLED"


def endless(speech: F32) -> Iterator[F32]:
    while True:
        yield speech


def test_unknown_jobs_are_said_to_be_unknown(farm: RunningFarm) -> None:
    with farm.client() as client:
        with pytest.raises(JobRefused, match="no job of this id"):
            client.job_status("nothing")
        with pytest.raises(JobRefused, match="no job of this id"):
            client.cancel("nothing")


def test_a_deadline_that_passes_ends_the_job(farm: RunningFarm, speech: F32) -> None:
    spec = JobSpec(audio=endless(speech), avatar="anna", deadline_s=0.5)

    with farm.client() as client, pytest.raises(JobRefused, match="deadline"):
        list(client.submit(spec))


def test_a_client_that_is_gone_leaves_no_job_behind(farm: RunningFarm, speech: F32) -> None:
    client = farm.client()
    job = iter(client.submit(JobSpec(audio=endless(speech), avatar="anna")))
    next(job)
    client._endpoint.close()  # without a word, as a crash would
    client.is_closed = True

    with farm.client() as other:
        wait_until(lambda: other.farm_status().jobs == [], timeout_s=20)


def test_a_client_that_does_not_read_delays_nobody(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as lazy, farm.client() as other:
        lazy.submit(JobSpec(audio=[speech], avatar="anna"))  # and never asks for a frame
        frames = list(other.submit(JobSpec(audio=speech[:16_000], avatar="anna")))

    assert len(frames) == 25


def test_silence_and_no_samples(farm: RunningFarm, data: Path, model: Model) -> None:
    silence = np.zeros(20_000, np.float32)
    with farm.client() as client:
        assert list(client.submit(JobSpec(audio=silence, avatar="anna"))) == expected(
            data, "anna", silence, model
        )
        with pytest.raises(JobRefused, match="0 samples"):
            list(client.submit(JobSpec(audio=silence[:0], avatar="anna")))


def test_a_damaged_avatar_fails_its_job_only(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    damaged = noise_avatar(data / "avatars" / "damaged", EDGE_BOXES[:2])
    with open(damaged.directory / PATCHES, "r+b") as patches:
        patches.write(b"\0")

    with farm.client() as client:
        good = client.submit(JobSpec(audio=speech[:30_000], avatar="anna"))
        with pytest.raises(JobRefused, match="template 0 is damaged"):
            list(client.submit(JobSpec(audio=speech, avatar="damaged")))
        assert list(good) == expected(data, "anna", speech[:30_000], model)


@pytest.mark.parametrize("role", ["compositor", "inference", "audio"])
def test_a_worker_that_is_killed_costs_no_frame(
    farm: RunningFarm, data: Path, speech: F32, model: Model, role: str
) -> None:
    long_speech = np.tile(speech, 3)
    with farm.client() as client:
        job = iter(client.submit(JobSpec(audio=long_speech, avatar="anna")))
        frames = [next(job)]
        for worker in farm.workers(role):
            worker.kill()
        frames += job
        wait_until(lambda: client.farm_status().workers.get(role, 0) > 0)

    assert frames == expected(data, "anna", long_speech, model)


def test_workers_of_two_kinds_that_die_at_once_cost_no_frame(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    long_speech = np.tile(speech, 3)
    with farm.client() as client:
        job = iter(client.submit(JobSpec(audio=long_speech, avatar="anna")))
        frames = [next(job)]
        # Both deaths are told to a broker that was away, in one reading.
        (broker,) = farm.workers("broker")
        broker.suspend()
        for worker in [*farm.workers("compositor"), *farm.workers("inference")]:
            worker.kill()
        wait_until(lambda: len(farm.workers("compositor")) == 2 and all(farm.workers("inference")))
        broker.resume()
        frames += job

    assert frames == expected(data, "anna", long_speech, model)


def test_a_supervisor_that_is_stopped_stops_nobody_else(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    farm.process.send_signal(signal.SIGSTOP)
    try:
        assert run_job(farm, "anna", speech) == expected(data, "anna", speech, model)
    finally:
        farm.process.send_signal(signal.SIGCONT)


def test_an_avatar_that_is_replaced_is_seen_by_the_next_job(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    noise_avatar(data / "avatars" / "changing", EDGE_BOXES[:1])
    before = run_job(farm, "changing", speech[:9_000])
    assert before == expected(data, "changing", speech[:9_000], model)

    noise_avatar(data / "avatars" / "changing", EDGE_BOXES[1:])
    after = run_job(farm, "changing", speech[:9_000])

    assert after == expected(data, "changing", speech[:9_000], model)
    assert after != before


def test_dead_rings_are_not_kept_by_compositors(farm: RunningFarm, speech: F32) -> None:
    for _ in range(3):
        for worker in farm.workers("inference"):
            worker.kill()
        with farm.client() as client:
            wait_until(lambda: client.farm_status().is_ready)
            list(client.submit(JobSpec(audio=speech, avatar="anna")))

    for compositor in farm.workers("compositor"):
        maps = Path(f"/proc/{compositor.pid}/maps").read_text().splitlines()
        dead = {line.split()[5] for line in maps if PREFIX in line and line.endswith("(deleted)")}
        assert len(dead) <= 1


def test_the_farm_says_how_it_is(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        list(client.submit(JobSpec(audio=speech[:6_400], avatar="anna")))
        report = client.farm_status()

    assert report.is_ready
    assert not report.is_draining
    assert report.provider == "CPUExecutionProvider"
    assert report.frames_sent >= 10
    assert report.jobs == []


def test_sigterm_finishes_what_runs_and_refuses_what_comes(
    data: Path, speech: F32, model: Model
) -> None:
    with running_farm(data, config=FAST) as farm:
        with farm.client() as client, farm.client() as late:
            job = iter(client.submit(JobSpec(audio=speech, avatar="anna")))
            frames = [next(job)]
            farm.process.terminate()
            wait_until(lambda: late.farm_status().is_draining)
            with pytest.raises(JobFailed) as refusal:
                late.submit(JobSpec(audio=speech, avatar="anna"))
            frames += job
        assert farm.process.wait(30) == 0

        assert (refusal.value.code, refusal.value.retryable) == ("DRAINING", True)
        assert frames == expected(data, "anna", speech, model)
        assert list((farm.run_dir / "run").iterdir()) == []


def test_a_second_sigterm_is_quick(data: Path, speech: F32) -> None:
    with running_farm(data, config=FAST) as farm, farm.client() as client:
        job = iter(client.submit(JobSpec(audio=endless(speech), avatar="anna")))
        next(job)
        farm.process.terminate()
        wait_until(lambda: client.farm_status().is_draining)
        farm.process.terminate()

        assert farm.process.wait(10) == 128 + signal.SIGTERM


def test_a_second_farm_at_the_same_place_is_refused_in_one_line(
    farm: RunningFarm, data: Path
) -> None:
    config = farm.run_dir / "farm.toml"
    command = [sys.executable, "-P", "-m", "farm.entry", "serve", "--config", config]
    environment = {**os.environ, "LIPFARM_DATA": str(data)}

    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"pid {farm.process.pid}" in done.stderr


def test_two_farms_do_not_disturb_each_other(
    farm: RunningFarm, data: Path, speech: F32, model: Model
) -> None:
    with running_farm(data, config=FAST) as second:
        with ThreadPoolExecutor(2) as clients:
            results = clients.map(lambda f: run_job(f, "anna", speech), (farm, second))
        wanted = expected(data, "anna", speech, model)
        assert list(results) == [wanted, wanted]


def test_nothing_is_left_after_the_supervisor_is_killed(data: Path) -> None:
    with running_farm(data, config=FAST) as farm:
        family = psutil.Process(farm.process.pid).children(recursive=True)
        farm.process.kill()
        farm.process.wait()
        _gone, alive = psutil.wait_procs(family, timeout=20)
        assert len(family) >= 4
        assert alive == [], "workers outlived their supervisor"

    # Its segment is still there, and the next farm removes it at its start.
    with running_farm(data, config=FAST) as farm:
        assert "removed the segment of a dead farm" in farm.log()


def test_too_little_shared_memory_is_said_with_both_numbers(data: Path) -> None:
    with running_farm(data, config=FAST) as other:
        room = os.statvfs("/dev/shm")
        blocks = room.f_bavail * room.f_frsize // (64 * 1_228_800) + 2
        config = f'[farm]\nrun_dir = "{other.run_dir}/run2"\n[inference]\nbatch_size = 64\n'
        if blocks > 64:
            pytest.skip("/dev/shm is larger than the largest ring")
        (other.run_dir / "farm.toml").write_text(f"{config}ring_blocks = {blocks}\n")
        process = start(other.run_dir, data)

        assert process.wait(30) == 1
        assert "/dev/shm" in other.log()


def test_messages_of_both_protocols_survive_the_wire() -> None:
    for known in (protocol.FROM_CLIENT, protocol.FROM_BROKER):
        for kind, message in known.items():
            fields = {name: example(hint) for name, hint in typing.get_type_hints(message).items()}
            original = message(**fields)
            header = wire.encode(original, protocol.VERSION)
            assert wire.decode(header, known, protocol.VERSION) == original, kind
            for cut in range(len(header)):
                with pytest.raises(wire.WireError):
                    wire.decode(header[:cut], known, protocol.VERSION)


def example(annotation: object) -> object:
    """Any value of a type that a field may have."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return example(arguments[0])
    if origin is dict:
        return {"a": example(arguments[1])}
    if origin is list:
        return [example(arguments[0])]
    return {str: "x", bytes: b"x", int: 3, bool: True, float: 0.5}[annotation]  # type: ignore[index]
