"""What an avatar bundle says of itself: sizes, boxes, checksums, and how its frames are encoded.

The manifest is read first and believed last: every number in it is checked before it is used.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from workers.families import FAMILIES
from workers.geometry import Box, Rect
from workers.ids import is_plain_id
from workers.kernels.jpeg import JpegSettings
from workers.kernels.paste import PASTES, changed_rect
from workers.kernels.splice import SpliceGrid

FORMAT_VERSION = 2
COMPILER_VERSION = 2  #: raise it when the same source would give other pixels
MAX_SIDE_PX = 16_384  #: of a frame; a JPEG ends at 65,535
MAX_BOX = 2  #: times the frame's longer side: beyond that, a box is a mistake and costs seconds
MAX_HEAD_BYTES = 4_096  #: of a JPEG: tables and sizes, 623 bytes


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle holds.  ``digest`` names the bundle: it covers every byte of it."""

    avatar_id: str
    family: str  #: of the models its crops are for
    compiler_version: int
    source_version: str  #: of what it was compiled from; another one means: compile again
    width_px: int
    height_px: int
    canvas_px: int
    paste: str  #: "hard" or "feather": see `workers.kernels.paste`
    quality: int  #: of the templates' JPEGs, and so of every frame that is joined with them
    chroma: str
    interval: int  #: MCUs from one restart marker to the next
    head: str  #: what every JPEG begins with, in hexadecimal
    body_bytes: int  #: of all templates' JPEGs, their heads left out
    boxes: tuple[Box, ...]
    crop_sha256: tuple[str, ...]
    patch_sha256: tuple[str, ...]
    jpeg_sha256: tuple[str, ...]  #: of a template's segments and where they begin
    model: str = ""  #: id of the model that was trained on it; empty: whichever the farm has

    @property
    def n_templates(self) -> int:
        return len(self.boxes)

    @property
    def crop_shape(self) -> tuple[int, int, int]:
        return (self.canvas_px, self.canvas_px, 3)

    @cached_property
    def grid(self) -> SpliceGrid:
        """The segments of its frames' JPEGs."""
        settings = JpegSettings(self.quality, self.chroma, self.interval)
        return SpliceGrid(self.width_px, self.height_px, settings)

    @cached_property
    def changed_rects(self) -> tuple[Rect, ...]:
        """The pixels of each template that a mouth may change; they may leave the frame."""
        family = FAMILIES[self.family]
        return tuple(changed_rect(box, self.paste, family) for box in self.boxes)

    @cached_property
    def patch_rects(self) -> tuple[Rect, ...]:
        """The pixels of each template that are encoded anew for a frame; may be empty."""
        return tuple(self.grid.patch_rect(rect) for rect in self.changed_rects)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT_VERSION, "digest": self.digest, **self._fields()})

    def _fields(self) -> dict[str, Any]:
        boxes = [[box.x, box.y, box.side] for box in self.boxes]
        fields = {**asdict(self), "boxes": boxes}
        return fields if self.model else {k: v for k, v in fields.items() if k != "model"}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError, KeyError, TypeError... when ``text`` is not a sound manifest."""
        fields: dict[str, Any] = json.loads(text)
        version, digest = fields.pop("format"), fields.pop("digest")
        if version != FORMAT_VERSION:
            raise ValueError(f"format {version}, not {FORMAT_VERSION}: build it again")
        boxes = tuple(Box(*map(_integer, box)) for box in fields.pop("boxes"))
        fields |= {name: tuple(fields[name]) for name in _SUMS}
        manifest = cls(boxes=boxes, **fields)
        if manifest.digest != digest:
            raise ValueError("does not match its own digest")
        manifest.validate()
        return manifest

    def validate(self) -> None:
        """Raises ValueError for what no renderer could use."""
        names = (self.avatar_id, self.family, self.source_version, self.model)
        texts = (*names, self.paste, self.chroma)
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ValueError("a name is not printable text")
        if not is_plain_id(self.avatar_id):
            raise ValueError(f"avatar id {self.avatar_id!r}")
        if self.model and not is_plain_id(self.model):
            raise ValueError(f"model id {self.model!r}")
        if self.family not in FAMILIES:
            raise ValueError(f"for models of an unknown family, {self.family!r}")
        if self.paste not in PASTES:
            raise ValueError(f"paste {self.paste!r}: must be one of {', '.join(PASTES)}")
        sizes = (self.width_px, self.height_px, self.canvas_px, self.compiler_version)
        for number in (*sizes, self.quality, self.interval, self.body_bytes):
            _integer(number)
        if not 1 <= self.canvas_px <= MAX_SIDE_PX:
            raise ValueError(f"a canvas of {self.canvas_px} pixels, must be 1..{MAX_SIDE_PX}")
        if not 0 < len(bytes.fromhex(self.head)) <= MAX_HEAD_BYTES:
            raise ValueError("the head of its JPEGs is none")
        if len({len(self.boxes), *(len(getattr(self, name)) for name in _SUMS)}) != 1:
            raise ValueError("needs a box and three checksums for each template")
        if not self.boxes:
            raise ValueError("has no templates")
        for box in self.boxes:
            check_size(self.width_px, self.height_px, box)
        _ = self.grid  # raises ValueError for settings that do not fit


_SUMS = ("crop_sha256", "patch_sha256", "jpeg_sha256")


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


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a whole number")
    return value
