"""Template frames and boxes as other tools keep them.

A layout is recognised by where its boxes are:

    crop_rects.json   frame_0000.png... beside it or in frames/: the seed server
    landmarks/N.lms   full_body_img/N.jpg: SyncTalk_2D, Ultralight-Digital-Human
    coords.pkl        full_imgs/00000000.png...: LiveTalking, MuseTalk

All that can be wrong is found before a frame is decoded, except damage inside a picture.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from farm.box_files import BoxOrder, read_coords, read_landmarks, read_rects
from farm.errors import SourceUnusable
from farm.pictures import SUFFIXES, read_rgb, size_of
from workers.arrays import U8
from workers.geometry import Box
from workers.manifest import check_size

Frames: TypeAlias = dict[int, Path]  #: by number, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What an avatar is built from."""

    directory: Path
    frames: tuple[Path, ...]
    boxes: tuple[Box, ...]  #: one for each frame
    width_px: int
    height_px: int
    notes: tuple[str, ...] = ()  #: where the boxes are not what the file says

    @property
    def n_templates(self) -> int:
        return len(self.frames)

    def templates(self) -> Iterator[tuple[U8, Box]]:
        """Frames, uint8 (H, W, 3), RGB, with their boxes, decoded one at a time.

        Raises SourceUnusable, which names the file, for a damaged one or one of another size.
        """
        for path, box in zip(self.frames, self.boxes, strict=True):
            frame_rgb = read_rgb(path)
            self._check_size(path, frame_rgb.shape[1], frame_rgb.shape[0])
            yield frame_rgb, box

    def check(self) -> None:
        """Raises SourceUnusable for a frame of another size or a box that cannot be used."""
        for path, box in zip(self.frames, self.boxes, strict=True):
            self._check_size(path, *size_of(path))
            try:
                check_size(self.width_px, self.height_px, box)
            except ValueError as error:
                raise SourceUnusable(f"{path}: its box cannot be used ({error})") from error

    def _check_size(self, path: Path, width_px: int, height_px: int) -> None:
        if (width_px, height_px) != (self.width_px, self.height_px):
            raise SourceUnusable(
                f"{path}: has {width_px}x{height_px} pixels, {self.frames[0].name} has"
                f" {self.width_px}x{self.height_px}; all frames must have one size"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where one tool keeps frames and boxes."""

    boxes: str  #: a file or a directory
    folders: tuple[str, ...]  #: of frames, the first one that has any
    looks_like: str


_LAYOUTS = (
    _Layout(
        boxes="crop_rects.json",
        folders=(".", "frames", "full_body_img", "full_imgs"),
        looks_like="frame_0000.png... with crop_rects.json",
    ),
    _Layout(
        boxes="landmarks",
        folders=("full_body_img",),
        looks_like="full_body_img/0.jpg... with landmarks/0.lms...",
    ),
    _Layout(
        boxes="coords.pkl",
        folders=("full_imgs",),
        looks_like="full_imgs/00000000.png... with coords.pkl",
    ),
)

_NUMBERED = re.compile(r"(frame_)?([0-9]{1,18})(\.[a-z]+)", re.IGNORECASE)


def open_source(directory: Path, *, box_order: BoxOrder | None = None) -> Source:
    """Find out what ``directory`` holds, and check it.

    ``box_order`` : of coords.pkl, for when it can be read both ways.
    Raises SourceUnusable.
    """
    try:
        layout, frames = _find(directory)
        return _read(directory, layout, frames, box_order)
    except OSError as error:
        raise SourceUnusable(f"{error.filename or directory}: {error.strerror}") from error


def _find(directory: Path) -> tuple[_Layout, Frames]:
    if not directory.is_dir():
        what = "is no directory" if directory.exists() else "does not exist"
        raise SourceUnusable(f"{directory}: {what}; name the one with an avatar's frames and boxes")
    for layout in _LAYOUTS:
        if (directory / layout.boxes).exists():
            for folder in layout.folders:
                if frames := _numbered(directory / folder, needs_prefix=folder == "."):
                    return layout, frames
    wanted = "; ".join(layout.looks_like for layout in _LAYOUTS)
    raise SourceUnusable(f"{directory}: no frames with boxes in it; looked for {wanted}")


def _numbered(folder: Path, *, needs_prefix: bool) -> Frames:
    """The pictures in ``folder`` by the numbers in their names, which must have no hole."""
    frames: Frames = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NUMBERED.fullmatch(path.name)
        if match is None or match[3].lower() not in SUFFIXES or not path.is_file():
            continue
        if match[1] or not needs_prefix:
            other = frames.setdefault(int(match[2]), path)
            if other != path:
                one, two = sorted((other.name, path.name))
                raise SourceUnusable(f"{folder}: {one} and {two} have the same number")
    for number in frames:
        if number - 1 not in frames and number != min(frames):
            missing = max(n for n in frames if n < number) + 1
            raise SourceUnusable(f"{folder}: frame {missing} is missing, frame {number} is there")
    return dict(sorted(frames.items()))


def _read(directory: Path, layout: _Layout, frames: Frames, order: BoxOrder | None) -> Source:
    paths = tuple(frames.values())
    size = size_of(paths[0])
    notes: tuple[str, ...] = ()
    match layout.boxes:
        case "crop_rects.json":
            boxes = read_rects(directory / layout.boxes, len(paths))
        case "landmarks":
            boxes = read_landmarks(directory / layout.boxes, list(frames))
        case _:
            boxes, notes = read_coords(directory / layout.boxes, len(paths), size, order)
    if order is not None and layout.boxes != "coords.pkl":
        raise SourceUnusable(f"--boxes is for coords.pkl, and the boxes are in {layout.boxes}")
    source = Source(
        directory=directory, frames=paths, boxes=boxes, width_px=size[0], height_px=size[1],
        notes=notes,
    )  # fmt: skip
    source.check()
    return source
