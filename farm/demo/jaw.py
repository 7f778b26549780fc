"""The jaw: an open mouth draws the lower face down."""

import numpy as np

from farm.demo.layers import SCALE, Layer
from farm.demo.lips import AXIS_X, MouthShape

_DROP_PX = 12.0
"""How far the chin comes down at ``open`` 1."""

_TOP_Y, _FULL_Y = 392.0, 470.0
"""Frame pixels: rows that begin to move, and that move all the way."""

_HALF_WIDTH_PX = 80.0
"""The drop has faded at this distance from the middle."""


def jaw_drop_px(mouth: MouthShape) -> float:
    """How far the chin of a clipped ``mouth`` is below its place at rest."""
    return _DROP_PX * mouth.open + 1.5 * mouth.teeth * (1 - mouth.open) * (1 - mouth.press)


def dropped(face: Layer, drop_px: float) -> Layer:
    """The layer with the rows below the mouth moved down by up to ``drop_px``."""
    if drop_px == 0:
        return face.copy()
    height, width, _ = face.rgba.shape
    x = (np.arange(width) + face.left + 0.5) / SCALE
    y = (np.arange(height) + face.top + 0.5) / SCALE
    sideways = np.clip(1 - ((x - AXIS_X) / _HALF_WIDTH_PX) ** 4, 0, 1) ** 2
    t = np.clip((y - _TOP_Y) / (_FULL_Y - _TOP_Y), 0, 1)
    downwards = t * t * (3 - 2 * t)
    first = int(np.argmax(t > 0))
    came_from = np.arange(first, height)[:, None] - SCALE * drop_px * (
        downwards[first:, None] * sideways
    )
    moved = face.copy()
    above = np.clip(np.floor(came_from), 0, height - 2).astype(np.intp)
    share = (came_from - above).astype(np.float32)
    pixel = above * width + np.arange(width)
    for k in range(4):
        plane = np.ascontiguousarray(face.rgba[..., k])
        upper, lower = plane.take(pixel), plane.take(pixel + width)
        moved.rgba[first:, :, k] = upper + (lower - upper) * share
    return moved
