"""The farm as a service: serve, submit, status, cancel, and the signals in between."""

import json
import os
import pstats
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from farm.paths import DEMO_SPEECH
from tests import fake_espeak
from tests.acceptance.test_render_command import FARM, assert_refused, farm, listen_to_signals
from tests.farm_process import RunningFarm, running_farm, wait_until
from tests.material import noise_avatar
from workers.avatar import Bundle

pytestmark = pytest.mark.beside_a_farm

FAST = "[inference]\nthreads = 1\n[health]\nliveness = 30\n"  # and the demo's model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    noise_avatar(root / "avatars" / "anna")
    return root


@pytest.fixture(scope="module")
def running(data: Path, demo_bundle: Bundle) -> Iterator[RunningFarm]:
    assert demo_bundle.manifest.avatar_id == "demo"
    with running_farm(data, config=FAST) as farm:
        yield farm


@pytest.fixture(scope="module")
def two_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "two.wav"
    path.write_bytes(DEMO_SPEECH.read_bytes()[: 44 + 2 * 2 * 22_050])
    return path


def jpegs(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.iterdir())]


def test_embedded_running_and_sequential_give_the_same_frames(
    running: RunningFarm, data: Path, two_seconds: Path, tmp_path: Path
) -> None:
    bundle = data / "avatars" / "anna"

    farm("render", two_seconds, "-o", f"{tmp_path}/s/", "--avatar", bundle, "--sequential")
    farm("render", two_seconds, "-o", f"{tmp_path}/e/", "--avatar", bundle, "--compositors", "2")
    farm(
        "render", two_seconds, "-o", f"{tmp_path}/c/", "--avatar", "anna", "--connect", running.url
    )
    farm(
        "submit", two_seconds, "-o", f"{tmp_path}/j/", "--avatar", "anna", "--connect", running.url
    )

    assert len(jpegs(tmp_path / "s")) == 50
    assert jpegs(tmp_path / "e") == jpegs(tmp_path / "c") == jpegs(tmp_path / "j")
    assert jpegs(tmp_path / "s") == jpegs(tmp_path / "e")


