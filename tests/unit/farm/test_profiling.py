"""Who runs under a profiler, and what is left of it however it ends."""

import cProfile
import pstats
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farm.errors import BadRequest
from farm.profiled import write_all, write_so_far
from farm.profiling import NO_PROFILING, Profiling
from farm.restart import ChildSpec, Incarnation
from tests.farm_process import wait_until

GIVEN = Incarnation(number=1, life_fd=3, control_fd=None, ring=None)

WORKER = """
import select, sys
def handle():
    pass
def main(argv):
    handle()
    print(argv[0], flush=True)
    if argv[0] == "wait":
        select.select([0], [], [])  # as our loops wait
    if argv[0] == "exit":
        sys.exit(7)
"""


def spec(role: str) -> ChildSpec:
    return ChildSpec(
        name=f"{role}-0", role=role, command=lambda _: ["python", "-P", "-m", "a.b", "--life-fd"]
    )


def test_only_the_roles_that_were_named_are_profiled(tmp_path: Path) -> None:
    profiling = Profiling.of(["audio"], tmp_path)
    audio, inference = spec("audio"), spec("inference")

    assert profiling.over(inference) is inference
    assert NO_PROFILING.over(audio) is audio
    assert profiling.over(audio).command(GIVEN) == [
        "python", "-P", "-m", "farm.profiled", str(tmp_path), "audio-0", "a.b", "--life-fd",
    ]  # fmt: skip


def test_a_role_that_nobody_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"--profile gpu: must be broker, audio, .* or compositor"):
        Profiling.of(["broker", "gpu"], tmp_path)


def test_the_directory_is_made_and_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert Profiling.of(["broker"], tmp_path / "a" / "b").directory.is_dir()
    with pytest.raises(BadRequest, match=r"--profile-dir .*file"):
        Profiling.of(["broker"], tmp_path / "file")
    Profiling.of([], tmp_path / "file")  # nobody writes there


def start(directory: Path, what: str) -> "subprocess.Popen[bytes]":
    (directory / "play.py").write_text(WORKER)
    command = [sys.executable, "-m", "farm.profiled", str(directory), "play-0", "play", what]
    path = f"{directory}:{Path(__file__).parents[3]}"
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": path},
    )


def functions(directory: Path, pid: int) -> set[str]:
    """Names of what the profile has; the file must be whole."""
    stats = pstats.Stats(str(directory / f"play-0-{pid}.pstats"))
    return {name for _, _, name in stats.stats}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("what", "exit_code"), [("return", 0), ("exit", 7)])
def test_a_profile_is_written_at_the_end(tmp_path: Path, what: str, exit_code: int) -> None:
    with start(tmp_path, what) as process:
        out, errors = process.communicate()

    assert process.returncode == exit_code
    assert out.split() == [what.encode()]
    assert functions(tmp_path, process.pid) >= {"main", "handle"}
    view = f"view='python -m pstats {tmp_path}/play-0-{process.pid}.pstats'"
    assert errors.decode() == f"farm: profiling child=play-0 {view}\n"


def test_sigterm_ends_it_as_it_would_have_and_leaves_a_profile(tmp_path: Path) -> None:
    with start(tmp_path, "wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()

    assert process.returncode == -signal.SIGTERM
    assert functions(tmp_path, process.pid) >= {"main", "handle"}
    assert {path.suffix for path in tmp_path.iterdir()} >= {".pstats"}
    assert not list(tmp_path.glob("*.part"))


def test_sigkill_leaves_what_was_written_before(tmp_path: Path) -> None:
    with start(tmp_path, "wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGALRM)  # the timer's, a little early
        file = tmp_path / f"play-0-{process.pid}.pstats"
        wait_until(file.exists, process, timeout_s=30)
        process.kill()

    assert "handle" in functions(tmp_path, process.pid)


def test_writing_so_far_does_not_stop_the_profile(tmp_path: Path) -> None:
    def before() -> None:
        pass

    def after() -> None:
        pass

    profile = cProfile.Profile()
    profile.enable()
    before()
    write_so_far(profile, tmp_path / "play-0-1.pstats")
    after()
    write_all(profile, tmp_path / "play-0-2.pstats")

    assert functions(tmp_path, 1) >= {"before"}
    assert functions(tmp_path, 2) >= {"before", "after"}


def test_a_directory_that_is_gone_is_said_and_survived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(cProfile.Profile(), tmp_path / "gone" / "a.pstats")

    assert "no profile was written to" in capsys.readouterr().err
