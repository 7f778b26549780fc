"""Soft-edged antialiased shapes, and the premultiplied layers that they are painted on.

Points are given in frame pixels, x to the right and y down; coverages and layers are sampled
``SCALE`` times finer.  This file knows nothing of persons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

F32: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]  #: shape (n, 2): x, y in frame pixels
Colour: TypeAlias = tuple[float, float, float]  #: R, G, B in 0..255

SCALE = 2
"""Layer pixels per frame pixel: one bilinear look-up per frame pixel then stays sharp."""

_SUPERSAMPLING = 3
"""Polygon pixels per layer pixel, as PIL draws polygons without antialiasing."""

_EDGE_PX = 0.42
"""Gaussian sigma in frame pixels of every edge: enough that a sway does not make it shimmer."""

_EDGE_REACH = 2.2
"""Sigmas on either side of an edge over which a smooth ramp looks like a Gaussian blur."""

_GLOW_REACH = 3.6
"""Sigmas at which a glow is cut off: exp(-3.6 ** 2 / 2) is less than half a level of 255."""

_CURVE_STEPS = 14
"""Straight pieces between two control points: none is longer than a few pixels."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of each layer pixel a shape covers, within the rectangle where it covers any.

    ``alpha`` is float32 of shape (h, w) in 0..1; ``left`` and ``top`` are in layer pixels and
    count from the top left of the frame.
    """

    alpha: F32
    left: int
    top: int

    def within(self, other: "Coverage") -> "Coverage":
        """The shape where ``other`` covers too."""
        alpha = np.zeros_like(self.alpha)
        here, there = _overlap(self, other)
        alpha[here] = self.alpha[here] * other.alpha[there]
        return replace(self, alpha=alpha)

    def without(self, other: "Coverage") -> "Coverage":
        """The shape where ``other`` does not cover."""
        alpha = self.alpha.copy()
        here, there = _overlap(self, other)
        alpha[here] *= 1 - other.alpha[there]
        return replace(self, alpha=alpha)

    def fading(self, start: tuple[float, float], end: tuple[float, float]) -> "Coverage":
        """The shape times a smooth ramp: 0 at ``start`` and before it, 1 from ``end`` on."""
        x, y = _grid(self)
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy)
        t = np.clip(along, 0, 1).astype(np.float32)
        return replace(self, alpha=self.alpha * (t * t * (3 - 2 * t)))


@dataclass(frozen=True, slots=True)
class Layer:
    """A picture to be laid over others.

    ``rgba`` is float32 of shape (h, w, 4), 0..255, colours premultiplied by alpha; ``left`` and
    ``top`` as in :class:`Coverage`.  In memory its channels are planes, one after the other:
    that is twice as quick.  The painting methods change ``rgba`` in place.
    """

    rgba: F32
    left: int
    top: int

    @classmethod
    def empty(cls, x0: int, y0: int, x1: int, y1: int) -> Self:
        """A clear layer over the half-open rectangle of frame pixels."""
        planes = np.zeros((4, (y1 - y0) * SCALE, (x1 - x0) * SCALE), np.float32)
        return cls(planes.transpose(1, 2, 0), x0 * SCALE, y0 * SCALE)

    def copy(self) -> "Layer":
        return replace(self, rgba=self.rgba.copy(order="K"))

    def cut(self, x0: int, y0: int, x1: int, y1: int) -> "Layer":
        """A copy of what lies in the half-open rectangle of frame pixels."""
        rows = slice(y0 * SCALE - self.top, y1 * SCALE - self.top)
        columns = slice(x0 * SCALE - self.left, x1 * SCALE - self.left)
        return Layer(self.rgba[rows, columns].copy(order="K"), x0 * SCALE, y0 * SCALE)

    def cleared(self) -> "Layer":
        """A clear layer over the same rectangle."""
        return replace(self, rgba=np.zeros_like(self.rgba))

    def paint(self, coverage: Coverage, colour: Colour, opacity: float = 1.0) -> None:
        """Lay a colour over the layer, making it opaque where it was clear."""
        here, there = _overlap(self, coverage)
        weight = coverage.alpha[there] * np.float32(opacity)
        for k, value in enumerate((*colour, 255.0)):
            plane = self.rgba[(*here, k)]
            plane += (np.float32(value) - plane) * weight

    def tint(self, coverage: Coverage, colour: Colour, opacity: float = 1.0) -> None:
        """Lay a colour over what is painted already; clear parts stay clear."""
        here, there = _overlap(self, coverage)
        weight = coverage.alpha[there] * np.float32(opacity)
        painted = self.rgba[(*here, 3)] / np.float32(255)
        for k, value in enumerate(colour):
            plane = self.rgba[(*here, k)]
            plane += (np.float32(value) * painted - plane) * weight

    def lay_over(self, upper: "Layer") -> None:
        """Composite a layer of the same rectangle on top of this one."""
        self.rgba[...] = upper.rgba + self.rgba * (1 - upper.rgba[..., 3:] / 255)


def dithered(picture: F32, left: int = 0, top: int = 0) -> NDArray[np.uint8]:
    """Round a (h, w, channels) picture of 0..255 to uint8 with fixed noise.

    All channels of a pixel share their noise, so that no premultiplied colour exceeds its alpha.
    The noise depends on the place alone: a part that begins at ``left``, ``top`` is rounded as it
    is within the whole.
    """
    height, width, _ = picture.shape
    rounded: NDArray[np.uint8] = (picture + _noise(height, width, left, top)).astype(np.uint8)
    return rounded


_NOISE_SIDE = 509
"""Layer pixels after which the noise repeats."""


@lru_cache(maxsize=8)
def _noise(height: int, width: int, left: int, top: int) -> F32:
    # Below 1 by more than a float32 step at 255: full alpha must not wrap around to 0.
    tile = np.random.default_rng(1).uniform(0, 0.999, (_NOISE_SIDE, _NOISE_SIDE, 1))
    rows = np.arange(top, top + height) % _NOISE_SIDE
    columns = np.arange(left, left + width) % _NOISE_SIDE
    return tile[rows[:, None], columns].astype(np.float32)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour ``share`` of the way from ``a`` to ``b``."""
    red, green, blue = (p + (q - p) * share for p, q in zip(a, b, strict=True))
    return red, green, blue


