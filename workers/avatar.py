"""An avatar bundle: what a compiled avatar looks like on disk, and how it is opened.

A directory of three plain files, read through memory maps that all processes share:

    manifest.json   sizes, boxes and checksums, with its own digest
    frames.u8       template frames, uint8 (n, H, W, 3), RGB, nothing else in the file
    crops.u8        their crops, uint8 (n, C, C, 3), RGB

The directory is opened once and the files through it: a bundle that is replaced meanwhile is seen
whole, the old one or the new.  Opening checks the manifest and the sizes, in milliseconds.  A
frame's own checksum is checked when a process first touches it.  Bundles are written by
``workers.avatar_compiler`` and never changed.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from workers.arrays import U8
from workers.errors import BundleError
from workers.families import Family
from workers.geometry import Box

FORMAT_VERSION = 1
MANIFEST, FRAMES, CROPS = "manifest.json", "frames.u8", "crops.u8"
COMPILER_VERSION = 1  #: raise it when the same source would give other pixels
MAX_SIDE_PX = 16_384  #: of a frame; a JPEG ends at 65,535
MAX_BOX = 2  #: times the frame's longer side: beyond that, a box is a mistake and costs seconds
MAX_MANIFEST_BYTES = 64 << 20  #: 400,000 template frames
_AVATAR_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle holds.  ``digest`` names the bundle: it covers every byte of it."""

    avatar_id: str
    family: str  #: of the models its crops are for
    compiler_version: int
    source_version: str  #: of what it was compiled from; another one means: compile again
    width_px: int
    height_px: int
    canvas_px: int
    boxes: tuple[Box, ...]
    frame_sha256: tuple[str, ...]
    crop_sha256: tuple[str, ...]

    @property
    def n_templates(self) -> int:
        return len(self.boxes)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        return (self.height_px, self.width_px, 3)

    @property
    def crop_shape(self) -> tuple[int, int, int]:
        return (self.canvas_px, self.canvas_px, 3)

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT_VERSION, "digest": self.digest, **self._fields()})

    def _fields(self) -> dict[str, Any]:
        boxes = [[box.x, box.y, box.side] for box in self.boxes]
        return {**asdict(self), "boxes": boxes}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError, KeyError, TypeError... when ``text`` is not a sound manifest."""
        fields: dict[str, Any] = json.loads(text)
        version, digest = fields.pop("format"), fields.pop("digest")
        if version != FORMAT_VERSION:
            raise ValueError(f"format {version}, not {FORMAT_VERSION}: build it again")
        boxes = tuple(Box(*map(_integer, box)) for box in fields.pop("boxes"))
        frame_sums, crop_sums = tuple(fields.pop("frame_sha256")), tuple(fields.pop("crop_sha256"))
        manifest = cls(boxes=boxes, frame_sha256=frame_sums, crop_sha256=crop_sums, **fields)
        if manifest.digest != digest:
            raise ValueError("does not match its own digest")
        manifest.validate()
        return manifest

    def validate(self) -> None:
        """Raises ValueError for what no renderer could use."""
        texts = (self.avatar_id, self.family, self.source_version)
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ValueError("a name is not printable text")
        if not is_avatar_id(self.avatar_id):
            raise ValueError(f"avatar id {self.avatar_id!r}")
        for number in (self.width_px, self.height_px, self.canvas_px, self.compiler_version):
            _integer(number)
        if not 1 <= self.canvas_px <= MAX_SIDE_PX:
            raise ValueError(f"a canvas of {self.canvas_px} pixels, must be 1..{MAX_SIDE_PX}")
        if not len(self.boxes) == len(self.frame_sha256) == len(self.crop_sha256) > 0:
            raise ValueError("needs one box, one frame and one crop per template, at least one")
        for box in self.boxes:
            check_size(self.width_px, self.height_px, box)


def check_size(width_px: int, height_px: int, box: Box) -> None:
    """Raises ValueError for a frame or a box that no renderer could use."""
    for side, most in (
        (width_px, MAX_SIDE_PX),
        (height_px, MAX_SIDE_PX),
        (box.side, MAX_BOX * max(width_px, height_px)),
    ):
        if not 1 <= side <= most:
            raise ValueError(f"a side of {side} pixels, must be 1..{most}")
    if box.rect.clipped_to(width_px, height_px).is_empty():
        raise ValueError(f"{box} lies outside the {width_px}x{height_px} frame")


class Bundle:
    """An open avatar bundle; frames and crops are views into the page cache.

    Raises BundleError when something is missing, has another size, or was changed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._checked: set[tuple[str, int]] = set()
        while True:
            with _opened(directory) as descriptor:
                try:
                    return self._open_files(descriptor)
                except BundleError:
                    # It may have been replaced, and the old one's files removed under our eyes.
                    if not _is_replaced(directory, descriptor):
                        raise

    def _open_files(self, descriptor: int) -> None:
        self.manifest = _read_manifest(self.directory, descriptor)
        n = self.manifest.n_templates
        frames_shape = (n, *self.manifest.frame_shape)
        crops_shape = (n, *self.manifest.crop_shape)
        self._frames = _map(self.directory / FRAMES, descriptor, frames_shape)
        self._crops = _map(self.directory / CROPS, descriptor, crops_shape)

    def require_family(self, family: Family) -> None:
        """Raises BundleError unless the crops are for models of this family."""
        mine = (self.manifest.family, self.manifest.canvas_px)
        if mine != (family.name, family.canvas_px):
            raise BundleError(
                f"{self.directory}: was compiled for {mine[0]} at {mine[1]} pixels, the model is"
                f" {family.name} at {family.canvas_px}: build it again"
            )

    def frame(self, index: int) -> U8:
        """Template frame ``index``, uint8 (H, W, 3), RGB, read-only."""
        return self._intact(FRAMES, self._frames, index, self.manifest.frame_sha256)

    def crop(self, index: int) -> U8:
        """The crop of template frame ``index``, uint8 (C, C, 3), RGB, read-only."""
        return self._intact(CROPS, self._crops, index, self.manifest.crop_sha256)

    def box(self, index: int) -> Box:
        return self.manifest.boxes[index]

    def verify(self) -> None:
        """Check every byte.  Raises BundleError at the first frame that differs."""
        for index in range(self.manifest.n_templates):
            self.frame(index)
            self.crop(index)

    def _intact(self, name: str, images: U8, index: int, sums: tuple[str, ...]) -> U8:
        image: U8 = images[index]
        if (name, index) not in self._checked:
            if image_sha256(image) != sums[index]:
                raise BundleError(
                    f"{self.directory / name}: image {index} is damaged; build it again"
                )
            self._checked.add((name, index))
        return image


