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
    image = Image.frombytes("RGBa", (width, height), dithered(layer.rgba).tobytes())
    return Sheet(image, layer.left, layer.top)


def lay(frame_rgb: U8Image, sheet: Sheet, placement: Placement) -> None:
    """Composite a moved sheet onto ``frame_rgb``, uint8 of shape (H, W, 3), in place."""
    area = _touched(sheet, placement).clipped_to(frame_rgb.shape[1], frame_rgb.shape[0])
    moved = sheet.image.transform(
        (area.width, area.height),
        Image.Transform.AFFINE,
        _look_up(sheet, placement, area),
        Image.Resampling.BILINEAR,
    )
    rgba = np.asarray(moved).astype(np.uint16)
    under = frame_rgb[area.y0 : area.y1, area.x0 : area.x1]
    clear = 255 - rgba[..., 3:]
    # A rounded colour may exceed its rounded alpha by one level.
    under[...] = np.minimum(rgba[..., :3] + (under * clear + 127) // 255, 255)


def _touched(sheet: Sheet, placement: Placement) -> Rect:
    """The frame pixels that the moved sheet can reach."""
    x0, y0 = sheet.left / SCALE, sheet.top / SCALE
    x1, y1 = x0 + sheet.image.width / SCALE, y0 + sheet.image.height / SCALE
    corners = [placement.placed(x, y) for x in (x0, x1) for y in (y0, y1)]
    columns, rows = zip(*corners, strict=True)
    x0, y0, x1, y1 = min(columns), min(rows), max(columns), max(rows)
    return Rect(math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))


def _look_up(sheet: Sheet, placement: Placement, area: Rect) -> tuple[float, ...]:
    """PIL's affine map, from a pixel of ``area`` to the pixel of the sheet that it shows."""
    a, b = (v * SCALE / placement.scale**2 for v in (placement.a, placement.b))
    x, y = area.x0 - placement.dx, area.y0 - placement.dy
    return a, b, a * x + b * y - sheet.left, -b, a, a * y - b * x - sheet.top
