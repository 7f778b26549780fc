import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from farm.errors import OutputRefused
from farm.media.audio import SoundFormat
from farm.media.output import check_output, new_file, new_frames_directory, new_output


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

    refuse(f"{tmp_path}/", "holds other files")

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


def refuse(name: object, reason: str, *, source: object = "speech.wav", **more: str) -> None:
    with pytest.raises(OutputRefused, match=reason):
        check_output(str(name), codec=more.get("codec"), source=str(source))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["o.xyz", "o", "o.MP3", "dir.mp4.txt", ""])
def test_an_output_of_unknown_kind_is_refused(name: str) -> None:
    refuse(name, "unknown kind|is a directory")


@pytest.mark.parametrize("name", ["o.mp4", "o.MKV", "frames/", "./a b/"])
def test_an_output_of_known_kind_is_taken(name: str) -> None:
    check_output(name, codec=None, source="speech.wav")


def test_what_is_in_the_way_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "d.mp4").mkdir()
    (tmp_path / "f").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.mp4")

    refuse(tmp_path / "d.mp4", "is a directory; for single frames end it in /")
    refuse(f"{tmp_path}/f/", "is a file, not a directory")
    refuse(tmp_path / "pipe.mp4", "is not a regular file")


def test_the_file_that_is_read_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"mine")
    (tmp_path / "link.mp4").symlink_to(source)

    refuse(source, "is the file that is read", source=source)
    refuse(source, "is the file that is read", source=tmp_path / "link.mp4")


def test_the_directory_one_stands_in_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deeper")

    for name in ("./", "../deeper/", "../", f"{tmp_path}/here/"):
        refuse(name, "you are in it")


def test_frames_have_no_video_codec() -> None:
    refuse("frames/", "no video codec", codec="h264")


def test_a_file_put_there_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match=r"notes.txt"):
        with_a_note(tmp_path / "out")

    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def with_a_note(target: Path) -> None:
    with new_frames_directory(target):
        target.mkdir()
        (target / "notes.txt").write_text("mine")


def test_a_symbolic_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    write_frames(tmp_path / "link", 2)

    assert (tmp_path / "link").is_symlink()
    assert len(list((tmp_path / "real").iterdir())) == 2


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="cannot be written"):
        write_frames(tmp_path / "gone" / "out", 1)


def test_a_disk_that_is_full_is_the_callers_to_mend(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="No space left"):
        fail_within_output(f"{tmp_path}/out/", OSError(errno.ENOSPC, "No space left on device"))

    assert list(tmp_path.iterdir()) == []


def fail_within_output(name: str, error: OSError) -> None:
    with new_output(name, codec="mjpeg", size=(8, 8), sound=SoundFormat(16_000, 1)):
        raise error
