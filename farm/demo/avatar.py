"""The template frames of the demo avatar, with the box of each.

A head is drawn once for each look of the eyes and kept; a frame only moves what is drawn.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from farm.demo.eyes import draw_eyes
from farm.demo.face import draw_face
from farm.demo.hair import draw_back_hair, draw_front_hair, draw_hair_shadow
from farm.demo.layers import Layer, dithered
from farm.demo.look import MAYA
from farm.demo.motion import N_TEMPLATES, Pose, pose
from farm.demo.scene import draw_body, draw_room
from farm.demo.sheets import Placement, Sheet, U8Image, finished, lay
from workers.geometry import Box

__all__ = [
    "DRAWING_VERSION",
    "HEIGHT_PX",
    "N_TEMPLATES",
    "WIDTH_PX",
    "DrawnFrame",
    "draw_frame",
    "draw_frames",
]

WIDTH_PX, HEIGHT_PX = 1280, 720

DRAWING_VERSION = 1
"""Raise it when the picture changes: bundles made from an older one are then rebuilt."""

_LOOK = MAYA

_HEAD = (384, 16, 896, 660)
_BODY = (220, 440, 1060, 740)
"""Half-open rectangles x0, y0, x1, y1 in frame pixels that hold the layers."""

_NECK_X, _NECK_Y = 640.0, 540.0
"""The point, in frame pixels, that the head turns and grows about."""

_BOX_X, _BOX_TOP, _BOX_SIDE_PX = 640.0, 275.0, 300.0
"""Middle, top and side of the box before it moves: cheek to cheek from just under the bridge of
the nose, so that the chin is inside."""


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """One template: ``image_rgb`` is uint8 of shape (720, 1280, 3), R, G, B."""

    image_rgb: U8Image
    box: Box


def draw_frames() -> Iterator[DrawnFrame]:
    """All ``N_TEMPLATES`` frames in order; the same ones at every call."""
    return map(draw_frame, range(N_TEMPLATES))


def draw_frame(frame_index: int) -> DrawnFrame:
    """Template ``frame_index`` (0..N_TEMPLATES-1); its image belongs to the caller."""
    now = pose(frame_index)
    head = _head_placement(now)
    image_rgb = _room().copy()
    lay(image_rgb, _back_hair(), head)
    lay(image_rgb, _body(), Placement(1.0, 0.0, now.body_x_px, now.body_y_px))
    lay(image_rgb, _head(now.lid, now.brow_px), head)
    return DrawnFrame(image_rgb, _box(head))


def _head_placement(now: Pose) -> Placement:
    turn = math.radians(now.head_turn_deg)
    a, b = now.head_scale * math.cos(turn), now.head_scale * math.sin(turn)
    dx = _NECK_X + now.head_x_px - a * _NECK_X + b * _NECK_Y
    dy = _NECK_Y + now.head_y_px - b * _NECK_X - a * _NECK_Y
    return Placement(a, b, dx, dy)


def _box(head: Placement) -> Box:
    x, top = head.placed(_BOX_X, _BOX_TOP)
    side = round(head.scale * _BOX_SIDE_PX)
    return Box(round(x - side / 2), round(top), side)


@lru_cache(maxsize=1)
def _room() -> U8Image:
    return dithered(draw_room(_LOOK, WIDTH_PX, HEIGHT_PX))


@lru_cache(maxsize=1)
def _back_hair() -> Sheet:
    layer = Layer.empty(*_HEAD)
    draw_back_hair(layer, _LOOK)
    return finished(layer)


@lru_cache(maxsize=1)
def _body() -> Sheet:
    layer = Layer.empty(*_BODY)
    draw_body(layer, _LOOK)
    return finished(layer)


# Brows wander slowly, so the heads that come next are mostly the last few.
@lru_cache(maxsize=4)
def _head(lid: float, brow_px: float) -> Sheet:
    layer = _face().copy()
    draw_eyes(layer, _LOOK, lid=lid, brow_px=brow_px)
    layer.lay_over(_front_hair())
    return finished(layer)


@lru_cache(maxsize=1)
def _face() -> Layer:
    layer = Layer.empty(*_HEAD)
    draw_face(layer, _LOOK)
    draw_hair_shadow(layer, _LOOK)
    return layer


@lru_cache(maxsize=1)
def _front_hair() -> Layer:
    layer = Layer.empty(*_HEAD)
    draw_front_hair(layer, _LOOK)
    return layer
