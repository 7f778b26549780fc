"""The template frames of the demo avatar, with the box of each.

A head is drawn once for each look of the eyes and kept; a frame only moves what is drawn, and
paints the mouth.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from farm.demo.eyes import draw_eyes
from farm.demo.face import draw_face
from farm.demo.glasses import draw_glasses
from farm.demo.hair import draw_back_hair, draw_front_hair, draw_hair_shadow
from farm.demo.jaw import dropped, jaw_drop_px
from farm.demo.layers import Layer, dithered
from farm.demo.look import LOOKS, Look
from farm.demo.motion import N_TEMPLATES, Pose, pose
from farm.demo.mouth import AT_REST, AXIS_X, MOUTH_AREA, MOUTH_Y, MouthShape, draw_mouth
from farm.demo.scene import draw_body, draw_room
from farm.demo.sheets import Placement, Sheet, U8Image, finished, laid, lay, pasted, placed_rect
from workers.geometry import Box, Rect

__all__ = [
    "DRAWING_VERSION",
    "HEIGHT_PX",
    "N_TEMPLATES",
    "WIDTH_PX",
    "DrawnFrame",
    "Portrait",
    "draw_frame",
    "draw_frames",
]

WIDTH_PX, HEIGHT_PX = 1280, 720

DRAWING_VERSION = 2
"""Raise it when the picture changes: bundles made from an older one are then rebuilt."""

_HEAD = (384, 16, 896, 660)
_BODY = (220, 440, 1060, 740)
"""Half-open rectangles x0, y0, x1, y1 in frame pixels that hold the layers."""

_NECK_X, _NECK_Y = 640.0, 540.0
"""The point, in frame pixels, that the head turns and grows about."""

_BOX_X, _BOX_TOP, _BOX_SIDE_PX = 640.0, 275.0, 300.0
"""Middle, top and side of the box before it moves: cheek to cheek from just under the bridge of
the nose, so that the chin is inside."""

_AROUND_PX = 40
"""Frame pixels around MOUTH_AREA that a head turned by some degrees brings into its frame area;
eyes are farther away."""


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """One template: ``image_rgb`` is uint8 of shape (720, 1280, 3), R, G, B."""

    image_rgb: U8Image
    box: Box


@dataclass(frozen=True, slots=True)
class _Stage:
    """A pose that waits for a mouth."""

    pose: Pose
    head: Placement
    still_rgb: U8Image  #: the whole frame, the face without a mouth
    area: Rect  #: of the frame, where mouths differ
    under_rgb: U8Image  #: what is behind the head there


def draw_frames(look: Look = LOOKS["maya"]) -> Iterator[DrawnFrame]:
    """All ``N_TEMPLATES`` frames in order, lips shut; the same ones at every call."""
    return (draw_frame(k, look) for k in range(N_TEMPLATES))


def draw_frame(frame_index: int, look: Look = LOOKS["maya"]) -> DrawnFrame:
    """Template ``frame_index`` (0..N_TEMPLATES-1); its image belongs to the caller."""
    return _portrait(look).frame(pose(frame_index))


@lru_cache(maxsize=1)
def _portrait(look: Look) -> "Portrait":
    return Portrait(look)


class Portrait:
    """Draws one person in any pose with any mouth; keeps what takes long.

    Quick when the mouth changes in the same pose, and quicker when only lids and brows do.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._last: _Stage | None = None
        # Brows wander slowly, so the heads that come next are mostly the last few.
        self._head = lru_cache(maxsize=8)(self._draw_head)

    def frame(self, pose: Pose, mouth: MouthShape = AT_REST) -> DrawnFrame:
        """The whole frame; its image belongs to the caller."""
        stage = self._stage(pose)
        image_rgb = stage.still_rgb.copy()
        area = stage.area
        image_rgb[area.y0 : area.y1, area.x0 : area.x1] = self._mouth_rgb(stage, mouth)
        return DrawnFrame(image_rgb, self.box(pose))

    def box(self, pose: Pose) -> Box:
        head = _head_placement(pose)
        x, top = head.placed(_BOX_X, _BOX_TOP)
        side = round(head.scale * _BOX_SIDE_PX)
        return Box(round(x - side / 2), round(top), side)

    def box_rgb(self, pose: Pose, mouth: MouthShape, box: Box) -> U8Image:
        """What ``frame`` shows in ``box``, which lies inside the frame: uint8 (side, side, 3)."""
        stage, rect = self._stage(pose), box.rect
        box_rgb = stage.still_rgb[rect.y0 : rect.y1, rect.x0 : rect.x1].copy()
        area = stage.area
        x0, x1 = max(area.x0, rect.x0), min(area.x1, rect.x1)
        y0, y1 = max(area.y0, rect.y0), min(area.y1, rect.y1)
        if x0 < x1 and y0 < y1:
            mouth_rgb = self._mouth_rgb(stage, mouth)
            box_rgb[y0 - rect.y0 : y1 - rect.y0, x0 - rect.x0 : x1 - rect.x0] = mouth_rgb[
                y0 - area.y0 : y1 - area.y0, x0 - area.x0 : x1 - area.x0
            ]
        return box_rgb

    def mouth_middle(self, pose: Pose) -> tuple[float, float]:
        """Frame coordinates (x, y) of the middle of the mouth."""
        return _head_placement(pose).placed(AXIS_X, MOUTH_Y)

    def _mouth_rgb(self, stage: _Stage, mouth: MouthShape) -> U8Image:
        """The pixels of the stage's area with a mouth."""
        mouth = mouth.clipped()
        face = dropped(self._mouthless, jaw_drop_px(mouth))
        draw_mouth(face, self._look, mouth)
        sheet = pasted(self._lower_face, finished(face))
        return laid(stage.under_rgb, sheet, stage.head, stage.area)

    def _stage(self, pose: Pose) -> _Stage:
        if self._last is None or self._last.pose != pose:
            self._last = self._set_up(pose)
        return self._last

    def _set_up(self, pose: Pose) -> _Stage:
        head = _head_placement(pose)
        still_rgb = self._room.copy()
        lay(still_rgb, self._back_hair, head)
        lay(still_rgb, self._body, Placement(1.0, 0.0, pose.body_x_px, pose.body_y_px))
        area = placed_rect(MOUTH_AREA, head).clipped_to(WIDTH_PX, HEIGHT_PX)
        under_rgb = still_rgb[area.y0 : area.y1, area.x0 : area.x1].copy()
        lay(still_rgb, self._head(pose.lid, pose.brow_px), head)
        return _Stage(pose, head, still_rgb, area, under_rgb)

    @cached_property
    def _room(self) -> U8Image:
        return dithered(draw_room(self._look, WIDTH_PX, HEIGHT_PX))

    @cached_property
    def _back_hair(self) -> Sheet:
        layer = Layer.empty(*_HEAD)
        draw_back_hair(layer, self._look)
        return finished(layer)

    @cached_property
    def _body(self) -> Sheet:
        layer = Layer.empty(*_BODY)
        draw_body(layer, self._look)
        return finished(layer)

    @cached_property
    def _face(self) -> Layer:
        layer = Layer.empty(*_HEAD)
        draw_face(layer, self._look)
        draw_hair_shadow(layer, self._look)
        return layer

    @cached_property
    def _front_hair(self) -> Layer:
        layer = Layer.empty(*_HEAD)
        draw_front_hair(layer, self._look)
        return layer

    @cached_property
    def _mouthless(self) -> Layer:
        """The face where mouths differ; no hair comes near."""
        return self._face.cut(*MOUTH_AREA)

    @cached_property
    def _lower_face(self) -> Sheet:
        """The face around the mouth, as wide as a turned head needs it."""
        x0, y0, x1, y1 = MOUTH_AREA
        around = (x0 - _AROUND_PX, y0 - _AROUND_PX, x1 + _AROUND_PX, y1 + _AROUND_PX)
        layer = self._face.cut(*around)
        layer.lay_over(self._front_hair.cut(*around))
        return finished(layer)

    def _draw_head(self, lid: float, brow_px: float) -> Sheet:
        layer, look = self._face.copy(), self._look
        draw_eyes(layer, look, lid=lid, brow_px=brow_px)
        if look.glasses is not None:
            draw_glasses(layer, look.glasses, look.skin_shade)
        layer.lay_over(self._front_hair)
        return finished(layer)


def _head_placement(now: Pose) -> Placement:
    turn = math.radians(now.head_turn_deg)
    a, b = now.head_scale * math.cos(turn), now.head_scale * math.sin(turn)
    dx = _NECK_X + now.head_x_px - a * _NECK_X + b * _NECK_Y
    dy = _NECK_Y + now.head_y_px - b * _NECK_X - a * _NECK_Y
    return Placement(a, b, dx, dy)
