"""Hair: a mass behind the head, the locks that frame the face, and their shadow on it."""

import numpy as np

from farm.demo.hair_styles import STYLES, HairStyle
from farm.demo.layers import Layer, disc, glow, mix, shape, shifted, stroke
from farm.demo.locks import Lock, Strands, tint_strands
from farm.demo.look import Look

_N_CURLS = 560
_CURL_RADII_PX = (8.0, 13.5)


def draw_back_hair(layer: Layer, look: Look) -> None:
    """Paint the hair behind neck and shoulders: it lies in the shade."""
    style = STYLES[look.hair_style]
    if style.back is None:
        return
    layer.paint(shape(style.back), mix(look.hair, look.hair_shade, 0.55))
    layer.tint(glow(640, 500, 105, 130), look.hair_shade, 0.7)
    rng = np.random.default_rng(6)
    for lock in style.back_locks:
        tint_strands(layer, lock, _back_strands(look), rng)


def draw_hair_shadow(layer: Layer, look: Look) -> None:
    """Darken the face beside the locks."""
    for lock in STYLES[look.hair_style].locks:
        shadow = shape(shifted(lock.polygon, 3, 9), 6)
        layer.tint(shadow, mix(look.skin_shade, look.hair, 0.15), 0.75)


def draw_front_hair(layer: Layer, look: Look) -> None:
    """Paint the hair that frames the face."""
    style = STYLES[look.hair_style]
    rng = np.random.default_rng(4)
    for lock in style.locks:
        # Its own layer: tints then stop at the edge of this lock without thinning out on it.
        upper = layer.cleared()
        if style.is_curly:
            _draw_curls(upper, look, lock, rng)
        else:
            _draw_lock(upper, look, style, lock, rng)
        layer.lay_over(upper)


def _draw_lock(
    layer: Layer, look: Look, style: HairStyle, lock: Lock, rng: np.random.Generator
) -> None:
    layer.paint(shape(lock.polygon, 0.3), look.hair)
    _tint_edges(layer, look, style, lock)
    for strands in _strands(look):
        tint_strands(layer, lock, strands, rng)


def _tint_edges(layer: Layer, look: Look, style: HairStyle, lock: Lock) -> None:
    layer.tint(stroke(lock.outer, (6, 26, 30, 30), 11), look.hair_shade, 0.6)
    layer.tint(stroke(lock.inner, (20, 20, 26, 34), 9), look.hair_shade, 0.6)
    layer.tint(glow(*style.parting, 22, 34), look.hair_shade, 0.5)
    if style.tips_y is not None:
        layer.tint(glow(640, style.tips_y, 400, 50), look.hair_shade, 0.45)


def _draw_curls(layer: Layer, look: Look, lock: Lock, rng: np.random.Generator) -> None:
    """Many small round locks, the brighter the nearer to the light."""
    layer.paint(shape(lock.polygon, 0.4), mix(look.hair_shade, look.hair, 0.5))
    for _ in range(_N_CURLS):
        at = rng.choice((0.0, 1.0), p=(0.5, 0.5)) if rng.random() < 0.3 else rng.uniform(0, 1)
        x, y = lock.spot(rng.uniform(0.02, 0.98), at)
        radius = rng.uniform(*_CURL_RADII_PX) * (0.62 + 0.38 * at)
        lit = float(np.clip(0.9 - (x - 500) / 460 - (y - 40) / 420, 0.1, 1))
        layer.paint(disc(x, y, radius, 1.4), mix(look.hair_shade, look.hair, 0.35 + 0.5 * lit))
        _draw_curl(layer, look, (x, y), 0.6 * radius, rng.uniform(0, 2 * np.pi), lit)


def _draw_curl(
    layer: Layer, look: Look, at: tuple[float, float], radius: float, turn: float, lit: float
) -> None:
    """An open ring of hair that catches the light."""
    angle = turn + np.linspace(0, 4.2, 12)
    ring = np.stack([at[0] + radius * np.cos(angle), at[1] + radius * np.sin(angle)], 1)
    bright = mix(look.hair, look.hair_light, lit)
    layer.tint(stroke(ring, (0.6, 0.5 * radius, 0.6), 0.8), bright, 0.3 + 0.4 * lit)


def _strands(look: Look) -> tuple[Strands, ...]:
    shine = mix(look.hair_light, (255, 235, 210), 0.15)
    return (
        Strands(34, look.hair_shade, 0.16, (6, 16), (0.0, 0.5), (0.35, 0.6)),
        Strands(34, look.hair_light, 0.14, (6, 16), (0.05, 0.6), (0.25, 0.5)),
        Strands(40, shine, 0.13, (4, 11), (0.1, 0.22), (0.14, 0.3)),
        Strands(26, look.hair_light, 0.2, (4, 12), (0.55, 0.7), (0.14, 0.26)),
    )


def _back_strands(look: Look) -> Strands:
    return Strands(30, look.hair, 0.3, (4, 12), (0.2, 0.6), (0.2, 0.5))