def curve(controls: Sequence[tuple[float, float]], closed: bool = False) -> Points:
    """A smooth (Catmull-Rom) curve through the control points."""
    p = np.asarray(controls, np.float64)
    ends = (p[-1:], p[:2]) if closed else (p[:1], p[-1:])
    p = np.concatenate([ends[0], p, ends[1]])
    a, b, c, d = (p[k : len(p) - 3 + k, None] for k in range(4))
    t = np.linspace(0, 1, _CURVE_STEPS, endpoint=False)[None, :, None]
    pieces = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    points: Points = pieces.reshape(-1, 2)
    return points if closed else np.concatenate([points, p[-2:-1]])


def outline(controls: Sequence[tuple[float, float]]) -> Points:
    """The closed smooth curve through the control points."""
    return curve(controls, closed=True)


def mirrored(half: Sequence[tuple[float, float]], axis_x: float) -> list[tuple[float, float]]:
    """A closed run of points from its right half, which starts and ends on the axis."""
    return [*half, *((2 * axis_x - x, y) for x, y in half[-2:0:-1])]


def shifted(points: Points, dx: float, dy: float) -> Points:
    moved: Points = points + np.array([dx, dy])
    return moved


def ribbon(centre_line: Points, widths_px: Sequence[float]) -> Points:
    """The polygon along a line whose widths are spread evenly from its start to its end."""
    along = np.gradient(centre_line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    at = np.linspace(0, len(widths_px) - 1, len(centre_line))
    half = np.interp(at, np.arange(len(widths_px)), widths_px)[:, None] / 2
    return np.concatenate([centre_line + normal * half, (centre_line - normal * half)[::-1]])


def shape(polygon: Points, softness_px: float = 0.0) -> Coverage:
    """The inside of a polygon; ``softness_px`` is the Gaussian sigma of its edge."""
    sigma = (softness_px + _EDGE_PX) * SCALE
    margin = int(3 * sigma) + 2
    left, top = np.floor(polygon.min(0) * SCALE).astype(int) - margin
    right, bottom = np.ceil(polygon.max(0) * SCALE).astype(int) + margin
    size = ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING)
    canvas = Image.new("L", (int(size[0]), int(size[1])))
    corners = (polygon * SCALE - (left, top)) * _SUPERSAMPLING - 0.5
    ImageDraw.Draw(canvas).polygon(corners.ravel().tolist(), fill=255)
    soft = canvas.reduce(_SUPERSAMPLING).filter(ImageFilter.GaussianBlur(sigma))
    alpha = np.asarray(soft, np.float32) / np.float32(255)
    return Coverage(alpha, int(left), int(top))


