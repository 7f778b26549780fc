"""The face without eyes and mouth: ears, skin, nose.  The light comes from the upper left."""

from dataclasses import replace

import numpy as np

from farm.demo.hair_styles import STYLES
from farm.demo.layers import (
    Colour,
    Coverage,
    Layer,
    Points,
    curve,
    disc,
    glow,
    mirrored,
    mix,
    outline,
    shape,
    stroke,
)
from farm.demo.lips import AXIS_X
from farm.demo.look import Look

_NOSE_Y = 350.0
_WING = [(23, -16), (28.5, -7), (28, 2), (20, 7)]
_NOSTRIL = [(6.5, 6), (10, 2.5), (16.5, 2.5), (18.5, 5.5), (12, 7.5)]
"""From the middle of the nose's lower edge, outwards and down."""

_EAR = [
    (128, 262), (144, 247), (158, 249), (166, 268), (164, 296), (157, 322), (152, 344),
    (142, 351), (128, 340),
]  # fmt: skip
_EAR_HOLLOW = [(146, 264), (156, 268), (156, 290), (147, 312)]
_BEARD_SHADE = (92.0, 72.0, 74.0)
_ABOVE_BEARD = [
    (0, 100), (160, 120), (170, 300), (124, 330), (96, 372), (62, 392), (30, 372), (0, 366),
    (-30, 372), (-62, 392), (-96, 372), (-124, 330), (-170, 300), (-160, 120),
]  # fmt: skip
"""From the axis of the face outwards, and from the top of the frame."""


def face_outline(look: Look) -> Points:
    """Shape (n, 2): the whole face in frame pixels; hair covers its top, and often its sides."""
    return outline(mirrored(look.face, AXIS_X))


def draw_face(layer: Layer, look: Look) -> None:
    """Paint the face at rest, as yet without a mouth."""
    if not STYLES[look.hair_style].covers_ears:
        _draw_ears(layer, look)
    _draw_skin(layer, look)
    _draw_stubble(layer, look)
    _draw_nose(layer, look)
    _draw_lines(layer, look)


def _draw_ears(layer: Layer, look: Look) -> None:
    for side in (-1, 1):
        ear = shape(outline([(AXIS_X + side * x, y) for x, y in _EAR]))
        upper = layer.cleared()
        upper.paint(ear, mix(look.skin, look.skin_shade, 0.25))
        hollow = curve([(AXIS_X + side * x, y) for x, y in _EAR_HOLLOW])
        upper.tint(stroke(hollow, (2, 6, 7, 3), 2.2), look.skin_shade, 0.75)
        upper.tint(glow(AXIS_X + side * 140, 300, 8, 40), look.skin_shade, 0.6)
        upper.tint(glow(AXIS_X + side * 150, 336, 5, 8), look.blush, 0.3)
        layer.lay_over(upper)
        if look.earrings is not None:
            _draw_earring(layer, look.earrings, side)


def _draw_earring(layer: Layer, metal: Colour, side: int) -> None:
    x, y = AXIS_X + side * 147, 357.0
    layer.paint(disc(x, y, 6.2, 0.3), mix(metal, (60, 30, 10), 0.35))
    layer.paint(disc(x - 0.6, y - 0.6, 5.0, 0.6), metal)
    layer.paint(glow(x - 2, y - 2.2, 1.4, 1.4), (255, 248, 225), 0.9)


def _draw_skin(layer: Layer, look: Look) -> None:
    face = face_outline(look)
    skin = shape(face)
    layer.paint(skin, look.skin)
    # Shade creeps in from the edge: what a blurred, smaller face does not cover.
    core = shape((face - (AXIS_X - 4, 290)) * (0.97, 0.96) + (AXIS_X - 6, 284), 20)
    layer.tint(skin.without(core), look.skin_shade, 0.75)
    layer.tint(glow(AXIS_X + 135, 350, 46, 120).within(skin), look.skin_shade, 0.32)
    layer.tint(glow(AXIS_X - 34, 196, 84, 50), look.skin_light, 0.75)
    layer.tint(glow(AXIS_X - 78, 318, 36, 26), look.skin_light, 0.5)
    layer.tint(glow(AXIS_X + 66, 318, 32, 24), look.skin_light, 0.35)
    layer.tint(glow(AXIS_X - 4, 462, 26, 13), look.skin_light, 0.55)
    for side in (-1, 1):
        layer.tint(glow(AXIS_X + side * 88, 346, 32, 21), look.blush, 0.31 * look.blushes)
        layer.tint(glow(AXIS_X + side * 60, 252, 42, 22), look.skin_shade, 0.22)
        layer.tint(glow(AXIS_X + side * 26, 258, 13, 22), look.skin_shade, 0.18)


