"""The real command, as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from farm.paths import DEMO_SPEECH, TINY_MODEL, Paths
from tests.material import noise_avatar
from workers.avatar import PATCHES, Bundle

FARM = Path(sys.executable).with_name("farm")


def farm(*arguments: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [str(FARM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small avatar, so that commands are quick."""
    return noise_avatar(tmp_path_factory.mktemp("avatars") / "noise").directory


@pytest.fixture(scope="module")
def two_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "two.wav"
    path.write_bytes(DEMO_SPEECH.read_bytes()[: 44 + 2 * 2 * 22_050])
    return path


def assert_refused(
    done: "subprocess.CompletedProcess[str]", *words: str, left_in: Path | None = None
) -> None:
    """One line on standard error, exit code 2, and nothing left behind."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr
    if left_in is not None:
        assert list(left_in.iterdir()) == []


@pytest.mark.usefixtures("demo_bundle")
def test_the_demo_becomes_a_video_with_all_its_frames_and_sound(tmp_path: Path) -> None:
    done = farm("render", DEMO_SPEECH, "-o", tmp_path / "demo.mp4", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    with av.open(str(tmp_path / "demo.mp4")) as video:
        frames = sum(1 for _ in video.decode(video=0))
        assert video.streams.video[0].codec_context.name == "h264"
        assert video.streams.audio[0].codec_context.name == "aac"
    n_samples = round(215_704 * 16_000 / 22_050)
    assert frames == report["frames"] == (n_samples * 25 + 8_000) // 16_000
    assert set(report["stage_ms_per_frame"]) >= {"audio", "inference", "blend", "encode"}


def test_frames_are_the_same_whatever_the_container_and_batch_size(
    tmp_path: Path, two_seconds: Path, avatar: Path
) -> None:
    common = ["render", two_seconds, "--avatar", avatar]
    farm(*common, "-o", f"{tmp_path}/a/", "--batch-size", "32")
    farm(*common, "-o", tmp_path / "b.mkv", "--video", "mjpeg", "--batch-size", "1")

    frames = [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())]

    with av.open(str(tmp_path / "b.mkv")) as video:
        assert [bytes(p) for p in video.demux(video=0) if p.size] == frames
    assert len(frames) == 50


def test_speech_is_read_from_a_pipe(tmp_path: Path, two_seconds: Path, avatar: Path) -> None:
    with open(two_seconds, "rb") as speech:
        done = farm("render", "-", "-o", f"{tmp_path}/piped/", "--avatar", avatar, stdin=speech)
    farm("render", two_seconds, "-o", f"{tmp_path}/read/", "--avatar", avatar)

    assert done.returncode == 0, done.stderr
    piped, read = (
        [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]
        for name in ("piped", "read")
    )
    assert piped == read


def test_the_summary_names_output_speed_and_stages(
    tmp_path: Path, two_seconds: Path, avatar: Path
) -> None:
    done = farm("render", two_seconds, "-o", tmp_path / "a.mkv", "--avatar", avatar)

    assert done.returncode == 0
    for word in ("a.mkv", "50 frames", "frames/s", "inference", "blend"):
        assert word in done.stdout
    assert done.stderr == ""


def test_bad_speech_is_refused_in_one_line(tmp_path: Path) -> None:
    material, out = tmp_path / "material", tmp_path / "out"
    material.mkdir()
    out.mkdir()
    noise = np.random.default_rng(5).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
    shutil.copy(TINY_MODEL / "unet.onnx", material / "model.wav")
    (material / "text.wav").write_text("no sound at all\n" * 40)
    (material / "empty.wav").touch()
    (material / "noise.mp3").write_bytes(noise)
    (material / "zero.wav").write_bytes(DEMO_SPEECH.read_bytes()[:44])

    for name in ("gone.wav", "text.wav", "empty.wav", "noise.mp3", "zero.wav", "model.wav", "."):
        done = farm("render", material / name, "-o", out / "a.mp4")
        assert_refused(done, name if name != "." else "material", left_in=out)


@pytest.mark.parametrize("output", ["o.xyz", "o", "missing/o.mp4"])
def test_an_output_that_cannot_be_is_refused(
    tmp_path: Path, two_seconds: Path, avatar: Path, output: str
) -> None:
    done = farm("render", two_seconds, "-o", output, "--avatar", avatar, cwd=tmp_path)

    assert_refused(done, output, left_in=tmp_path)


def test_a_directory_that_cannot_be_written_is_refused(two_seconds: Path, avatar: Path) -> None:
    # /proc refuses new files even to root, whom permissions do not stop.
    done = farm("render", two_seconds, "-o", "/proc/a.mp4", "--avatar", avatar)

    assert_refused(done, "/proc/a.mp4", "cannot be written")


def test_an_unknown_avatar_and_a_wrong_model_are_refused(
    tmp_path: Path, two_seconds: Path, avatar: Path
) -> None:
    wrong = tmp_path / "model"
    wrong.mkdir()
    (wrong / "unet.onnx").write_bytes(b"nonsense")
    out = tmp_path / "out"
    out.mkdir()

    common = ["render", two_seconds, "-o", out / "a.mp4"]
    assert_refused(farm(*common, "--avatar", "nobody"), "nobody", "demo", left_in=out)
    assert_refused(farm(*common, "--avatar", avatar, "--model", wrong), "unet.onnx", left_in=out)
    assert_refused(farm(*common, "--avatar", avatar, "--model", out), str(out), left_in=out)


def test_a_damaged_avatar_is_refused_when_the_frame_is_used(
    tmp_path: Path, two_seconds: Path, avatar: Path
) -> None:
    damaged = Path(shutil.copytree(avatar, tmp_path / "damaged"))
    with open(damaged / PATCHES, "r+b") as frames:
        frames.seek(-1, os.SEEK_END)
        frames.write(b"\0")
    out = tmp_path / "out"
    out.mkdir()

    done = farm("render", two_seconds, "-o", out / "a.mp4", "--avatar", damaged)

    assert_refused(done, PATCHES, "template 3 is damaged", left_in=out)
    assert_refused(farm("avatar", "verify", damaged), "template 3 is damaged")


@pytest.mark.parametrize(
    "arguments",
    [["--batch-size", "0"], ["--batch-size", "x"], ["--video", "vp9"], ["--what"]],
)
def test_wrong_arguments_are_the_callers_fault(two_seconds: Path, arguments: list[str]) -> None:
    done = farm("render", two_seconds, "-o", "a.mp4", *arguments)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("signal_number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_an_interrupted_render_leaves_nothing(
    tmp_path: Path, avatar: Path, signal_number: int, exit_code: int
) -> None:
    command = [FARM, "render", "-", "-o", tmp_path / "a.mp4", "--avatar", avatar]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_signals,
    )
    assert process.stdin is not None
    process.stdin.write(DEMO_SPEECH.read_bytes())
    process.stdin.flush()  # and no end: the command waits for more
    wait_until(lambda: any(tmp_path.rglob("*.mp4")))

    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == exit_code
    assert errors.decode().count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def listen_to_signals() -> None:
    """A test run in the background may have been told to ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_an_interrupt_while_it_is_imported_is_no_traceback(tmp_path: Path) -> None:
    command = [FARM, "render", DEMO_SPEECH, "-o", tmp_path / "a.mp4"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=listen_to_signals
    )
    # Our handlers are in place before the imports, and SIGTERM's is not Python's own.
    wait_until(lambda: catches(process.pid, signal.SIGTERM))

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors.decode().count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_output_that_nobody_reads_is_no_error() -> None:
    command = f"{FARM} avatar list | head -c 0; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def wait_until(happened: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_avatars_are_listed_described_and_verified(avatar: Path, demo_bundle: Bundle) -> None:
    assert farm("avatar", "list").stdout.splitlines()[0] == "demo"
    info = farm("avatar", "info", "demo").stdout
    assert "100 of 1280x720" in info
    assert demo_bundle.manifest.digest in info
    assert "intact" in farm("avatar", "verify", avatar).stdout


def test_check_names_the_data_directory_and_succeeds(user_paths: Paths) -> None:
    done = farm("check")

    assert done.returncode == 0, done.stdout
    assert str(user_paths.data) in done.stdout
    assert "CPUExecutionProvider" in done.stdout


def test_nothing_is_written_to_the_users_home(tmp_path: Path, avatar: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path / "home")}

    done = farm(
        "render", DEMO_SPEECH, "-o", f"{tmp_path}/out/", "--avatar", avatar, env=environment
    )

    assert done.returncode == 0
    assert not (tmp_path / "home").exists()


def test_version() -> None:
    assert farm("--version").stdout.startswith("lipfarm ")
