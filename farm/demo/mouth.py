"""Paint a mouth: lips, and what shows between them.  The light comes from the upper left."""

import numpy as np

from farm.demo.layers import F32, Colour, Coverage, Layer, between, glow, mix
from farm.demo.lips import AT_REST, AXIS_X, MOUTH_Y, Lips, MouthShape, lips, smooth
from farm.demo.look import Look

__all__ = ["AT_REST", "AXIS_X", "MOUTH_AREA", "MOUTH_Y", "MouthShape", "draw_mouth"]

MOUTH_AREA = (560, 376, 720, 516)
"""Half-open rectangle x0, y0, x1, y1 in frame pixels: mouths differ nowhere outside of it.
However a head is turned and grown, it stays off the edge of the box."""

_CAVITY: Colour = (86, 34, 32)
_THROAT: Colour = (46, 17, 19)
_TOOTH: Colour = (247, 241, 232)
_TOOTH_SHADE: Colour = (176, 142, 132)
_TONGUE: Colour = (222, 118, 120)
_TONGUE_LIGHT: Colour = (246, 172, 166)
_TONGUE_SHADE: Colour = (136, 54, 58)

_TOOTH_GAPS_PX = (0.0, 9.2, 16.6, 23.2, 29.0)
"""Where one tooth ends and the next begins, from the middle; the row turns away sideways."""


def draw_mouth(layer: Layer, look: Look, mouth: MouthShape) -> None:
    """Paint the mouth over a face that has none."""
    mouth = mouth.clipped()
    curves = lips(look.mouth, mouth)
    _draw_around(layer, look, mouth, curves)
    if curves.gap_px > 0:
        _draw_inside(layer, mouth, curves)
    _draw_lips(layer, look, mouth, curves)


def _draw_around(layer: Layer, look: Look, mouth: MouthShape, curves: Lips) -> None:
    """The shade of the lips and of the corners on the skin."""
    half = curves.half_width_px
    below, above = float(curves.lower_bottom.max()), float(curves.upper_top.min())
    layer.tint(glow(AXIS_X, below + 6.5, 0.48 * half, 4.6), look.skin_shade, 0.6)
    # The groove under the nose is full of light until the lip moves up into it.
    lit = 0.5 * (1 - 0.8 * look.stubble) * smooth((above - 382) / 7)
    layer.tint(glow(AXIS_X, above - 4, 0.3 * half, 2.6), look.skin_light, lit)
    if mouth.rounding > 0:
        for x in (-1, 1):
            spot = glow(AXIS_X + x * (half + 5), curves.corner_y + 3, 6, 13)
            layer.tint(spot, look.skin_shade, 0.35 * mouth.rounding)
    deeper = 0.3 + 0.25 * max(mouth.width, 0) + 0.25 * max(mouth.press - 0.25, 0)
    for side in (-1, 1):
        spot = glow(AXIS_X + side * (half + 1), curves.corner_y + 2, 6, 6)
        layer.tint(spot, look.skin_shade, deeper)


def _draw_inside(layer: Layer, mouth: MouthShape, curves: Lips) -> None:
    cavity = between(curves.left, curves.upper_edge, curves.lower_edge, 0.1)
    gap = curves.gap_px
    middle_y = float(curves.upper_edge.min()) + 0.42 * gap
    layer.tint(cavity, _CAVITY)
    throat = glow(AXIS_X, middle_y, 0.6 * curves.inner_half_width_px, 0.3 * gap + 2)
    layer.tint(throat.within(cavity), _THROAT, 0.85)
    _draw_lower_teeth(layer, mouth, curves, cavity)
    _draw_tongue(layer, mouth, curves, cavity)
    _draw_upper_teeth(layer, mouth, curves, cavity)
    # The upper lip throws its shadow on whatever is behind it.
    depth = np.float32(min(0.16 * gap, 3.0))
    shadow = between(curves.left, curves.upper_edge - 3, curves.upper_edge + depth, 1.2)
    layer.tint(shadow.within(cavity), _THROAT, 0.5)