def image_sha256(image: U8) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def is_avatar_id(text: str) -> bool:
    """Letters, digits, dots, dashes and underscores, at most 64: safe in paths and on terminals."""
    return _AVATAR_ID.fullmatch(text) is not None


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _is_replaced(directory: Path, descriptor: int) -> bool:
    try:
        return not os.path.samestat(os.stat(descriptor), os.stat(directory))
    except OSError:
        return False  # gone altogether


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{directory}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_manifest(directory: Path, descriptor: int) -> Manifest:
    path = directory / MANIFEST
    try:
        with open(MANIFEST, "rb", opener=partial(os.open, dir_fd=descriptor)) as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{directory}: is not an avatar bundle (it has no {MANIFEST})") from error
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    try:
        if len(text) > MAX_MANIFEST_BYTES:
            raise ValueError(f"more than {MAX_MANIFEST_BYTES} bytes")
        return Manifest.from_json(text.decode())
    except ValueError as error:
        raise BundleError(f"{path}: not a sound manifest ({error})") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: not a sound manifest (fields are missing or wrong)") from error


def _map(path: Path, descriptor: int, shape: tuple[int, ...]) -> U8:
    expected = int(np.prod(shape, dtype=np.int64))
    try:
        with open(path.name, "rb", opener=partial(os.open, dir_fd=descriptor)) as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != expected:
                raise BundleError(f"{path}: {actual} bytes, the manifest says {expected}")
            return np.memmap(file, np.uint8, mode="r", shape=shape)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
