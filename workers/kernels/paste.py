"""A mouth back into its template frame.  Images are RGB.

Two ways, one of them for all frames of an avatar:

    hard      the whole box is written over, as SyncTalk_2D does
    feather   only the rectangle that the model was not shown is, with a soft edge inside it

A frame is only ever changed within ``changed_rect``; pixels around it are the template's own.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image

from workers.arrays import F64, U8
from workers.families import Family
from workers.geometry import Box, Rect

PASTES = ("feather", "hard")
FEATHER_CANVAS_PX = 12.0  #: width of the soft edge, on the canvas


def changed_rect(box: Box, paste: str, family: Family) -> Rect:
    """The frame's pixels that a mouth may change; may leave the frame."""
    if paste == "hard":
        return box.rect
    return hole_rect(box.side, family).moved(box.x, box.y)


def hole_rect(side_px: int, family: Family) -> Rect:
    """What the model was not shown, in a box of this side: pixels whose centres lie in it."""
    scale = side_px / family.canvas_px
    hole = _canvas_hole(family)
    x0, y0 = (math.ceil(scale * edge - 0.5) for edge in (hole.x0, hole.y0))
    x1, y1 = (math.ceil(scale * edge - 0.5) for edge in (hole.x1, hole.y1))
    return Rect(x0, y0, x1, y1)


def _canvas_hole(family: Family) -> Rect:
    return family.blackout.moved(family.inner.x0, family.inner.y0)


def face(canvas: U8, prediction: U8, side_px: int, family: Family) -> Image.Image:
    """The whole box with a mouth in it.

    Parameters
    ----------
    canvas : uint8, shape (C, C, 3): the crop the prediction was made from.
    prediction : uint8, shape (S, S, 3); it replaces the canvas's inner square.

    Returns
    -------
    A square of ``side_px``, resized by Pillow's BICUBIC: a = -0.5, antialiased when it shrinks.
    """
    image = Image.fromarray(canvas)
    image.paste(Image.fromarray(prediction), (family.inner.x0, family.inner.y0))
    return image.resize((side_px, side_px), Image.Resampling.BICUBIC)


def blend(
    patch: U8, at: Rect, mouth: Image.Image, box: Box, paste: str, family: Family
) -> Image.Image:
    """The pixels ``at`` of the frame, with a mouth in them.

    Parameters
    ----------
    patch : uint8, shape (at.height, at.width, 3): the template's own.  Not modified.
    at : where they are; inside the frame, and holds all of ``changed_rect`` that is.
    mouth : the box's new pixels, from ``face``.
    """
    image = Image.fromarray(patch)
    changed = changed_rect(box, paste, family)
    # Clamped before Pillow sees it: 12.1.1 writes out of bounds for huge boxes (CVE-2026-59199).
    visible = changed.clipped_within(at)
    if visible.is_empty():
        return image
    part = visible.moved(-box.x, -box.y)
    pixels = mouth.crop((part.x0, part.y0, part.x1, part.y1))
    corner = (visible.x0 - at.x0, visible.y0 - at.y0)
    if paste == "hard":
        image.paste(pixels, corner)
    else:
        seen = visible.moved(-changed.x0, -changed.y0)
        mask = feather_mask(box.side, family).crop((seen.x0, seen.y0, seen.x1, seen.y1))
        image.paste(pixels, corner, mask)
    return image


@lru_cache(maxsize=256)
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
