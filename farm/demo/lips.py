"""The curves of a mouth: where its lips and its opening lie at each column of the picture.

This file paints nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from farm.demo.layers import F32, SCALE
from farm.demo.look import MouthSize

AXIS_X, MOUTH_Y = 640.0, 406.0
"""Frame pixels: the middle of the mouth before the head moves."""

_REACH_PX = 78
"""Frame pixels from the axis to the last column."""


@dataclass(frozen=True, slots=True)
class MouthShape:
    """What a mouth does in one frame.  Values outside their range are clipped."""

    open: float  #: 0..1, lips and jaw apart
    width: float  #: -1..1, from narrow to spread
    rounding: float  #: 0..1, lips pushed forward
    teeth: float  #: 0..1, upper teeth shown
    tongue: float  #: 0..1, its tip raised
    tuck: float  #: 0..1, lower lip under the upper teeth, as for f
    press: float  #: 0..1, lips pressed together, as for m; 0.25 at rest

    def clipped(self) -> "MouthShape":
        values = {f.name: min(max(float(getattr(self, f.name)), 0), 1) for f in fields(self)}
        return MouthShape(**{**values, "width": min(max(float(self.width), -1), 1)})


AT_REST = MouthShape(open=0, width=0, rounding=0, teeth=0, tongue=0, tuck=0, press=0.25)

_Table = tuple[tuple[float, float], ...]
"""Values at some distances from the middle: 0 there, 1 at the corner of the mouth."""

_SEAM_BOW: _Table = ((0, 0.8), (0.1, 1.4), (0.2, 2.0), (0.33, 1.7), (0.5, 0.9), (0.8, 0.4), (1, 0))
_CORNER_PULL: _Table = ((0, 0), (0.2, 0.01), (0.4, 0.08), (0.6, 0.26), (0.8, 0.55), (1, 1))
_UPPER_FULLNESS: _Table = (
    (0, 0.76), (0.06, 0.8), (0.18, 1), (0.3, 0.96), (0.5, 0.74), (0.7, 0.49), (0.85, 0.27),
    (0.95, 0.11), (1, 0),
)  # fmt: skip
_LOWER_FULLNESS: _Table = (
    (0, 1), (0.2, 0.99), (0.4, 0.93), (0.55, 0.83), (0.7, 0.66), (0.85, 0.38), (0.95, 0.14), (1, 0),
)  # fmt: skip

_GAP_PX = 40.0
"""Height of the opening at ``open`` 1 and all else 0."""

_TEETH_GAP_PX = 4.5
"""Showing the teeth parts the lips by this much, even with the jaw shut."""

_ROOM_ABOVE_PX = 25.5
"""From the middle of the mouth to where the upper lip must end."""

_TONGUE_GAP_PX = 3.0
"""So does the tip of the tongue, once there is any way out for it."""


@dataclass(frozen=True, slots=True)
class Lips:
    """The mouth's edges, as y in frame pixels at each layer column from ``left`` on.

    From the top: ``upper_top``, ``upper_edge`` (what lies between it and ``lower_edge`` is open),
    ``lower_edge``, ``lower_bottom``.  ``seam`` is the line on which shut lips meet.
    """

    left: int
    u: F32  #: distance of a column from the middle, 1 at the corners
    inner: F32  #: likewise, 1 where the opening ends
    upper_top: F32
    upper_edge: F32
    lower_edge: F32
    lower_bottom: F32
    seam: F32
    half_width_px: float
    inner_half_width_px: float
    corner_y: float
    gap_px: float  #: height of the opening in the middle

    @property
    def x(self) -> F32:
        x: F32 = AXIS_X + self.u * self.half_width_px
        return x


def lips(size: MouthSize, mouth: MouthShape) -> Lips:
    """The curves of ``mouth``, which must be clipped."""
    half_width = _half_width(size, mouth)
    columns = np.arange(-_REACH_PX * SCALE, _REACH_PX * SCALE)
    u = ((columns + 0.5) / SCALE / half_width).astype(np.float32)
    inner_share = 0.92 - 0.06 * mouth.rounding - 0.04 * mouth.open
    inner = u / np.float32(inner_share)
    gap = gap_px(mouth)
    corner = -size.smile_px * (1 - 0.85 * mouth.rounding) + 5 * mouth.open - 2.5 * mouth.width
    calm = 1 - 0.6 * mouth.rounding
    seam = MOUTH_Y + corner * _at(_CORNER_PULL, u) + calm * _at(_SEAM_BOW, u)
    upper, lower = _thickness(size, mouth)
    rise = _rise_px(mouth, gap, upper)
    arch, bowl = _opening(inner, mouth)
    upper_edge, lower_edge = seam - rise * arch, seam + (gap - rise) * bowl
    return Lips(
        left=int(AXIS_X) * SCALE - _REACH_PX * SCALE,
        u=u,
        inner=inner,
        upper_top=upper_edge - upper * _fullness(_UPPER_FULLNESS, u, mouth),
        upper_edge=upper_edge,
        lower_edge=lower_edge,
        lower_bottom=lower_edge + lower * _fullness(_LOWER_FULLNESS, u, mouth),
        seam=seam,
        half_width_px=half_width,
        inner_half_width_px=half_width * inner_share,
        corner_y=MOUTH_Y + corner,
        gap_px=gap,
    )


def gap_px(mouth: MouthShape) -> float:
    """How far the lips are apart in the middle, in frame pixels; 0 when they are shut."""
    apart = _GAP_PX * mouth.open * (1 - 0.6 * mouth.tuck)
    apart += _TEETH_GAP_PX * (mouth.teeth + mouth.tuck) * (1 - 0.5 * mouth.open)
    apart += _TONGUE_GAP_PX * mouth.tongue * smooth(5 * (mouth.open + mouth.teeth))
    return apart * (1 - smooth((mouth.press - 0.25) / 0.5))


def smooth(t: float) -> float:
    """From 0 to 1 and level at both ends."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _half_width(size: MouthSize, mouth: MouthShape) -> float:
    spread = 0.15 * mouth.width if mouth.width > 0 else 0.2 * mouth.width
    pressed = 0.05 * max(mouth.press - 0.25, 0)
    return size.half_width_px * (1 + spread - 0.31 * mouth.rounding - 0.03 * mouth.open - pressed)


