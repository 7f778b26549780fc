"""``farm render --text``, with a stand-in for espeak-ng and with itself."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import av
import pytest

from tests import fake_espeak
from tests.acceptance.test_render_command import (
    FARM,
    assert_refused,
    farm,
    listen_to_signals,
    wait_until,
)
from tests.fake_espeak import NEEDS_ESPEAK
from tests.material import noise_avatar


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_avatar(tmp_path_factory.mktemp("avatars") / "noise").directory


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    return fake_espeak.install(tmp_path_factory.mktemp("espeak"), monkeypatch)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("how", [["--sequential"], []])
def test_a_text_becomes_a_video_with_its_sound(
    tmp_path: Path, avatar: Path, how: list[str]
) -> None:
    done = farm(
        "render", "--text", "one two three", "-o", tmp_path / "a.mp4",
        "--avatar", avatar, "--json", *how,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["frames"] in (37, 38)
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert video.streams.audio[0].rate == fake_espeak.RATE_HZ


def test_a_text_is_read_from_a_pipe(fake: Path, tmp_path: Path, avatar: Path) -> None:
    done = farm(
        "render", "--text", "-", "--voice", "de", "-o", f"{tmp_path}/a/",
        "--avatar", avatar, "--sequential", input="-Grüß Gott",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (fake / "heard").read_text() == "-Grüß Gott"
    assert len(list((tmp_path / "a").iterdir())) == 25


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("command", ["render", "submit"])
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "nothing to say"),
        (["a.wav", "--text", "hello"], "a.wav: cannot go with --text"),
        (["a.wav", "--voice", "de"], "--voice goes with --text"),
        (["--voice", "de"], "--voice goes with --text"),
    ],
)
def test_either_a_file_or_a_text_is_wanted(
    tmp_path: Path, command: str, arguments: list[str], word: str
) -> None:
    done = farm(command, *arguments, "-o", "a.mp4", cwd=tmp_path)

    assert_refused(done, word, left_in=tmp_path)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("how", [["--sequential"], []])
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--text", ""], "empty"),
        (["--text", "silence"], "no sound"),
        (["--text", "hello", "--voice", "zz"], "zz"),
        (["--text", "hello", "--voice", "de+zz"], "de+zz"),
        (["--text", os.fsdecode(b"caf\xe9")], "UTF-8"),
    ],
)
def test_what_cannot_be_spoken_is_refused_in_one_line(
    tmp_path: Path, how: list[str], arguments: list[str], word: str
) -> None:
    done = farm("render", *arguments, "-o", tmp_path / "a.mp4", *how)

    assert_refused(done, word, left_in=tmp_path)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("how", [["--sequential"], []])
def test_no_output_appears_when_espeak_fails_in_the_middle(
    tmp_path: Path, avatar: Path, how: list[str]
) -> None:
    done = farm("render", "--text", "crash", "-o", tmp_path / "a.mp4", "--avatar", avatar, *how)

    assert_refused(done, "Out of breath", left_in=tmp_path)


def test_without_espeak_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    done = farm("render", "--text", "hello", "-o", tmp_path / "a.mp4")

    assert_refused(done, "--text needs espeak-ng", "apt install espeak-ng", left_in=tmp_path)


@pytest.mark.parametrize("how", [["--sequential"], []])
@pytest.mark.parametrize(
    ("signal_number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_an_interrupted_speaker_falls_silent(
    fake: Path,
    tmp_path: Path,
    avatar: Path,
    monkeypatch: pytest.MonkeyPatch,
    signal_number: int,
    exit_code: int,
    how: list[str],
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    command = [FARM, "render", "--text", "endless", "-o", tmp_path / "a.mp4", "--avatar", avatar]
    process = subprocess.Popen(
        [*command, *how], stderr=subprocess.PIPE, preexec_fn=listen_to_signals
    )
    wait_until(lambda: any(tmp_path.rglob("*.mp4")))
    speaker = int((fake / "pid").read_text())

    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == exit_code
    assert errors.decode().count("\n") == 1
    assert [*tmp_path.rglob("*")] == [tmp_path / "scratch"]
    with pytest.raises(ProcessLookupError):
        os.kill(speaker, 0)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason=NEEDS_ESPEAK)
def test_the_real_one_speaks_a_text(tmp_path: Path, avatar: Path) -> None:
    done = farm(
        "render", "--text", "Hello there.", "-o", tmp_path / "a.mp4", "--avatar", avatar, "--json"
    )

    assert done.returncode == 0, done.stderr
    assert 20 <= json.loads(done.stdout)["frames"] <= 50
