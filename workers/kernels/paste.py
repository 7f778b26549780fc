"""A mouth back into its template frame.  Images are RGB.

Two ways, one of them for all frames of an avatar:

    hard      the whole box is written over, as SyncTalk_2D does
    feather   only the rectangle that the model was not shown is, with a soft edge inside it

A frame is only ever changed within ``changed_rect``; pixels around it are the template's own.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image

from workers.arrays import F64, I64, U8
from workers.families import Family
from workers.geometry import Box, Rect
from workers.kernels.patch_memory import NOTHING, PatchMemory
from workers.kernels.tensors import as_image

PASTES = ("feather", "hard")
FEATHER_CANVAS_PX = 12.0  #: width of the soft edge, on the canvas
BICUBIC = Image.Resampling.BICUBIC

Edges: TypeAlias = tuple[tuple[Rect, Image.Image], ...]
"""Rectangles of a mouth's pixels, and how much of the frame is seen there: mode L, 255 all."""


def changed_rect(box: Box, paste: str, family: Family) -> Rect:
    """The frame's pixels that a mouth may change; may leave the frame."""
    if paste == "hard":
        return box.rect
    return hole_rect(box.side, family).moved(box.x, box.y)


@lru_cache(maxsize=256)
def hole_rect(side_px: int, family: Family) -> Rect:
    """What the model was not shown, in a box of this side: pixels whose centres lie in it."""
    scale = side_px / family.canvas_px
    hole = _canvas_hole(family)
    x0, y0 = (math.ceil(scale * edge - 0.5) for edge in (hole.x0, hole.y0))
    x1, y1 = (math.ceil(scale * edge - 0.5) for edge in (hole.x1, hole.y1))
    return Rect(x0, y0, x1, y1)


def _canvas_hole(family: Family) -> Rect:
    return family.blackout.moved(family.inner.x0, family.inner.y0)


def face(painted: U8, side_px: int, paste: str, family: Family) -> Image.Image:
    """What a mouth makes of ``changed_rect``, mode RGBX; nothing is cut off that leaves the frame.

    ``painted`` : uint8, shape (C, C, 4), RGBX: a crop with the model's mouth in its inner square.

    Resized by Pillow's BICUBIC: a = -0.5, antialiased when it shrinks.  Of a feather's box the hole
    alone is computed, within 2 levels of what resizing all of it gives: Pillow keeps the place as
    float32.
    """
    image = as_image(painted)
    if paste == "hard":
        return image.resize((side_px, side_px), BICUBIC)
    hole, scale = hole_rect(side_px, family), family.canvas_px / side_px
    x0, y0, x1, y1 = (scale * edge for edge in _corners(hole))
    return image.resize((hole.width, hole.height), BICUBIC, (x0, y0, x1, y1))


def blend(
    patch: U8,
    at: Rect,
    mouth: Image.Image,
    box: Box,
    paste: str,
    family: Family,
    paste_mixed: Callable[..., None] = Image.Image.paste,
    memory: PatchMemory | None = None,
) -> Image.Image:
    """The pixels ``at`` of the frame, mode RGBX, with a mouth in them.

    Parameters
    ----------
    patch : uint8, shape (at.height, at.width, 3): the template's own.  Not modified.
    at : where they are; inside the frame, and holds all of ``changed_rect`` that is.
    mouth : the new pixels of ``changed_rect``, from ``face``.
    paste_mixed : see `workers.kernels.backends`.
    memory : where the image is made; it is then valid until the next one is.
    """
    memory = memory or PatchMemory()
    changed = changed_rect(box, paste, family)
    # Clamped before Pillow sees it: 12.1.1 writes out of bounds for huge boxes (CVE-2026-59199).
    visible = changed.clipped_within(at)
    if visible.is_empty():
        return memory.image(patch)
    edges = feather_edges(box.side, family) if paste == "feather" else ()
    if visible != changed:
        seen = visible.moved(-changed.x0, -changed.y0)
        mouth, edges = mouth.crop(_corners(seen)), _clipped(edges, seen)
    x, y = visible.x0 - at.x0, visible.y0 - at.y0
    image = memory.image(patch, NOTHING if edges else visible.moved(-at.x0, -at.y0))
    # The whole mouth, and the frame's own pixels back over its edges: fewer are copied than when
    # the mouth is pasted piece by piece.
    own = [image.crop(_corners(edge, x, y)) for edge, _ in edges]
    image.paste(mouth, (x, y))
    for (edge, share), pixels in zip(edges, own, strict=True):
        paste_mixed(image, pixels, (x + edge.x0, y + edge.y0), share)
    return image