def _rise_px(mouth: MouthShape, gap: float, thickness: float) -> float:
    """How far the upper lip goes up for a part of the gap: the less room, the slower."""
    share = 0.25 + 0.5 * mouth.tuck + 0.2 * mouth.rounding * (1 - mouth.tuck)
    room = _ROOM_ABOVE_PX - thickness
    return room * (1 - math.exp(-share * gap / room))


def _opening(inner: F32, mouth: MouthShape) -> tuple[F32, F32]:
    """Height of the opening above and below the seam at each column, 1 in the middle.

    A bowl under a flatter arch; with rounding, both halves of a ring.
    """
    inside = np.clip(1 - inner**2, 0, 1)
    arch: F32 = inside ** np.float32(0.8 - 0.25 * mouth.rounding)
    bowl: F32 = inside ** np.float32(0.62 - 0.08 * mouth.open * (1 - mouth.rounding))
    return arch, bowl


def _thickness(size: MouthSize, mouth: MouthShape) -> tuple[float, float]:
    """Of the upper and the lower lip in the middle, in frame pixels."""
    pressed = smooth((mouth.press - 0.25) / 0.75)
    thinning = 0.1 if mouth.width > 0 else 0.04
    stretched = 1 - 0.14 * mouth.open - thinning * mouth.width * (1 - pressed)
    both = stretched * (1 + 0.12 * mouth.rounding)
    upper = size.upper_px * both * (1 - 0.48 * pressed)
    lower = size.lower_px * both * (1 - 0.42 * pressed) * (1 - 0.5 * mouth.tuck)
    return upper, lower


def _fullness(table: _Table, u: F32, mouth: MouthShape) -> F32:
    """Thickness of a lip at each column, 1 at most: rounding makes a ring of the lips."""
    ring: F32 = np.float32(0.92) * np.sqrt(np.clip(1 - u**2, 0, 1))
    pushed = np.float32(0.5 * mouth.rounding)
    flat = _at(table, u)
    fullness: F32 = flat + (ring - flat) * pushed
    return fullness


def _at(table: Sequence[tuple[float, float]], u: F32) -> F32:
    distances, values = zip(*table, strict=True)
    x, y = np.array(distances, np.float32), np.array(values, np.float32)
    return _eased(x, y, np.abs(u))


def _eased(x: F32, y: F32, at: F32) -> F32:
    """The smooth curve through (x, y), level in the middle, where it meets its mirror image."""
    slopes = np.gradient(y, x)
    slopes[0] = 0
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    step = x[k + 1] - x[k]
    t = np.clip((at - x[k]) / step, 0, 1)
    rise = y[k + 1] - y[k]
    a, b = slopes[k] * step - rise, rise - slopes[k + 1] * step
    value: F32 = y[k] + t * rise + t * (1 - t) * (a * (1 - t) + b * t)
    return value
