"""Glasses: two round lenses in a thin frame."""

import numpy as np

from farm.demo.layers import Colour, Layer, Points, curve, mix, shape, shifted, stroke
from farm.demo.lips import AXIS_X

_LENS_X, _LENS_Y = 64.0, 263.0
_LENS_RADII_PX = (46.0, 35.0)
_LENS_SQUARENESS = 2.6
"""2 would be an ellipse."""

_FRAME_PX = 4.2


def draw_glasses(layer: Layer, frame: Colour, shade: Colour) -> None:
    """Paint glasses over the eyes; ``shade`` is the colour of their shadow on the skin."""
    light = mix(frame, (255, 255, 255), 0.45)
    for side in (-1, 1):
        rim = _rim(side)
        layer.tint(stroke(shifted(rim, 2, 5), (_FRAME_PX, _FRAME_PX), 2.5), shade, 0.35)
        layer.tint(shape(rim, 0.3), (255, 255, 255), 0.05)
        temple = curve([(AXIS_X + side * x, y) for x, y in [(108, 250), (128, 251), (150, 258)]])
        layer.tint(stroke(temple, (5, 4, 3), 0.3), frame)
        layer.tint(stroke(rim, (_FRAME_PX, _FRAME_PX), 0.2), frame)
        gleam = shifted(rim[len(rim) // 2 : len(rim) * 3 // 4], -0.4, -0.6)
        layer.tint(stroke(gleam, (0.2, 1.8, 0.2), 0.5), light, 0.7)
    bridge = curve([(AXIS_X + x, y) for x, y in [(-20, 256), (-10, 249), (10, 249), (20, 256)]])
    layer.tint(stroke(shifted(bridge, 1, 5), (4, 4), 2), shade, 0.3)
    layer.tint(stroke(bridge, (4.2, 4.6, 4.2), 0.2), frame)


def _rim(side: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, 97)
    across, down = np.cos(angle), np.sin(angle)
    power = 2 / _LENS_SQUARENESS
    x = AXIS_X + side * _LENS_X + _LENS_RADII_PX[0] * np.sign(across) * np.abs(across) ** power
    y = _LENS_Y + _LENS_RADII_PX[1] * np.sign(down) * np.abs(down) ** power
    return np.stack([x, y], 1)
