"""A frame's JPEG from its template's JPEG and the part that changed, without encoding the rest.

A grid of segments lies over the frame: each is one restart interval, ``interval`` MCUs wide and
one MCU high, and a JPEG is the segments in reading order.  Only those that touch the changed
pixels are encoded anew; the frame that is joined from them and the template's own is, byte for
byte, what encoding the whole picture gives.

The change is what travels, 15 to 20 KB for a mouth, all integers little-endian:

    offset  bytes  what
         0      8  4 x uint16: row0, row1, column0, column1: the segments that are new, half open
         8      .  those segments in reading order, each with its closing marker in the frame

Markers tell where a segment ends, so no length is sent.  A change of nothing is ``UNCHANGED``.
"""

import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from workers.arrays import I64, U8
from workers.geometry import Rect
from workers.kernels.jpeg import (
    MAX_SIDE_PX,
    JpegSettings,
    NotSpliceable,
    check_markers,
    closing_codes,
    encode_jpeg,
    find_markers,
    split,
    with_size,
)

CHANGE_HEADER = struct.Struct("<4H")
UNCHANGED = bytes(CHANGE_HEADER.size)  #: the change of a frame that equals its template


class SegmentRect(NamedTuple):
    """A half-open rectangle of a grid's segments."""

    row0: int
    row1: int
    column0: int
    column1: int


NOWHERE = SegmentRect(0, 0, 0, 0)


def intervals(mcus_per_row: int) -> list[int]:
    """The restart intervals, in MCUs, whose segments do not straddle rows, smallest first."""
    return [interval for interval in range(1, mcus_per_row + 1) if mcus_per_row % interval == 0]


