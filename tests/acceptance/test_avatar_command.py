"""``farm avatar build``, as a user types it."""

import os
import pickle
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from farm.paths import DEMO_SPEECH, TINY_MODEL
from tests.acceptance.test_render_command import (
    FARM,
    assert_refused,
    farm,
    listen_to_signals,
    wait_until,
)
from tests.unit.farm.avatar_material import STEADY, coords_folder, corners, seed_folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIPFARM_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "avatars"


def test_a_folder_of_frames_becomes_an_avatar_that_talks(data: Path, tmp_path: Path) -> None:
    built = farm("avatar", "build", seed_folder(tmp_path / "a"), "--id", "anna")
    speech = tmp_path / "short.wav"
    speech.write_bytes(DEMO_SPEECH.read_bytes()[: 44 + 2 * 22_050])

    rendered = farm(
        "render", speech, "-o", tmp_path / "a.mp4", "--avatar", "anna", "--model", TINY_MODEL,
        "--sequential",
    )  # fmt: skip

    assert (built.returncode, built.stderr) == (0, "")
    for word in ("anna: 12 frames of 96x64", "boxes 40 to 40", " MB in ", "--avatar anna"):
        assert word in built.stdout
    assert rendered.returncode == 0, rendered.stderr
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 25
    assert "anna" in farm("avatar", "list").stdout.splitlines()
    assert [path.name for path in data.iterdir()] == ["anna"]


@pytest.mark.usefixtures("data")
def test_the_same_again_says_so_in_one_line(tmp_path: Path) -> None:
    build = ("avatar", "build", seed_folder(tmp_path / "a"), "--id", "anna")
    farm(*build)

    again = farm(*build)

    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "anna: nothing to do, it is what these files give\n"
    assert "12 frames" in farm(*build, "--force").stdout
    assert_refused(farm(*build, "--paste", "hard"), "--force replaces it")


@pytest.mark.usefixtures("data")
def test_what_may_be_worth_a_look_is_one_line_of_standard_error(tmp_path: Path) -> None:
    fours = [corners(box) for box in STEADY]
    fours[3] = (30, 2, 75, 63)

    done = farm("avatar", "build", coords_folder(tmp_path / "a", fours), "--id", "anna")

    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    for word in ("farm: note:", "not square", "jump"):
        assert word in done.stderr


def test_a_hostile_pickle_is_refused_and_not_run(data: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'touched'}",)

    coords_folder(tmp_path / "a", [(20, 10, 60, 50)])
    (tmp_path / "a" / "coords.pkl").write_bytes(pickle.dumps([Hostile()]))

    done = farm("avatar", "build", tmp_path / "a", "--id", "anna")

    assert_refused(done, "coords.pkl", "would call 'posix.system'")
    assert not (tmp_path / "touched").exists()
    assert not data.exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("gone", "--id", "anna"), "gone: does not exist"),
        ((".", "--id", "anna"), "looked for"),
        (("a", "--id", "demo"), "built-in"),
        (("a", "--id", "x/y"), "is no id"),
        (("a", "--id", "anna", "--boxes", "xyxy"), "coords.pkl"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    seed_folder(tmp_path / "a")

    assert_refused(farm("avatar", "build", *arguments, cwd=tmp_path), word)
    assert not data.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("a",), ("--id", "anna"), ("a", "--id", "anna", "--quality", "96"),
        ("a", "--id", "anna", "--quality", "0"), ("a", "--id", "anna", "--paste", "soft"),
        ("a", "--id", "anna", "--boxes", "xxyy"),
    ],
)  # fmt: skip
def test_a_command_line_that_cannot_be_is_refused(data: Path, arguments: tuple[str, ...]) -> None:
    assert farm("avatar", "build", *arguments).returncode == 2
    assert not data.exists()


@pytest.mark.parametrize(
    ("signal_number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_an_interrupted_build_leaves_what_was_there(
    data: Path, tmp_path: Path, signal_number: int, exit_code: int
) -> None:
    farm("avatar", "build", seed_folder(tmp_path / "a"), "--id", "anna")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    endless = seed_folder(tmp_path / "b", [STEADY[0]])
    large = Image.fromarray(np.zeros((1000, 1000, 3), np.uint8))
    large.save(endless / "frame_0000.png")
    for number in range(1, 2000):
        os.link(endless / "frame_0000.png", endless / f"frame_{number:04d}.png")
    (endless / "crop_rects.json").write_text("[[0, 0, 900, 900]]")
    process = subprocess.Popen(
        [FARM, "avatar", "build", endless, "--id", "anna", "--force"],
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_signals,
    )
    wait_until(lambda: any(data.glob(".anna.*.partial/*")))

    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == exit_code, errors
    assert errors.decode().count("\n") == 1
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    assert [path.name for path in data.iterdir()] == ["anna"]
