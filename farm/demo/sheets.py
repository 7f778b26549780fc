"""Finished layers in 8 bits, and how they are moved and laid over a frame."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farm.demo.layers import SCALE, Layer, dithered
from workers.geometry import Rect

U8Image: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Placement:
    """A turn, a growth and a shift: (x, y) goes to (a x - b y + dx, b x + a y + dy).

    Both in frame pixels: where a point is drawn, and where it is in the frame.
    """

    a: float
    b: float
    dx: float
    dy: float

    @property
    def scale(self) -> float:
        return math.hypot(self.a, self.b)

    def placed(self, x: float, y: float) -> tuple[float, float]:
        return self.a * x - self.b * y + self.dx, self.b * x + self.a * y + self.dy


@dataclass(frozen=True, slots=True)
class Sheet:
    """A layer that is drawn to the end: ``image`` is of mode ``RGBa`` (premultiplied)."""

    image: Image.Image
    left: int  #: in layer pixels, as in Layer
    top: int


def finished(layer: Layer) -> Sheet:
    """The layer in 8 bits, dithered against banding."""
    height, width, _ = layer.rgba.shape
    # frombytes: fromarray knows no premultiplied mode.
    pixels = dithered(layer.rgba, layer.left, layer.top)
    image = Image.frombytes("RGBa", (width, height), pixels.tobytes())
    return Sheet(image, layer.left, layer.top)


def pasted(sheet: Sheet, upper: Sheet) -> Sheet:
    """``sheet`` with the pixels of a smaller one in their place, not blended."""
    image = sheet.image.copy()
    image.paste(upper.image, (upper.left - sheet.left, upper.top - sheet.top))
    return Sheet(image, sheet.left, sheet.top)


def lay(frame_rgb: U8Image, sheet: Sheet, placement: Placement) -> None:
    """Composite a moved sheet onto ``frame_rgb``, uint8 of shape (H, W, 3), in place."""
    corners = placed_rect(sheet_rect(sheet), placement)
    area = corners.clipped_to(frame_rgb.shape[1], frame_rgb.shape[0])
    under = frame_rgb[area.y0 : area.y1, area.x0 : area.x1]
    under[...] = laid(under, sheet, placement, area)


def laid(under_rgb: U8Image, sheet: Sheet, placement: Placement, area: Rect) -> U8Image:
    """What shows in ``area`` of the frame, whose pixels are ``under_rgb``, under a moved sheet."""
    moved = sheet.image.transform(
        (area.width, area.height),
        Image.Transform.AFFINE,
        _look_up(sheet, placement, area),
        Image.Resampling.BILINEAR,
    )
    rgba = np.asarray(moved).astype(np.uint16)
    clear = 255 - rgba[..., 3:]
    # A rounded colour may exceed its rounded alpha by one level.
    both = np.minimum(rgba[..., :3] + (under_rgb * clear + 127) // 255, 255)
    return both.astype(np.uint8)


def sheet_rect(sheet: Sheet) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a sheet in frame pixels, before it is moved."""
    x0, y0 = sheet.left / SCALE, sheet.top / SCALE
    return x0, y0, x0 + sheet.image.width / SCALE, y0 + sheet.image.height / SCALE


def placed_rect(drawn: tuple[float, float, float, float], placement: Placement) -> Rect:
    """The frame pixels that a moved rectangle x0, y0, x1, y1 can reach."""
    x0, y0, x1, y1 = drawn
    corners = [placement.placed(x, y) for x in (x0, x1) for y in (y0, y1)]
    columns, rows = zip(*corners, strict=True)
    x0, y0, x1, y1 = min(columns), min(rows), max(columns), max(rows)
    return Rect(math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))


def _look_up(sheet: Sheet, placement: Placement, area: Rect) -> tuple[float, ...]:
    """PIL's affine map, from a pixel of ``area`` to the pixel of the sheet that it shows."""
    a, b = (v * SCALE / placement.scale**2 for v in (placement.a, placement.b))
    x, y = area.x0 - placement.dx, area.y0 - placement.dy
    return a, b, a * x + b * y - sheet.left, -b, a, a * y - b * x - sheet.top
