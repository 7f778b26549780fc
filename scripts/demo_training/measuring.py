"""Reading mouths off pictures: the gate's ruler.

Opening, lip width and the closed mouth are counted in pixels by colour; nothing is learnt.
Rounding is a fixed mix of lip width, height, thickness and area, calibrated on drawn mouths, whose
rounding is known; how well each reading follows the drawing is measured with the rest.

All pictures are inner crops, uint8 (320, 320, 3), RGB, of the default person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

_DARK_MAX, _DARK_RED_MAX = 105, 100  #: the inside of the mouth, lit by nothing
_TOOTH_MIN, _TOOTH_SPREAD = 125, 48  #: bright, and nearly grey
_LIP_REDNESS = 0.42  #: (R - G) / R; skin has 0.18, its shade 0.33, lips 0.48
_TALLEST = 8  #: columns that the opening is the mean of: beside the tongue, which looks like a lip

MOUTH = (slice(94, 244), slice(80, 240))
"""Rows and columns of the inner crop that picture quality is measured in."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Pixels of the inner crop."""

    opening_px: float  #: height of cavity and teeth
    width_px: float  #: from corner to corner of the lips
    height_px: float  #: of lips and opening, in the middle
    thickness_px: float  #: of the lips alone, in the middle
    area_px: float  #: square root of the lips' area

    def shape(self) -> list[float]:
        return [self.width_px, self.height_px, self.thickness_px, self.area_px, self.opening_px, 1]


def read_mouth(crop: U8, middle: tuple[float, float]) -> Reading:
    """The mouth around ``middle``, (x, y) in the crop."""
    x, y = (round(v) for v in middle)
    near = crop[y - 30 : y + 62, x - 80 : x + 80].astype(np.float64)
    red, brightest, darkest = near[..., 0], near.max(-1), near.min(-1)
    dark = (red < _DARK_RED_MAX) & (brightest < _DARK_MAX)
    tooth = (darkest > _TOOTH_MIN) & (brightest - darkest < _TOOTH_SPREAD)
    lip = ((red - near[..., 1]) / np.maximum(red, 1) > _LIP_REDNESS) & ~dark
    central = slice(80 - 6, 80 + 7)
    inside = _extents((dark | tooth)[:, 80 - 36 : 80 + 37])
    columns = np.flatnonzero(lip.sum(0) >= 2)
    return Reading(
        opening_px=float(np.sort(inside)[-_TALLEST:].mean()),
        width_px=float(np.ptp(columns) + 1) if len(columns) else 0.0,
        height_px=float(np.median(_extents((lip | dark | tooth)[:, central]))),
        thickness_px=float(np.median(lip[:, central].sum(0))),
        area_px=float(np.sqrt(lip.sum())),
    )


def _extents(mask: NDArray[np.bool_]) -> F64:
    """Rows from the first to the last true one of each column."""
    some = mask.any(0)
    first, last = mask.argmax(0), len(mask) - mask[::-1].argmax(0)
    return np.where(some, last - first, 0).astype(np.float64)


def rounding_mix(readings: Sequence[Reading], rounding: F64) -> F64:
    """The mix of shapes that comes closest to known roundings: float64 (6,)."""
    shapes = np.array([reading.shape() for reading in readings])
    mix: F64 = np.linalg.lstsq(shapes, rounding, rcond=None)[0]
    return mix


def psnr_db(a: U8, b: U8) -> float:
    square = np.square(a.astype(np.float64) - b).mean()
    return float(10 * np.log10(255**2 / max(square, 0.1)))


def ssim(a: U8, b: U8) -> float:
    """Structural similarity of the luma (Wang et al. 2004: Gaussian of 1.5, K 0.01 and 0.03)."""
    x, y = (image.astype(np.float64) @ (0.299, 0.587, 0.114) for image in (a, b))

    def mean(z: F64) -> F64:
        return ndimage.gaussian_filter(z, 1.5, truncate=3.5)

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    both = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float((similar / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def correlation(a: F64, b: F64) -> float:
    """Pearson's r; 0 where one of them never moves."""
    if min(np.std(a), np.std(b)) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def best_lag(truth: F64, seen: F64, reach: int = 4) -> int:
    """Frames that ``seen`` comes late by, as far as correlation tells."""
    core = truth[reach:-reach]

    def at(lag: int) -> float:
        return correlation(core, seen[reach + lag : len(seen) - reach + lag])

    return max(range(-reach, reach + 1), key=at)
