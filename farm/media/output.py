"""Outputs appear whole or not at all: everything is written under a temporary name and renamed.

The ending decides the kind: ``.mp4`` and ``.mkv`` are videos, ``/`` is a directory of frames.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import av

from farm.errors import OutputRefused
from farm.media.audio import SoundFormat
from farm.media.video import FrameSize, VideoCodec, new_video
from workers.directories import put_in_place

VIDEO_SUFFIXES = (".mp4", ".mkv")
FRAME_NAME = "frame_{:06d}.jpg"
_FRAME_PATTERN = re.compile(r"frame_\d{6,}\.jpg")


class Output(Protocol):
    """Takes a job's results in order."""

    def add_sound(self, frames: Iterable[av.AudioFrame]) -> None: ...

    def add_frame(self, jpeg: bytes) -> None: ...


def check_output(name: str, *, codec: VideoCodec | None, source: str | None) -> None:
    """Refuse, before any work is done, an output that cannot be what the caller meant.

    ``codec`` : what the caller asked for, None for nothing.  ``source`` : the file that is
    being read, if it is one.
    Raises OutputRefused.
    """
    target = _target(name)
    if name.endswith("/"):
        if codec is not None:
            raise OutputRefused(f"{name}: single frames have no video codec")
        if _holds_working_directory(target):
            raise OutputRefused(f"{name}: you are in it, and it would be replaced; name another")
        _refuse_foreign_files(target)
        return
    if target.is_dir():
        raise OutputRefused(f"{name}: is a directory; for single frames end it in /")
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise OutputRefused(
            f"{name or 'an empty name'}: output of unknown kind; end it in"
            f" {', '.join(VIDEO_SUFFIXES)} or, for single frames, in /"
        )
    if target.exists() and not target.is_file():
        raise OutputRefused(f"{name}: is not a regular file")
    if source and target.exists() and os.path.exists(source) and os.path.samefile(target, source):
        raise OutputRefused(f"{name}: is the file that is read")


@contextmanager
def new_output(
    name: str, *, codec: VideoCodec, size: FrameSize, sound: SoundFormat
) -> Iterator[Output]:
    """Open what ``name`` asks for; it appears under that name when the block ends well.

    Raises OutputRefused when it cannot be written.
    """
    try:
        if name.endswith("/"):
            with new_frames_directory(_target(name)) as directory:
                yield FrameFiles(directory)
        else:
            with (
                new_file(_target(name)) as path,
                new_video(path, codec=codec, size=size, sound=sound) as video,
            ):
                yield video
    except OSError as error:
        raise OutputRefused(f"{name}: cannot be written ({error.strerror})") from error


class FrameFiles:
    """Frames as single files; their sound is left out."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._n_frames = 0

    def add_sound(self, frames: Iterable[av.AudioFrame]) -> None:
        pass

    def add_frame(self, jpeg: bytes) -> None:
        (self._directory / FRAME_NAME.format(self._n_frames)).write_bytes(jpeg)
        self._n_frames += 1


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that becomes ``target`` when the block ends well."""
    with _scratch(target) as scratch:
        partial = scratch / target.name
        yield partial
        os.replace(partial, target)


@contextmanager
def new_frames_directory(target: Path) -> Iterator[Path]:
    """The same for a directory of frames.  An older run's frames are replaced, all of them.

    Raises OutputRefused when ``target`` holds anything but frames.
    """
    with _scratch(target) as scratch:
        partial = scratch / "frames"
        partial.mkdir()
        yield partial
        # Looked at again: somebody may have put a file there while we were rendering.
        _refuse_foreign_files(target)
        put_in_place(partial, target)


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A private directory on the target's own file system, gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix=".lipfarm-", dir=target.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _target(name: str) -> Path:
    """Where a name leads: through symbolic links, which stay what they are."""
    return Path(os.path.realpath(name))


def _holds_working_directory(target: Path) -> bool:
    working = Path.cwd().resolve()
    return target == working or target in working.parents


def _refuse_foreign_files(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputRefused(f"{target}: is a file, not a directory")
    foreign = next((p for p in target.iterdir() if not _FRAME_PATTERN.fullmatch(p.name)), None)
    if foreign is not None:
        raise OutputRefused(
            f"{target}: holds other files ({foreign.name}); name a new or empty directory"
        )