def _corners(rect: Rect, dx: int = 0, dy: int = 0) -> tuple[int, int, int, int]:
    """As Pillow takes a rectangle, moved."""
    return rect.x0 + dx, rect.y0 + dy, rect.x1 + dx, rect.y1 + dy


def _clipped(edges: Edges, seen: Rect) -> Edges:
    """What of them is ``seen``, and from its corner."""
    parts = ((edge, share, edge.clipped_within(seen)) for edge, share in edges)
    return tuple(
        (part.moved(-seen.x0, -seen.y0), share.crop(_corners(part, -edge.x0, -edge.y0)))
        for edge, share, part in parts
        if not part.is_empty()
    )


@lru_cache(maxsize=64)
def feather_edges(side_px: int, family: Family) -> Edges:
    """Where in ``hole_rect``, from its own corner, the frame is seen through a mouth.

    The shares are 255 less ``feather_mask``.  Where they are 0, in the middle, is no edge: a mask
    costs ten times as much as a copy.
    """
    shares = 255 - np.asarray(feather_mask(side_px, family))
    height, width = shares.shape
    hidden = shares == 0
    if not hidden.any():
        return ((Rect(0, 0, width, height), Image.fromarray(shares)),)
    # Towards an edge rows lose their first hidden pixels; where those that lost none of the rows
    # and none of the columns cross, all are hidden.
    x0, x1 = _span(hidden.sum(axis=0))
    y0, y1 = _span(hidden.sum(axis=1))
    edges = (
        Rect(0, 0, width, y0),
        Rect(0, y0, x0, y1),
        Rect(x1, y0, width, y1),
        Rect(0, y1, width, height),
    )
    parts = (shares[edge.y0 : edge.y1, edge.x0 : edge.x1].copy() for edge in edges)
    return tuple(zip(edges, map(Image.fromarray, parts), strict=True))


def _span(counts: I64) -> tuple[int, int]:
    """Half-open, from the first to the last of the largest."""
    largest = np.flatnonzero(counts == counts.max())
    return int(largest[0]), int(largest[-1]) + 1


def feather_mask(side_px: int, family: Family) -> Image.Image:
    """How much of the mouth is seen in each pixel of ``hole_rect``: mode L, 0 none .. 255 all."""
    hole, rect = _canvas_hole(family), hole_rect(side_px, family)
    scale = side_px / family.canvas_px
    across = _ramp(rect.x0, rect.x1, scale * hole.x0, scale * hole.x1, scale * FEATHER_CANVAS_PX)
    down = _ramp(rect.y0, rect.y1, scale * hole.y0, scale * hole.y1, scale * FEATHER_CANVAS_PX)
    levels = np.rint(255 * np.outer(down, across)).astype(np.uint8)
    return Image.fromarray(levels)


def _ramp(begin: int, end: int, edge0: float, edge1: float, width: float) -> F64:
    """From 0 at both edges to 1 ``width`` inside them, for pixels ``begin`` .. ``end - 1``."""
    centres = np.arange(begin, end) + 0.5
    inside = np.clip(np.minimum(centres - edge0, edge1 - centres) / width, 0, 1)
    smooth: F64 = inside * inside * (3 - 2 * inside)
    return smooth
