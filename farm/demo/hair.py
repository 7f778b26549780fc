"""Long wavy hair with a side parting: a mass behind the head, and a lock on either side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from farm.demo.layers import (
    Colour,
    Layer,
    Points,
    curve,
    glow,
    mix,
    outline,
    shape,
    shifted,
    stroke,
)
from farm.demo.look import Look

_BACK = [
    (640, 42), (720, 50), (790, 92), (828, 170), (834, 260), (830, 340), (846, 430), (858, 510),
    (840, 580), (790, 612), (720, 612), (640, 604), (560, 612), (490, 612), (440, 580),
    (422, 510), (434, 430), (450, 340), (446, 260), (452, 170), (490, 92), (560, 50),
]  # fmt: skip

_LEFT_OUTER = [
    (698, 42), (640, 34), (556, 44), (488, 90), (448, 165), (438, 245), (444, 320), (434, 390),
    (408, 455), (397, 520), (412, 578), (448, 618), (494, 636), (524, 629),
]  # fmt: skip
_LEFT_INNER = [
    (698, 43), (697, 80), (692, 106), (668, 124), (620, 144), (557, 174), (511, 222), (493, 280),
    (500, 335), (512, 388), (510, 440), (494, 490), (490, 540), (498, 584), (518, 608), (529, 625),
]  # fmt: skip
_RIGHT_OUTER = [
    (674, 38), (742, 46), (800, 86), (836, 162), (842, 245), (834, 320), (844, 390), (870, 455),
    (881, 520), (866, 578), (830, 618), (784, 636), (754, 629),
]  # fmt: skip
_RIGHT_INNER = [
    (674, 39), (684, 80), (692, 106), (714, 127), (748, 166), (774, 216), (786, 270), (780, 330),
    (766, 385), (768, 440), (784, 490), (788, 540), (780, 584), (760, 608), (749, 625),
]  # fmt: skip
"""Frame pixels, from the parting to the tips."""

_N_POINTS = 160
"""Points along each edge of a lock."""


@dataclass(frozen=True, slots=True)
class _Lock:
    """Hair between two edges, both of shape (_N_POINTS, 2) and from the root to the tip."""

    outer: Points
    inner: Points

    @property
    def polygon(self) -> Points:
        return np.concatenate([self.outer, self.inner[::-1]])

    def strand(self, at: float) -> Points:
        """The line along the lock from 0, the inner edge, to 1, the outer one."""
        return self.inner + (self.outer - self.inner) * at


@dataclass(frozen=True, slots=True)
class _Strands:
    """Many soft strokes of one colour along a lock."""

    n: int
    colour: Colour
    opacity: float
    width_px: tuple[float, float]
    start: tuple[float, float]  #: as a share of the lock's length, from its root
    length: tuple[float, float]  #: likewise; of a range, each stroke draws its own value


def draw_back_hair(layer: Layer, look: Look) -> None:
    """Paint the hair behind neck and shoulders: it lies in the shade."""
    layer.paint(shape(outline(_BACK)), mix(look.hair, look.hair_shade, 0.55))
    layer.tint(glow(640, 520, 105, 120), look.hair_shade, 0.6)
    rng = np.random.default_rng(6)
    for lock in _BACK_LOCKS:
        _tint_strands(layer, lock, _back_strands(look), rng)


def draw_hair_shadow(layer: Layer, look: Look) -> None:
    """Darken the face beside the locks."""
    for lock in _LOCKS:
        shadow = shape(shifted(lock.polygon, 3, 9), 6)
        layer.tint(shadow, mix(look.skin_shade, look.hair, 0.15), 0.75)


def draw_front_hair(layer: Layer, look: Look) -> None:
    """Paint the hair that frames the face."""
    rng = np.random.default_rng(4)
    for lock in _LOCKS:
        # Its own layer: tints then stop at the edge of this lock without thinning out on it.
        upper = layer.cleared()
        upper.paint(shape(lock.polygon, 0.3), look.hair)
        _tint_edges(upper, look, lock)
        for strands in _strands(look):
            _tint_strands(upper, lock, strands, rng)
        layer.lay_over(upper)


def _tint_edges(layer: Layer, look: Look, lock: _Lock) -> None:
    layer.tint(stroke(lock.outer, (6, 26, 30, 30), 11), look.hair_shade, 0.6)
    layer.tint(stroke(lock.inner, (20, 20, 26, 34), 9), look.hair_shade, 0.6)
    layer.tint(glow(690, 76, 22, 34), look.hair_shade, 0.5)
    layer.tint(glow(640, 640, 400, 50), look.hair_shade, 0.45)


def _strands(look: Look) -> tuple[_Strands, ...]:
    shine = mix(look.hair_light, (255, 235, 210), 0.15)
    return (
        _Strands(34, look.hair_shade, 0.16, (6, 16), (0.0, 0.5), (0.35, 0.6)),
        _Strands(34, look.hair_light, 0.14, (6, 16), (0.05, 0.6), (0.25, 0.5)),
        _Strands(40, shine, 0.13, (4, 11), (0.1, 0.22), (0.14, 0.3)),
        _Strands(26, look.hair_light, 0.2, (4, 12), (0.55, 0.7), (0.14, 0.26)),
    )


def _back_strands(look: Look) -> _Strands:
    return _Strands(30, look.hair, 0.3, (4, 12), (0.2, 0.6), (0.2, 0.5))


def _tint_strands(layer: Layer, lock: _Lock, strands: _Strands, rng: np.random.Generator) -> None:
    for _ in range(strands.n):
        first = int(rng.uniform(*strands.start) * _N_POINTS)
        last = min(first + int(rng.uniform(*strands.length) * _N_POINTS), _N_POINTS)
        line = lock.strand(rng.uniform(0.06, 0.94))[first:last]
        width = rng.uniform(*strands.width_px)
        soft = stroke(line, (0.2, 0.7 * width, width, 0.7 * width, 0.2), rng.uniform(0.8, 2.2))
        layer.tint(soft, strands.colour, strands.opacity)


def _evenly(controls: Sequence[tuple[float, float]]) -> Points:
    """The curve with its points at even distances, so that both edges of a lock match."""
    line = curve(controls)
    walked = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.linspace(0, walked[-1], _N_POINTS)
    return np.stack([np.interp(at, walked, line[:, k]) for k in range(2)], 1)


_LOCKS = (
    _Lock(_evenly(_RIGHT_OUTER), _evenly(_RIGHT_INNER)),
    _Lock(_evenly(_LEFT_OUTER), _evenly(_LEFT_INNER)),
)
_BACK_LOCKS = tuple(
    _Lock(
        _evenly([(640 + side * x, y) for x, y in [(150, 300), (130, 420), (150, 620)]]),
        _evenly([(640 + side * x, y) for x, y in [(60, 300), (50, 420), (30, 620)]]),
    )
    for side in (-1, 1)
)