def _draw_upper_teeth(layer: Layer, mouth: MouthShape, curves: Lips, cavity: Coverage) -> None:
    shown = max(mouth.teeth, 0.75 * mouth.tuck)
    share = 0.7 + 0.3 * mouth.tuck - 0.28 * mouth.tongue * (1 - mouth.tuck)
    height = min(shown * (11 + 8 * mouth.open), share * curves.gap_px)
    middle = float(curves.upper_edge[len(curves.u) // 2])
    arch = 0.3 * height * np.clip(curves.inner, -1, 1) ** 2
    edge = middle + height - arch - _notches(curves) * min(1.0, 0.1 * height)
    _draw_row(layer, curves, between(curves.left, curves.upper_edge - 4, edge, 0.05), cavity, shown)


def _draw_lower_teeth(layer: Layer, mouth: MouthShape, curves: Lips, cavity: Coverage) -> None:
    shown = mouth.teeth * (1 - mouth.tuck) * (1 - smooth((mouth.open - 0.15) / 0.5))
    height = min(5 * shown, 0.26 * curves.gap_px)
    middle = float(curves.lower_edge[len(curves.u) // 2])
    edge = middle - height - 0.2 * height * (1 - curves.inner**2)
    row = between(curves.left, edge, np.maximum(curves.lower_edge, edge) + 4, 0.05)
    _draw_row(layer, curves, row, cavity, 0.85 * shown)


def _draw_row(layer: Layer, curves: Lips, row: Coverage, cavity: Coverage, strength: float) -> None:
    """One row of teeth; the first trace of ``strength`` brings them in softly."""
    row = row.within(cavity)
    sideways = 1 - _ramp(np.abs(curves.inner), 0.72, 0.98)
    layer.tint(_by_column(row, sideways), _TOOTH, smooth(6 * strength))
    seen = smooth(6 * strength)
    layer.tint(_by_column(row, _ramp(np.abs(curves.inner), 0.35, 0.95)), _TOOTH_SHADE, 0.5 * seen)
    layer.tint(_by_column(row, _notches(curves) ** 2 * sideways), _TOOTH_SHADE, 0.3 * seen)


def _draw_tongue(layer: Layer, mouth: MouthShape, curves: Lips, cavity: Coverage) -> None:
    gap, raised = curves.gap_px, mouth.tongue
    height = gap * (0.16 + 0.16 * mouth.open + 0.72 * raised * (1 - 0.3 * mouth.open))
    half = curves.inner_half_width_px * (0.74 - 0.2 * raised)
    bottom = float(curves.lower_edge.max())
    away = np.clip(1 - ((curves.x - AXIS_X) / half) ** 2, 0, 1) ** np.float32(0.6)
    edge = bottom + 2 - (height + 2) * away
    dark = between(curves.left, edge - 1.6, np.full_like(edge, bottom + 4), 1.2).within(cavity)
    body = between(curves.left, edge, np.full_like(edge, bottom + 4), 0.7).within(cavity)
    seen = smooth(4 * raised + 2.5 * max(mouth.open - 0.25, 0))
    layer.tint(dark, _THROAT, 0.6 * seen)
    layer.tint(body, _TONGUE, seen)
    root = glow(AXIS_X, bottom + 1, half, 0.32 * height + 1)
    layer.tint(root.within(body), _TONGUE_SHADE, 0.6 * seen)
    light = glow(AXIS_X - 0.16 * half, bottom - 0.72 * height, 0.42 * half, 0.16 * height + 0.8)
    layer.tint(light.within(body), _TONGUE_LIGHT, 0.75 * seen)
    groove = glow(AXIS_X, bottom - 0.35 * height, 1.6, 0.3 * height + 0.5)
    layer.tint(groove.within(body), _TONGUE_SHADE, 0.4 * seen)


def _draw_lips(layer: Layer, look: Look, mouth: MouthShape, curves: Lips) -> None:
    left, gap = curves.left, curves.gap_px
    cavity = between(left, curves.upper_edge, curves.lower_edge, 0.1)
    # Lips are soft against the skin and sharp against what is behind them.
    upper = between(left, curves.upper_top, curves.upper_edge, 0.55).without(cavity)
    lower = between(left, curves.lower_edge, curves.lower_bottom, 0.75).without(cavity)
    layer.tint(lower, look.lip)
    layer.tint(upper, mix(look.lip, look.lip_line, 0.18))
    _shade_lips(layer, look, curves, upper, lower)
    _light_lips(layer, look, mouth, curves, upper, lower)
    thick = np.clip(1.5 * (1 - np.abs(curves.u) ** 3), 0.35, None).astype(np.float32)
    # One line parts shut lips; once they open, the wet rim of the upper one is left of it.
    rim = between(left, curves.upper_edge - thick, curves.upper_edge + thick, 0.5)
    inside = np.abs(curves.u) < 1.02
    rim = _by_column(rim, inside.astype(np.float32))
    layer.tint(rim, look.lip_line, 0.9 - 0.4 * smooth(gap / 8))
    low_rim = between(left, curves.lower_edge - 0.4 * thick, curves.lower_edge + thick, 0.6)
    layer.tint(
        _by_column(low_rim, inside.astype(np.float32)), look.lip_line, 0.55 * smooth(gap / 6)
    )


def _shade_lips(layer: Layer, look: Look, curves: Lips, upper: Coverage, lower: Coverage) -> None:
    left, size = curves.left, curves.lower_bottom - curves.lower_edge
    inner_shade = between(left, curves.lower_edge - 4, curves.lower_edge + 0.28 * size, 2.2)
    layer.tint(inner_shade.within(lower), look.lip_line, 0.36)
    foot = between(left, curves.lower_bottom - 0.16 * size, curves.lower_bottom + 4, 1.8)
    layer.tint(foot.within(lower), look.lip_line, 0.22)
    half_way = curves.upper_edge - 0.35 * (curves.upper_edge - curves.upper_top)
    layer.tint(
        between(left, half_way, curves.upper_edge + 3, 1.8).within(upper), look.lip_line, 0.3
    )
    for side in (-1, 1):
        corner = glow(AXIS_X + side * 0.97 * curves.half_width_px, curves.corner_y, 6, 6)
        for lip in (upper, lower):
            layer.tint(corner.within(lip), look.lip_line, 0.35)


def _light_lips(
    layer: Layer, look: Look, mouth: MouthShape, curves: Lips, upper: Coverage, lower: Coverage
) -> None:
    middle = len(curves.u) // 2
    low, high = float(curves.lower_edge[middle]), float(curves.lower_bottom[middle])
    half, pushed = curves.half_width_px, mouth.rounding
    shine = glow(AXIS_X - 5, low + 0.54 * (high - low), 0.31 * half, 0.19 * (high - low) + 0.2)
    layer.tint(shine.within(lower), look.lip_light, 0.9)
    top = float(curves.upper_top.min())
    gleam = glow(AXIS_X - 0.19 * half, top + 4.5, 0.22 * half, 2 + 0.8 * pushed)
    layer.tint(gleam.within(upper), look.lip_light, 0.45 + 0.25 * pushed)


def _notches(curves: Lips) -> F32:
    """1 between two teeth, 0 elsewhere, at each column."""
    away = np.abs(curves.x - AXIS_X)
    nearest = np.min([np.abs(away - gap) for gap in _TOOTH_GAPS_PX], axis=0)
    notch: F32 = np.clip(1 - nearest / 1.5, 0, 1).astype(np.float32)
    return notch


def _ramp(value: F32, start: float, end: float) -> F32:
    t = np.clip((value - start) / (end - start), 0, 1)
    ramp: F32 = t * t * (3 - 2 * t)
    return ramp


def _by_column(coverage: Coverage, share: F32) -> Coverage:
    """The coverage times a value for each of its columns."""
    return Coverage(coverage.alpha * share, coverage.left, coverage.top)