def test_submit_writes_a_video_and_says_the_jobs_id(
    running: RunningFarm, two_seconds: Path, tmp_path: Path
) -> None:
    done = farm(
        "submit", two_seconds, "-o", tmp_path / "a.mp4", "--avatar", "anna",
        "--connect", running.url, "--job-id", "take 7", "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == "farm: job take 7\n"
    assert json.loads(done.stdout)["frames"] == 50
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 50


def test_a_text_is_spoken_by_the_client_and_rendered_by_the_farm(
    running: RunningFarm,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_espeak.install(tmp_path_factory.mktemp("espeak"), monkeypatch)

    done = farm(
        "submit", "--text", "one two", "-o", f"{tmp_path}/a/", "--avatar", "anna",
        "--connect", running.url,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len(jpegs(tmp_path / "a")) == 25


def test_status_says_that_the_farm_is_ready(running: RunningFarm) -> None:
    done = farm("status", "--connect", running.url)

    assert done.returncode == 0
    assert "is ready     True" in done.stdout
    assert "1 audio" in done.stdout


def test_status_shows_what_the_steps_took(
    running: RunningFarm, two_seconds: Path, tmp_path: Path
) -> None:
    farm(
        "submit", two_seconds, "-o", f"{tmp_path}/a/", "--avatar", "anna", "--connect", running.url
    )

    wait_until(lambda: "blend" in farm("status", "--connect", running.url).stdout)
    table = farm("status", "--connect", running.url).stdout
    report = json.loads(farm("status", "--connect", running.url, "--json").stdout)

    titles = ["step", "frames", "mean", "ms", "p50", "ms", "p90", "ms", "p99", "ms"]
    assert titles in [line.split() for line in table.splitlines()]
    assert report["steps"].keys() >= {"resize", "blend", "encode", "splice"}
    assert report["steps"]["blend"].keys() >= {"frames", "mean_ms", "p50_ms", "p90_ms", "p99_ms"}


def test_a_job_is_seen_and_cancelled_from_another_terminal(
    running: RunningFarm, tmp_path: Path
) -> None:
    command = [FARM, "submit", "-", "-o", tmp_path / "a.mp4", "--avatar", "anna"]
    submit = subprocess.Popen(
        [*command, "--connect", running.url, "--job-id", "mine"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_signals,
    )
    assert submit.stdin is not None
    submit.stdin.write(DEMO_SPEECH.read_bytes())  # and no end
    submit.stdin.flush()
    wait_until(lambda: farm("status", "mine", "--connect", running.url).returncode == 0)

    status = farm("status", "mine", "--connect", running.url, "--json")
    cancel = farm("cancel", "mine", "--connect", running.url)
    submit.stdin.close()
    errors = submit.stderr.read().decode() if submit.stderr else ""

    assert json.loads(status.stdout)["state"] == "listening"
    assert cancel.returncode == 0
    assert submit.wait(30) == 1
    assert errors.splitlines()[-1] == "farm: cancelled"
    assert list(tmp_path.iterdir()) == []
    submit.stderr.close() if submit.stderr else None


def test_ctrl_c_in_the_client_cancels_its_job(running: RunningFarm, tmp_path: Path) -> None:
    command = [FARM, "submit", "-", "-o", tmp_path / "a.mp4", "--avatar", "anna"]
    submit = subprocess.Popen(
        [*command, "--connect", running.url, "--job-id", "interrupted"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=listen_to_signals,
    )
    assert submit.stdin is not None
    submit.stdin.write(DEMO_SPEECH.read_bytes())
    submit.stdin.flush()
    wait_until(lambda: farm("status", "interrupted", "--connect", running.url).returncode == 0)

    submit.send_signal(signal.SIGINT)

    assert submit.wait(30) == 130
    submit.stdin.close()
    with running.client() as client:
        wait_until(lambda: client.farm_status().jobs == [], timeout_s=20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "nothing"], ["no job of this id"]),
        (["cancel", "nothing"], ["no job of this id"]),
        (["submit", DEMO_SPEECH, "-o", "a.mp4", "--avatar", "nobody"], ["nobody"]),
        (["submit", "gone.wav", "-o", "a.mp4", "--avatar", "anna"], ["gone.wav"]),
        (["render", DEMO_SPEECH, "-o", "a.mp4", "--batch-size", "4"], ["--batch-size"]),
    ],
)
def test_what_cannot_be_is_refused_by_the_farm_as_it_is_without(
    running: RunningFarm, tmp_path: Path, arguments: list[str | Path], words: list[str]
) -> None:
    done = farm(*arguments, "--connect", running.url, cwd=tmp_path)

    assert_refused(done, *words, left_in=tmp_path)


def test_a_farm_that_is_not_there_is_said_in_time(tmp_path: Path) -> None:
    url = f"ipc://{tmp_path}/none"

    done = farm("status", "--connect", url, "--connect-timeout", "0.2")

    assert_refused(done, url, "no farm answers within 0.2 s")


@pytest.mark.parametrize("how", [["--sequential"], []])
@pytest.mark.parametrize("name", ["gone.wav", "text.wav", "empty.wav"])
def test_bad_input_gets_the_same_answer_with_and_without_a_farm(
    tmp_path: Path, how: list[str], name: str
) -> None:
    (tmp_path / "text.wav").write_text("no sound\n" * 50)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "out").mkdir()

    done = farm("render", tmp_path / name, "-o", tmp_path / "out" / "a.mp4", *how)

    assert_refused(done, name, left_in=tmp_path / "out")


@pytest.mark.parametrize("how", [["--sequential"], []])
def test_a_wrong_model_gets_the_same_answer_with_and_without_a_farm(
    tmp_path: Path, data: Path, how: list[str]
) -> None:
    (tmp_path / "unet.onnx").write_bytes(b"nonsense")

    done = farm(
        "render", DEMO_SPEECH, "-o", f"{tmp_path}/o/", "--model", tmp_path,
        "--avatar", data / "avatars" / "anna", *how,
    )  # fmt: skip

    assert_refused(done, "unet.onnx: onnxruntime cannot load it")


def test_ready_is_told_to_systemd_once_the_farm_is(data: Path, tmp_path: Path) -> None:
    address = tmp_path / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(30)
        with running_farm(data, config=FAST, NOTIFY_SOCKET=str(address)) as service:
            assert b"READY=1" in systemd.recv(4096)
            with service.client() as client:
                assert client.farm_status().is_ready
            service.process.terminate()
            assert b"STOPPING=1" in systemd.recv(4096)
            assert service.process.wait(30) == 0


def test_ctrl_c_in_the_server_drains(data: Path) -> None:
    with running_farm(data, config=FAST) as service:
        service.process.send_signal(signal.SIGINT)

        assert service.process.wait(30) == 0
        assert "Traceback" not in service.log()


def test_profiles_are_left_of_the_roles_that_were_named(
    data: Path, two_seconds: Path, tmp_path: Path
) -> None:
    options = ("--profile", "compositor", "--profile", "broker", "--profile-dir", f"{tmp_path}/p")
    with running_farm(data, config=FAST, options=options) as service:
        farm(
            "submit", two_seconds, "-o", f"{tmp_path}/a/", "--avatar", "anna",
            "--connect", service.url,
        )  # fmt: skip
        names = {
            f"{name}-{process.pid}.pstats"
            for role, name in (("broker", "broker"), ("compositor", "compositor-0"))
            for process in service.workers(role)[:1]
        }
        service.process.terminate()
        assert service.process.wait(30) == 0
        said = service.log()

    assert names <= {path.name for path in (tmp_path / "p").iterdir()}
    for name in names:
        assert f"python -m pstats {tmp_path}/p/{name}" in said
        called = {
            (Path(file).name, function)
            for file, _, function in pstats.Stats(str(tmp_path / "p" / name)).stats  # type: ignore[attr-defined]
        }
        theirs = "compositor.py" if "compositor" in name else "worker_desk.py"
        assert (theirs, "handle" if theirs == "compositor.py" else "take") in called


def test_a_role_that_cannot_be_profiled_is_said_in_one_line(tmp_path: Path) -> None:
    done = farm("serve", "--profile", "gpu", cwd=tmp_path)

    assert_refused(done, "--profile gpu", "broker, audio, inference or compositor")


def test_a_home_that_cannot_be_written_is_no_trouble(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = str(tmp_path / "file" / "home")  # nothing can be created below a file

    with (
        running_farm(data, config=FAST, HOME=home, XDG_RUNTIME_DIR="") as service,
        service.client() as client,
    ):
        assert client.farm_status().is_ready


def test_a_config_that_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text("[inference]\nbatch_size = 0\n")

    done = farm("serve", "--config", tmp_path / "farm.toml")

    assert_refused(done, "batch_size = 0", "farm.toml", "1..64")


def test_the_supervisor_of_a_service_stays_small(running: RunningFarm) -> None:
    maps = Path(f"/proc/{running.process.pid}/maps").read_text()

    assert "numpy" not in maps
    assert "onnxruntime" not in maps


def test_farm_modules_can_be_imported_for_submitting() -> None:
    program = "from farm import Client, JobSpec; print(Client.__name__, JobSpec.__name__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["Client", "JobSpec"]
    assert os.environ["LIPFARM_CACHE"], "the tests' own cache"
