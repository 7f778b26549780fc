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

VIDEO_SUFFIXES = (".mp4", ".mkv")
FRAME_NAME = "frame_{:06d}.jpg"
_FRAME_PATTERN = re.compile(r"frame_\d{6,}\.jpg")


class Output(Protocol):
    """Takes a job's results in order."""

    def add_sound(self, frames: Iterable[av.AudioFrame]) -> None: ...

    def add_frame(self, jpeg: bytes) -> None: ...


def check_kind(name: str) -> None:
    """Raises OutputRefused for an ending that names no kind of output."""
    if not name.endswith("/") and Path(name).suffix not in VIDEO_SUFFIXES:
        raise OutputRefused(
            f"{name}: output of unknown kind; end it in {', '.join(VIDEO_SUFFIXES)}"
            " or, for single frames, in /"
        )


@contextmanager
def new_output(
    name: str, *, codec: VideoCodec, size: FrameSize, sound: SoundFormat
) -> Iterator[Output]:
    """Open what ``name`` asks for; it appears under that name when the block ends well.

    Raises OutputRefused when it cannot be written.
    """
    check_kind(name)
    if name.endswith("/"):
        with new_frames_directory(Path(name)) as directory:
            yield FrameFiles(directory)
    else:
        with (
            new_file(Path(name)) as path,
            new_video(path, codec=codec, size=size, sound=sound) as video,
        ):
            yield video


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
    """A temporary path beside ``target`` that becomes ``target`` when the block ends well.

    Raises OutputRefused when nothing can be written there.
    """
    if target.is_dir():
        raise OutputRefused(f"{target}: is a directory (end it in / for single frames)")
    with _scratch(target) as scratch:
        partial = scratch / target.name
        yield partial
        os.replace(partial, target)


@contextmanager
def new_frames_directory(target: Path) -> Iterator[Path]:
    """The same for a directory of frames.  An older run's frames are replaced, all of them.

    Raises OutputRefused when ``target`` holds anything but frames.
    """
    _refuse_foreign_files(target)
    with _scratch(target) as scratch:
        partial = scratch / "frames"
        partial.mkdir()
        yield partial
        if target.exists():
            # A directory cannot be renamed over a full one: the old one steps aside first.
            target.rename(scratch / "old")
        partial.rename(target)


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A private directory on the target's own file system, gone afterwards."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".lipfarm-", dir=target.parent))
    except OSError as error:
        raise OutputRefused(f"{target}: cannot be written ({error.strerror})") from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
