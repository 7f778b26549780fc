"""Locks of hair: what lies between two edges, shaded with many soft strands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from farm.demo.layers import Colour, Layer, Points, curve, stroke

_N_POINTS = 160
"""Points along each edge of a lock."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Hair between two edges, both of shape (_N_POINTS, 2) and from the root to the tip."""

    outer: Points
    inner: Points

    @property
    def polygon(self) -> Points:
        return np.concatenate([self.outer, self.inner[::-1]])

    def strand(self, at: float) -> Points:
        """The line along the lock from 0, the inner edge, to 1, the outer one."""
        return self.inner + (self.outer - self.inner) * at

    def spot(self, along: float, at: float) -> tuple[float, float]:
        """The point at a share of the length, on the strand ``at``."""
        x, y = self.strand(at)[int(along * (_N_POINTS - 1))]
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Strands:
    """Many soft strokes of one colour along a lock."""

    n: int
    colour: Colour
    opacity: float
    width_px: tuple[float, float]
    start: tuple[float, float]  #: as a share of the lock's length, from its root
    length: tuple[float, float]  #: likewise; of a range, each stroke draws its own value


def lock(outer: Sequence[tuple[float, float]], inner: Sequence[tuple[float, float]]) -> Lock:
    """The lock between two curves through control points in frame pixels."""
    return Lock(_evenly(outer), _evenly(inner))


def tint_strands(layer: Layer, lock: Lock, strands: Strands, rng: np.random.Generator) -> None:
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