@dataclass(frozen=True)
class SpliceGrid:
    """The segments of every JPEG of one size and the same settings.

    Raises ValueError for a size that libjpeg refuses and an interval that is not one of
    ``intervals(mcus_per_row)``.
    """

    width_px: int
    height_px: int
    settings: JpegSettings

    def __post_init__(self) -> None:
        if not (1 <= self.width_px <= MAX_SIDE_PX and 1 <= self.height_px <= MAX_SIDE_PX):
            size = f"{self.width_px} x {self.height_px}"
            raise ValueError(f"a frame of {size} pixels: sides must be 1..{MAX_SIDE_PX}")
        interval, mcus = self.settings.interval, self.mcus_per_row
        if interval == 0 or mcus % interval:
            allowed = ", ".join(map(str, intervals(mcus)))
            raise ValueError(
                f"restart interval {interval} does not divide {mcus} MCUs per row: one of {allowed}"
            )

    @cached_property
    def mcus_per_row(self) -> int:
        return -(-self.width_px // self.settings.mcu_px[0])

    @cached_property
    def segments_per_row(self) -> int:
        return self.mcus_per_row // self.settings.interval

    @cached_property
    def n_rows(self) -> int:
        return -(-self.height_px // self.settings.mcu_px[1])

    @property
    def n_segments(self) -> int:
        return self.n_rows * self.segments_per_row

    @cached_property
    def segment_px(self) -> tuple[int, int]:
        """Width and height of a segment that the frame's edge does not cut."""
        mcu_width, mcu_height = self.settings.mcu_px
        return mcu_width * self.settings.interval, mcu_height

    @cached_property
    def codes(self) -> U8:
        """The segments' closing markers, uint8, shape (n_rows, segments_per_row)."""
        return closing_codes(self.n_segments).reshape(self.n_rows, self.segments_per_row)

    def segments(self, rect: Rect) -> SegmentRect:
        """The segments that show a pixel of ``rect``; ``NOWHERE`` when all of it is outside."""
        seen = rect.clipped_to(self.width_px, self.height_px)
        if seen.is_empty():
            return NOWHERE
        width, height = self.segment_px
        return SegmentRect(
            seen.y0 // height, -(-seen.y1 // height), seen.x0 // width, -(-seen.x1 // width)
        )

    def patch_rect(self, rect: Rect) -> Rect:
        """The pixels of those segments: what to encode when ``rect`` changes.  May be empty.

        It ends with the frame at the right and at the bottom, elsewhere with a segment.
        """
        return self.pixels(self.segments(rect))

    def pixels(self, segments: SegmentRect) -> Rect:
        """Those of ``segments``; none for ``NOWHERE``."""
        row0, row1, column0, column1 = segments
        width, height = self.segment_px
        aligned = Rect(column0 * width, row0 * height, column1 * width, row1 * height)
        return aligned.clipped_to(self.width_px, self.height_px)


@dataclass(frozen=True, slots=True, eq=False)
class TemplateJpeg:
    """The JPEG that changes are joined with.

    Nothing is copied: ``body`` may be a view of a memory-mapped file, and hold other templates'
    segments as well; the caller keeps it open.  Raises NotSpliceable for offsets that do not fit.
    """

    grid: SpliceGrid
    head: bytes
    body: memoryview  #: flat bytes: segments, each with its closing marker
    offsets: I64  #: shape (n_segments + 1,), where in ``body`` each begins; last, where all end

    def __post_init__(self) -> None:
        offsets, n_bytes = self.offsets, self.body.nbytes
        if offsets.shape != (self.grid.n_segments + 1,) or offsets.dtype != np.int64:
            want = f"int64 ({self.grid.n_segments + 1},)"
            raise NotSpliceable(f"offsets are {offsets.dtype} {offsets.shape}: must be {want}")
        # All of them: a difference alone may overflow.
        is_inside = ((offsets >= 0) & (offsets <= n_bytes)).all()
        if not is_inside or (offsets[1:] - offsets[:-1] < 2).any():
            raise NotSpliceable(f"offsets do not cut a body of {n_bytes} bytes into segments")

    @classmethod
    def parse(cls, jpeg: bytes, grid: SpliceGrid) -> "TemplateJpeg":
        """A template from a whole JPEG.  Raises NotSpliceable when ``grid`` is not its own."""
        parts = split(jpeg)
        if parts.head != template_head(grid):
            raise NotSpliceable("the template is of another size, or encoded otherwise")
        return cls(grid, parts.head, parts.body, parts.offsets)

    def outside(self, segments: SegmentRect) -> list[memoryview]:
        """What stays: before the first row of ``segments``, between its rows, and after the last.

        ``segments`` : part of the grid.
        """
        row0, row1, column0, column1 = segments
        stride, offsets = self.grid.segments_per_row, self.offsets
        begins = offsets[row0 * stride + column1 : row1 * stride + column1 : stride].tolist()
        ends = offsets[row0 * stride + column0 : row1 * stride + column0 : stride].tolist()
        begins.insert(0, int(offsets[0]))
        ends.append(int(offsets[-1]))
        return [self.body[begin:end] for begin, end in zip(begins, ends, strict=True)]


def template_head(grid: SpliceGrid) -> bytes:
    """What every JPEG of this grid begins with, as this process encodes it."""
    head = split(encode_jpeg(Image.new("RGB", (1, 1)), grid.settings)).head
    return with_size(head, grid.width_px, grid.height_px)


def splice(template: TemplateJpeg, patch_jpeg: bytes, rect: Rect) -> bytes:
    """The JPEG of the template's frame with new pixels in ``rect``: ``changed``, then ``join``."""
    place = _place(template.grid, rect)
    if place.segments == NOWHERE:
        return join(template, UNCHANGED)
    body, markers = _renewed(patch_jpeg, template, place)
    return _joined(template, place.segments, _rows(body.data, markers, place.segments))


def changed(patch_jpeg: bytes, template: TemplateJpeg, rect: Rect) -> bytes:
    """The change that new pixels in ``rect`` make, in the layout above.

    Parameters
    ----------
    patch_jpeg : all pixels of ``grid.patch_rect(rect)``, the unchanged ones included, encoded with
        the grid's settings.  Not looked at when that is empty.
    rect : may leave the frame.

    Raises NotSpliceable for a patch of another size or other settings.
    """
    place = _place(template.grid, rect)
    if place.segments == NOWHERE:
        return UNCHANGED
    body, _ = _renewed(patch_jpeg, template, place)
    return CHANGE_HEADER.pack(*place.segments) + body.tobytes()


def _renewed(patch_jpeg: bytes, template: TemplateJpeg, place: "_Place") -> tuple[U8, I64]:
    """The patch's segments with the markers of their places in the frame, and where those are."""
    head = _patch_head(template.head, *place.size_px)
    if not patch_jpeg.startswith(head):
        width, height = place.size_px
        raise NotSpliceable(f"not a JPEG of {width} x {height} pixels encoded as the template is")
    body = np.frombuffer(patch_jpeg, np.uint8)[len(head) :].copy()
    markers = find_markers(body)
    check_markers(body, markers, place.own_codes)
    body[1:][markers] = place.codes
    return body, markers


class _Place(NamedTuple):
    """What there is to know of a patch from where it is."""

    segments: SegmentRect
    size_px: tuple[int, int]
    own_codes: U8  #: closing markers of its own JPEG's segments
    codes: U8  #: of the same segments in the frame


# An avatar may have a place for each template: 1 KB.
@lru_cache(maxsize=512)
def _place(grid: SpliceGrid, rect: Rect) -> _Place:
    segments, patch = grid.segments(rect), grid.patch_rect(rect)
    codes = _codes(grid, segments)
    return _Place(segments, (patch.width, patch.height), closing_codes(len(codes)), codes)


# An avatar's patches are of few sizes.
_patch_head = lru_cache(maxsize=256)(with_size)


def join(template: TemplateJpeg, change: bytes | memoryview) -> bytes:
    """The whole JPEG: the template's with the segments of ``change``.

    Raises NotSpliceable unless the change is as the layout above says, fits the grid, and has as
    many segments as it announces, all with the markers of their places.  What is inside a segment
    is not looked at: damage there shows in that segment's pixels and in no others.
    """
    return _joined(template, *_read(change, template.grid))


def _joined(template: TemplateJpeg, segments: SegmentRect, new_rows: list[memoryview]) -> bytes:
    before, *after_each = template.outside(segments)
    pairs = zip(new_rows, after_each, strict=True)
    return b"".join((template.head, before, *chain.from_iterable(pairs)))


def _read(change: bytes | memoryview, grid: SpliceGrid) -> tuple[SegmentRect, list[memoryview]]:
    """Which segments are new, and their bytes, one view for each row."""
    if change == UNCHANGED:
        return NOWHERE, []
    if len(change) < CHANGE_HEADER.size:
        raise NotSpliceable(f"a change of {len(change)} bytes: it has a header of 8")
    segments = SegmentRect(*CHANGE_HEADER.unpack_from(change))
    row0, row1, column0, column1 = segments
    if not (row0 < row1 <= grid.n_rows and column0 < column1 <= grid.segments_per_row):
        size = f"{grid.n_rows} x {grid.segments_per_row}"
        raise NotSpliceable(f"{segments} is no part of a grid of {size}")
    view = memoryview(change)[CHANGE_HEADER.size :]
    body = np.frombuffer(view, np.uint8)
    markers = find_markers(body)
    check_markers(body, markers, _codes(grid, segments))
    return segments, _rows(view, markers, segments)


def _rows(body: memoryview, markers: I64, segments: SegmentRect) -> list[memoryview]:
    """The new segments' bytes, one view for each row."""
    n_columns = segments.column1 - segments.column0
    ends = (markers[n_columns - 1 :: n_columns] + 2).tolist()
    return [body[begin:end] for begin, end in pairwise([0, *ends])]


def _codes(grid: SpliceGrid, segments: SegmentRect) -> U8:
    row0, row1, column0, column1 = segments
    return grid.codes[row0:row1, column0:column1].ravel()
