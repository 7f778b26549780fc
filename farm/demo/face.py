"""The face without eyes: skin, nose, mouth.  The light comes from the upper left."""

from collections.abc import Sequence

from farm.demo.layers import (
    Layer,
    Points,
    curve,
    glow,
    mirrored,
    mix,
    outline,
    shape,
    shifted,
    stroke,
)
from farm.demo.look import Look

AXIS_X = 640.0
"""Frame pixels: the middle of the face before it moves."""

FACE = outline(
    mirrored(
        [
            (640, 118),
            (704, 128),
            (755, 166),
            (780, 224),
            (786, 282),
            (777, 340),
            (755, 396),
            (724, 443),
            (690, 471),
            (664, 486),
            (640, 491),
        ],
        AXIS_X,
    )
)
"""Shape (n, 2): the outline of the face in frame pixels; the hair covers its top and sides."""

_MOUTH_Y = 406.0
_UPPER_LIP = [(0, -10.5), (11, -15), (30, -11), (53, -9), (30, 0.5), (11, 3), (0, 2)]
_LOWER_LIP = [(0, 0), (12, 1), (30, -1.5), (50, -8), (38, 8), (19, 17.5), (0, 19.5)]
"""Right halves, from the middle of the mouth to its corner and back."""
_MOUTH_LINE = curve(
    [(-55, -11), (-45, -5.5), (-26, 0), (-10, 2), (0, 1.2), (10, 2), (26, 0), (45, -5.5), (55, -11)]
)

_NOSE_Y = 350.0
_WING = [(23, -16), (28.5, -7), (28, 2), (20, 7)]
_NOSTRIL = [(6.5, 6), (10, 2.5), (16.5, 2.5), (18.5, 5.5), (12, 7.5)]
"""From the middle of the nose's lower edge, outwards and down."""


def draw_face(layer: Layer, look: Look) -> None:
    """Paint the face at rest with shut, friendly lips."""
    _draw_skin(layer, look)
    _draw_nose(layer, look)
    draw_mouth(layer, look)


def _draw_skin(layer: Layer, look: Look) -> None:
    skin = shape(FACE)
    layer.paint(skin, look.skin)
    # Shade creeps in from the edge: what a blurred, smaller face does not cover.
    core = shape((FACE - (AXIS_X - 4, 290)) * (0.97, 0.96) + (AXIS_X - 6, 284), 20)
    layer.tint(skin.without(core), look.skin_shade, 0.75)
    layer.tint(glow(AXIS_X + 135, 350, 46, 120), look.skin_shade, 0.32)
    layer.tint(glow(AXIS_X - 34, 196, 84, 50), look.skin_light, 0.75)
    layer.tint(glow(AXIS_X - 78, 318, 36, 26), look.skin_light, 0.5)
    layer.tint(glow(AXIS_X + 66, 318, 32, 24), look.skin_light, 0.35)
    layer.tint(glow(AXIS_X - 4, 462, 26, 13), look.skin_light, 0.55)
    for side in (-1, 1):
        layer.tint(glow(AXIS_X + side * 88, 346, 32, 21), look.blush, 0.31)
        layer.tint(glow(AXIS_X + side * 60, 252, 42, 22), look.skin_shade, 0.22)
        layer.tint(glow(AXIS_X + side * 26, 258, 13, 22), look.skin_shade, 0.18)


def _draw_nose(layer: Layer, look: Look) -> None:
    deep = mix(look.skin_shade, look.lip_line, 0.35)
    layer.tint(glow(AXIS_X + 19, 308, 12, 36), look.skin_shade, 0.3)
    layer.tint(glow(AXIS_X, _NOSE_Y + 14, 26, 6), look.skin_shade, 0.55)
    layer.tint(glow(AXIS_X - 4, 300, 8, 38), look.skin_light, 0.6)
    layer.tint(glow(AXIS_X - 1, _NOSE_Y - 12, 17, 11), look.blush, 0.16)
    layer.tint(glow(AXIS_X - 4, _NOSE_Y - 14, 8, 6.5), look.skin_light, 0.9)
    for side in (-1, 1):
        wing = curve([(AXIS_X + side * x, _NOSE_Y + y) for x, y in _WING])
        layer.tint(stroke(wing, (0.5, 3.2, 3.6, 1.0), 0.9), deep, 0.5)
        nostril = outline([(AXIS_X + side * x, _NOSE_Y + y) for x, y in _NOSTRIL])
        layer.tint(shape(nostril, 1.0), mix(deep, look.lip_line, 0.65), 0.8)
    layer.tint(glow(AXIS_X, 380, 5, 9), look.skin_shade, 0.3)


def draw_mouth(layer: Layer, look: Look) -> None:
    """Paint shut lips with the corners slightly up."""
    upper = shape(_placed(_UPPER_LIP), 0.7)
    lower = shape(_placed(_LOWER_LIP), 0.9)
    layer.tint(glow(AXIS_X, _MOUTH_Y + 26, 25, 5), look.skin_shade, 0.6)
    layer.tint(glow(AXIS_X, _MOUTH_Y - 19, 16, 3), look.skin_light, 0.5)
    for side in (-1, 1):
        layer.tint(glow(AXIS_X + side * 55, _MOUTH_Y - 6, 8, 9), look.skin_shade, 0.3)
    layer.tint(lower, look.lip)
    layer.tint(upper, mix(look.lip, look.lip_line, 0.16))
    line = shifted(_MOUTH_LINE, AXIS_X, _MOUTH_Y)
    layer.tint(stroke(line, (3, 10, 11, 10, 3), 3).within(lower), look.lip_line, 0.35)
    shine = glow(AXIS_X - 5, _MOUTH_Y + 11, 17, 3.6).within(lower)
    layer.tint(shine, look.lip_light, 0.95)
    layer.tint(glow(AXIS_X - 10, _MOUTH_Y - 10, 12, 2).within(upper), look.lip_light, 0.45)
    layer.tint(stroke(line, (1.0, 2.6, 3.0, 2.6, 1.0), 0.5), look.lip_line, 0.9)


def _placed(half: Sequence[tuple[float, float]]) -> Points:
    return outline(mirrored([(AXIS_X + x, _MOUTH_Y + y) for x, y in half], AXIS_X))
