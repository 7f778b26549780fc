"""An avatar bundle: what a compiled avatar looks like on disk, and how it is opened.

A directory of three plain files, read through memory maps that all processes share:

    manifest.json   sizes, boxes and checksums, with its own digest
    frames.u8       template frames, uint8 (n, H, W, 3), RGB, nothing else in the file
    crops.u8        their crops, uint8 (n, C, C, 3), RGB

Opening checks the manifest and the sizes, in milliseconds.  A frame's own checksum is checked when
a process first touches it.  Bundles are written by ``workers.avatar_compiler`` and never changed.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from workers.arrays import U8
from workers.errors import BundleError
from workers.geometry import Box

FORMAT_VERSION = 1
MANIFEST, FRAMES, CROPS = "manifest.json", "frames.u8", "crops.u8"
MAX_SIDE_PX = 16_384  #: of a frame or a box; a JPEG ends at 65,535


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle holds.  ``digest`` names the bundle: it covers every byte of it."""

    avatar_id: str
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
        """Raises ValueError, KeyError or TypeError when ``text`` is not a sound manifest."""
        fields: dict[str, Any] = json.loads(text)
        version, digest = fields.pop("format"), fields.pop("digest")
        if version != FORMAT_VERSION:
            raise ValueError(f"format {version}, not {FORMAT_VERSION}: build it again")
        boxes = tuple(Box(*box) for box in fields.pop("boxes"))
        frame_sums, crop_sums = tuple(fields.pop("frame_sha256")), tuple(fields.pop("crop_sha256"))
        manifest = cls(boxes=boxes, frame_sha256=frame_sums, crop_sha256=crop_sums, **fields)
        if manifest.digest != digest:
            raise ValueError("does not match its own digest")
        manifest.validate()
        return manifest

    def validate(self) -> None:
        """Raises ValueError for sizes that no renderer could use."""
        if not len(self.boxes) == len(self.frame_sha256) == len(self.crop_sha256) > 0:
            raise ValueError("needs one box, one frame and one crop per template, at least one")
        for box in self.boxes:
            check_size(self.width_px, self.height_px, box)


def check_size(width_px: int, height_px: int, box: Box) -> None:
    """Raises ValueError for a frame or a box that no renderer could use."""
    for side in (width_px, height_px, box.side):
        if not 1 <= side <= MAX_SIDE_PX:
            raise ValueError(f"a side of {side} pixels, must be 1..{MAX_SIDE_PX}")
    if box.rect.clipped_to(width_px, height_px).is_empty():
        raise ValueError(f"{box} lies outside the {width_px}x{height_px} frame")


class Bundle:
    """An open avatar bundle; frames and crops are views into the page cache.

    Raises BundleError when something is missing, has another size, or was changed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = _read_manifest(directory / MANIFEST)
        n = self.manifest.n_templates
        self._frames = _map(directory / FRAMES, (n, *self.manifest.frame_shape))
        self._crops = _map(directory / CROPS, (n, *self.manifest.crop_shape))
        self._checked: set[tuple[str, int]] = set()

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
                raise BundleError(f"{self.directory / name}: image {index} is damaged")
            self._checked.add((name, index))
        return image


def image_sha256(image: U8) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.from_json(path.read_text("utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: not a sound manifest ({error})") from error


def _map(path: Path, shape: tuple[int, ...]) -> U8:
    expected = int(np.prod(shape, dtype=np.int64))
    try:
        actual = path.stat().st_size
        if actual != expected:
            raise BundleError(f"{path}: {actual} bytes, the manifest says {expected}")
        return np.memmap(path, np.uint8, mode="r", shape=shape)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