def stroke(centre_line: Points, widths_px: Sequence[float], softness_px: float = 0.0) -> Coverage:
    """A line of changing width."""
    return shape(ribbon(centre_line, widths_px), softness_px)


def between(left: int, upper: F32, lower: F32, softness_px: float = 0.0) -> Coverage:
    """What lies between two edges; nothing where they meet or cross.

    ``upper`` and ``lower`` hold the y of the edges, in frame pixels, at each layer column from
    ``left`` on.  Much quicker than ``shape``, and it changes smoothly however thin it gets.
    """
    reach = (softness_px + _EDGE_PX) * _EDGE_REACH
    top = math.floor((float(upper.min()) - 2 * reach) * SCALE)
    bottom = math.ceil((float(lower.max()) + 2 * reach) * SCALE)
    y = ((np.arange(top, max(bottom, top + 1)) + 0.5) / SCALE).astype(np.float32)[:, None]
    alpha = _below(y, upper, reach) - _below(y, np.maximum(upper, lower), reach)
    return Coverage(alpha, left, top)


def _below(y: F32, edge: F32, reach_px: float) -> F32:
    """0 above the edge and 1 below it, smooth over ``reach_px`` on either side."""
    # A steep edge is nearer than it is high.
    slope = np.gradient(edge) * SCALE
    widths = (2 * reach_px * np.sqrt(1 + np.minimum(slope**2, 9))).astype(np.float32)
    t = np.clip((y - edge) / widths + np.float32(0.5), 0, 1)
    ramp: F32 = t * t * (3 - 2 * t)
    return ramp


def glow(x: float, y: float, sigma_x: float, sigma_y: float) -> Coverage:
    """A Gaussian spot: 1 in the middle."""
    reach_x, reach_y = sigma_x * _GLOW_REACH, sigma_y * _GLOW_REACH
    left, top = int((x - reach_x) * SCALE), int((y - reach_y) * SCALE)
    width, height = int(2 * reach_x * SCALE) + 2, int(2 * reach_y * SCALE) + 2
    spot = Coverage(np.empty((height, width), np.float32), left, top)
    column, row = _grid(spot)
    across, down = (column - x) / np.float32(sigma_x), (row - y) / np.float32(sigma_y)
    # A product of two lines: far fewer exponentials than pixels.
    return replace(spot, alpha=np.exp(-(across**2) / 2) * np.exp(-(down**2) / 2))


def disc(x: float, y: float, radius_px: float, softness_px: float = 0.0) -> Coverage:
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    polygon = np.stack([x + radius_px * np.cos(angle), y + radius_px * np.sin(angle)], 1)
    return shape(polygon, softness_px)


def _grid(coverage: Coverage) -> tuple[F32, F32]:
    """Centres of the layer pixels in frame pixels: x of shape (1, w), y of shape (h, 1)."""
    height, width = coverage.alpha.shape
    x = (np.arange(width) + (coverage.left + 0.5)) / SCALE
    y = (np.arange(height) + (coverage.top + 0.5)) / SCALE
    return x[None].astype(np.float32), y[:, None].astype(np.float32)


_Window: TypeAlias = tuple[slice, slice]


def _overlap(a: Coverage | Layer, b: Coverage | Layer) -> tuple[_Window, _Window]:
    """The rectangle that both have, as rows and columns of ``a`` and of ``b``."""
    (a_h, a_w), (b_h, b_w) = _size(a), _size(b)
    x0, x1 = max(a.left, b.left), min(a.left + a_w, b.left + b_w)
    y0, y1 = max(a.top, b.top), min(a.top + a_h, b.top + b_h)
    x1, y1 = max(x0, x1), max(y0, y1)

    def window(p: Coverage | Layer) -> _Window:
        return slice(y0 - p.top, y1 - p.top), slice(x0 - p.left, x1 - p.left)

    return window(a), window(b)


def _size(p: Coverage | Layer) -> tuple[int, int]:
    pixels = p.alpha if isinstance(p, Coverage) else p.rgba
    return pixels.shape[0], pixels.shape[1]
