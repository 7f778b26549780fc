"""Eyes and brows, the only parts of the drawing that change their shape."""

from collections.abc import Sequence

import numpy as np

from farm.demo.layers import (
    Coverage,
    Layer,
    Points,
    curve,
    disc,
    glow,
    mix,
    shape,
    shifted,
    stroke,
)
from farm.demo.lips import AXIS_X
from farm.demo.look import Look

_EYE_X, _EYE_Y = 63.0, 259.5
"""Frame pixels: middle of an eye from the axis of the face, and from the top."""

_UPPER_LID = [(-33, 7), (-24, -8), (-8, -18.5), (9, -19), (24, -12), (36, -2)]
_LOWER_LID = [(-33, 7), (-24, 10.5), (-8, 14), (9, 13.5), (24, 7.5), (36, -2)]
"""From the inner corner outwards, at the same x, so that a lid shuts straight down."""

_CREASE = [(-29, -9), (-15, -22.5), (2, -27.5), (21, -22.5), (38, -9)]
_BROW = [(-33, -39), (-13, -47), (13, -52), (29, -48.5), (44, -37)]
_BROW_WIDTHS_PX = (5, 11, 9.5, 6.5, 1.5)

_IRIS_RADIUS_PX = 17.2
_IRIS_Y = -3.0
"""All in frame pixels from the middle of an eye, outwards and down."""

_WHITE = (250.0, 247.0, 245.0)
_WHITE_SHADE = (186.0, 172.0, 178.0)


def draw_eyes(layer: Layer, look: Look, *, lid: float, brow_px: float) -> None:
    """Paint both eyes, ``lid`` from 0 (open) to 1 (shut), and the brows, lifted by ``brow_px``."""
    for side in (-1, 1):
        _draw_eye(layer, look, side, lid)
        _draw_brow(layer, look, side, brow_px)


def _draw_eye(layer: Layer, look: Look, side: int, lid: float) -> None:
    raised = [(x, 7 + (y - 7) * look.eyes.height) if y < 7 else (x, y) for x, y in _UPPER_LID]
    lowered = [
        (x, y + (shut_y + 1 - y) * lid)
        for (x, y), (_, shut_y) in zip(raised, _LOWER_LID, strict=True)
    ]
    upper, lower = _line(side, lowered), _line(side, _LOWER_LID)
    _draw_lids(layer, look, side, lid, lower)
    if lid < 1:
        opening = shape(np.concatenate([upper, lower[::-1]]))
        _draw_eyeball(layer, look, side, opening, upper)
    _draw_lashes(layer, look, side, lid, lowered)


def _draw_lids(layer: Layer, look: Look, side: int, lid: float, lower: Points) -> None:
    drop = 5 * lid + 26 * (1 - look.eyes.height)
    crease = _line(side, [(x, y + drop) for x, y in _CREASE])
    layer.tint(shape(_line(side, [*_CREASE, *_LOWER_LID[::-1]]), 3), look.blush, 0.2)
    layer.tint(glow(*_spot(side, 3, -14 + drop), 20, 5), look.skin_light, 0.35)
    layer.tint(stroke(crease, (0.6, 2.0, 2.6, 2.4, 0.8), 0.8), look.skin_shade, 0.85)
    layer.tint(stroke(shifted(lower, 0, 7), (1, 5, 1), 2.5), look.skin_shade, 0.3)
    rim = stroke(shifted(lower, 0, 0.8), (0.8, 1.8, 2.6), 0.7)
    layer.tint(rim, mix(look.skin_shade, look.lash, 0.3))


def _draw_eyeball(layer: Layer, look: Look, side: int, opening: Coverage, upper: Points) -> None:
    layer.tint(opening, _WHITE)
    for corner_x in (-30, 34):
        layer.tint(glow(*_spot(side, corner_x, 2), 7.5, 9).within(opening), _WHITE_SHADE, 0.5)
    layer.tint(glow(*_spot(side, -31, 7), 3.2, 3).within(opening), look.blush, 0.8)
    _draw_iris(layer, look, side, opening)
    shadow = stroke(shifted(upper, 0, 3), (7, 9, 9, 7), 2).within(opening)
    layer.tint(shadow, mix(look.lash, look.skin_shade, 0.35), 0.5)
    # Both highlights sit on the side of the light, not mirrored.
    x, y = _spot(side, 0, _IRIS_Y)
    layer.tint(disc(x - 5.5, y - 6, 4.6, 0.3).within(opening), (255, 255, 255), 0.97)
    layer.tint(disc(x + 5.5, y + 6, 2.0, 0.5).within(opening), (255, 255, 255), 0.55)


def _draw_iris(layer: Layer, look: Look, side: int, opening: Coverage) -> None:
    x, y = _spot(side, -0.5, _IRIS_Y)
    rim = mix(look.iris, look.lash, 0.6)
    layer.tint(disc(x, y, _IRIS_RADIUS_PX, 0.5).within(opening), rim)
    inner = disc(x, y, _IRIS_RADIUS_PX - 3, 1.2).within(opening)
    layer.tint(inner, look.iris)
    layer.tint(glow(x, y + 7, 9, 6).within(inner), look.iris_light, 0.95)
    layer.tint(disc(x, y, 7.6, 0.6).within(opening), mix(look.lash, look.iris, 0.05))


def _draw_lashes(
    layer: Layer, look: Look, side: int, lid: float, lowered: Sequence[tuple[float, float]]
) -> None:
    long = look.eyes.lashes
    corner = (35.5, -2.5 - 0.5 * long + 6 * lid)
    tip = (36 + 8 * long, -2.5 - 6.5 * long + 8.5 * lid)
    edge = _line(side, [*lowered[:-1], corner, tip])
    thick = 0.5 + 0.5 * long
    widths = [w * thick for w in (1.4, 3.0, 4.6, 5.2, 5.6, 4.2, 0.6)]
    layer.tint(stroke(edge, widths, 0.3), look.lash, 0.95)


def _draw_brow(layer: Layer, look: Look, side: int, brow_px: float) -> None:
    # The inner end rises less: lifting both alike looks astonished.
    rise = np.linspace(0.6, 1.1, len(_BROW)) * brow_px
    arched = [(x, -43 + (y + 43) * look.eyes.brow_arch) for x, y in _BROW]
    line = _line(side, [(x, y - up) for (x, y), up in zip(arched, rise, strict=True)])
    widths = [w * look.eyes.brow_width for w in _BROW_WIDTHS_PX]
    brow = stroke(line, widths, 1.0).fading(_spot(side, -37, -40), _spot(side, -22, -44))
    layer.tint(brow, look.brow, 0.9)
    layer.tint(stroke(shifted(line, 0, 1), (3, 5, 4, 2, 1), 1.6).within(brow), look.lash, 0.3)


def _spot(side: int, x: float, y: float) -> tuple[float, float]:
    """Frame position of a point given from the middle of the eye, outwards and down."""
    return AXIS_X + side * (_EYE_X + x), _EYE_Y + y


def _line(side: int, controls: Sequence[tuple[float, float]]) -> Points:
    return curve([_spot(side, x, y) for x, y in controls])