def _draw_stubble(layer: Layer, look: Look) -> None:
    """The shade of a beard on jaw, chin and upper lip."""
    if look.stubble == 0:
        return
    beard = mix(look.skin_shade, _BEARD_SHADE, 0.45)
    # Larger than the face, so that it does not thin out along the jaw.
    around = (face_outline(look) - (AXIS_X, 290)) * 1.03 + (AXIS_X, 290)
    cheeks = shape(outline([(AXIS_X + x, y) for x, y in _ABOVE_BEARD]), 13)
    area = shape(around).without(cheeks)
    layer.tint(area, beard, 0.42 * look.stubble)
    layer.tint(glow(AXIS_X, 385, 34, 6), beard, 0.3 * look.stubble)
    layer.tint(glow(AXIS_X, 448, 22, 13), beard, 0.2 * look.stubble)
    _draw_bristles(layer, area, beard, look.stubble)


def _draw_bristles(layer: Layer, where: Coverage, colour: Colour, strength: float) -> None:
    grain = np.random.default_rng(8).random(where.alpha.shape, np.float32)
    bristles = replace(where, alpha=where.alpha * (grain > 0.72).astype(np.float32))
    layer.tint(bristles, colour, 0.3 * strength)


def _draw_nose(layer: Layer, look: Look) -> None:
    deep = mix(look.skin_shade, look.lip_line, 0.35)
    layer.tint(glow(AXIS_X + 19, 308, 12, 36), look.skin_shade, 0.3)
    layer.tint(glow(AXIS_X, _NOSE_Y + 14, 26, 6), look.skin_shade, 0.55)
    layer.tint(glow(AXIS_X - 4, 300, 8, 38), look.skin_light, 0.6)
    layer.tint(glow(AXIS_X - 1, _NOSE_Y - 12, 17, 11), look.blush, 0.16)
    layer.tint(glow(AXIS_X - 4, _NOSE_Y - 14, 8, 6.5), look.skin_light, 0.9)
    for side in (-1, 1):
        wing = curve([(AXIS_X + side * x * look.nose_width, _NOSE_Y + y) for x, y in _WING])
        layer.tint(stroke(wing, (0.5, 3.2, 3.6, 1.0), 0.9), deep, 0.5)
        nostril = outline([(AXIS_X + side * x * look.nose_width, _NOSE_Y + y) for x, y in _NOSTRIL])
        layer.tint(shape(nostril, 1.0), mix(deep, look.lip_line, 0.65), 0.8)
    layer.tint(glow(AXIS_X, 380, 5, 9), look.skin_shade, 0.3)


def _draw_lines(layer: Layer, look: Look) -> None:
    """What years of smiling leave: soft folds beside nose and mouth, and under the eyes."""
    for side in (-1, 1):
        fold = curve([(AXIS_X + side * x, y) for x, y in [(34, 346), (52, 364), (66, 388)]])
        layer.tint(stroke(fold, (0.5, 3, 3, 0.5), 1.6), look.skin_shade, 0.6 * look.age)
        bag = curve([(AXIS_X + side * x, y) for x, y in [(38, 286), (58, 296), (82, 291)]])
        layer.tint(stroke(bag, (0.5, 3, 0.5), 1.6), look.skin_shade, 0.5 * look.age)
        for y in (-4, 3):
            crow = curve([(AXIS_X + side * 108, 262 + y), (AXIS_X + side * 122, 261 + 2.6 * y)])
            layer.tint(stroke(crow, (1.6, 0.4), 0.9), look.skin_shade, 0.5 * look.age)
