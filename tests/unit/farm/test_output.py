from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from farm.errors import OutputRefused
from farm.media.audio import SoundFormat
from farm.media.output import check_kind, new_file, new_frames_directory, new_output


def write_frames(target: Path, n: int) -> None:
    with new_output(
        f"{target}/", codec="mjpeg", size=(8, 8), sound=SoundFormat(16_000, 1)
    ) as output:
        output.add_sound([])
        for k in range(n):
            output.add_frame(b"jpeg %d" % k)


def fail_within(output: AbstractContextManager[Path]) -> None:
    with output as path:
        (path / "frame_000000.jpg" if path.is_dir() else path).write_bytes(b"half")
        raise ZeroDivisionError


def test_frames_are_numbered_from_zero(tmp_path: Path) -> None:
    write_frames(tmp_path / "out", 3)

    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files == {f"frame_{k:06d}.jpg": b"jpeg %d" % k for k in range(3)}


def test_a_shorter_run_leaves_no_frames_of_the_longer_one(tmp_path: Path) -> None:
    write_frames(tmp_path / "out", 5)

    write_frames(tmp_path / "out", 2)

    assert len(list((tmp_path / "out").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with (
        pytest.raises(OutputRefused, match="holds other files"),
        new_frames_directory(tmp_path),
    ):
        pass

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")

    with pytest.raises(ZeroDivisionError):
        fail_within(new_file(target))

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_frames_and_nothing_else(tmp_path: Path) -> None:
    write_frames(tmp_path / "out", 5)

    with pytest.raises(ZeroDivisionError):
        fail_within(new_frames_directory(tmp_path / "out"))

    assert len(list((tmp_path / "out").iterdir())) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["o.xyz", "o", "o.MP3", "dir.mp4.txt"])
def test_an_output_of_unknown_kind_is_refused(name: str) -> None:
    with pytest.raises(OutputRefused, match="unknown kind"):
        check_kind(name)


def test_a_directory_or_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.mp4").mkdir()
    (tmp_path / "f").write_bytes(b"")

    with pytest.raises(OutputRefused, match="is a directory"), new_file(tmp_path / "d.mp4"):
        pass
    with pytest.raises(OutputRefused, match="is a file"), new_frames_directory(tmp_path / "f"):
        pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputRefused, match="cannot be written"),
        new_file(tmp_path / "gone" / "a.mp4"),
    ):
        pass
