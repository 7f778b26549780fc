"""What surrounds the head: a bright room out of focus, neck and shoulders."""

import numpy as np

from farm.demo.face import face_outline
from farm.demo.layers import F32, Layer, curve, glow, mirrored, mix, outline, shape, shifted, stroke
from farm.demo.lips import AXIS_X
from farm.demo.look import Look

_N_LAMPS = 22
_LAMP_RADII_PX = (24.0, 92.0)
_LAMP_EDGE_PX = 14.0

_NECK = [(640, 400), (702, 420), (704, 500), (709, 548), (736, 584), (800, 640), (640, 720)]
_TOP = [
    (640, 650), (676, 640), (700, 616), (716, 572), (734, 574), (778, 592), (850, 621), (920, 658),
    (962, 704), (980, 770), (640, 790),
]  # fmt: skip
_COLLAR = [(560, 566), (572, 608), (602, 640), (640, 651), (678, 640), (708, 608), (720, 566)]
_COLLAR_WIDTHS_PX = (6, 12.5, 13.5, 14, 14, 14, 13.5, 12.5, 6)
"""Frame pixels; neck and top are right halves."""


def draw_room(look: Look, width: int, height: int) -> F32:
    """The background, float32 of shape (height, width, 3), 0..255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    away = np.hypot((x - 0.38 * width) / (0.75 * width), (y - 0.32 * height) / (0.95 * height))
    share = np.clip(away, 0, 1)[..., None] ** 1.5
    light, shade = np.array(look.room_light, np.float32), np.array(look.room, np.float32)
    room: F32 = light + (shade - light) * share
    lamps = np.minimum(_lamps(x, y), 0.4)[..., None]
    return room + (255 - room) * lamps


def _lamps(x: F32, y: F32) -> F32:
    """Lights out of focus: soft discs, as a share of white."""
    rng = np.random.default_rng(11)
    share = np.zeros_like(x)
    for _ in range(_N_LAMPS):
        centre_x, centre_y = rng.uniform(0, x.shape[1]), rng.uniform(0, x.shape[0])
        radius, strength = rng.uniform(*_LAMP_RADII_PX), rng.uniform(0.05, 0.16)
        inside = radius - np.hypot(x - centre_x, y - centre_y)
        share += strength * np.clip(inside / _LAMP_EDGE_PX, 0, 1)
    return share


def draw_body(layer: Layer, look: Look) -> None:
    """Paint the neck and the shoulders in a round-necked top."""
    _draw_neck(layer, look)
    _draw_top(layer, look)


def _draw_neck(layer: Layer, look: Look) -> None:
    wide = [(AXIS_X + (x - AXIS_X) * _widening(look, y), y) for x, y in _NECK]
    neck = shape(outline(mirrored(wide, AXIS_X)), 0.3)
    layer.paint(neck, look.skin)
    layer.tint(
        shape(shifted(face_outline(look), 5, 36), 11),
        mix(look.skin_shade, look.lip_line, 0.12),
        0.9,
    )
    layer.tint(glow(AXIS_X + 70, 540, 26, 70), look.skin_shade, 0.6)
    layer.tint(glow(AXIS_X - 74, 540, 18, 60), look.skin_shade, 0.4)
    layer.tint(glow(AXIS_X - 22, 584, 26, 30), look.skin_light, 0.35)
    for side in (-1, 1):
        bone = curve([(AXIS_X + side * x, y) for x, y in [(12, 626), (34, 614), (70, 604)]])
        layer.tint(stroke(bone, (1, 6, 1), 3), look.skin_shade, 0.3)


def _widening(look: Look, y: float) -> float:
    """A strong neck is wide under the chin; the collar is everybody's."""
    below_chin = min(max((580 - y) / 60, 0), 1)
    return 1 + (look.neck_width - 1) * below_chin


def _draw_top(layer: Layer, look: Look) -> None:
    cloth = shape(outline(mirrored(_TOP, AXIS_X)))
    # The collar's shadow on the neck comes before the cloth covers its lower half.
    layer.tint(stroke(curve(_COLLAR), (10, 14, 10), 4), look.skin_shade, 0.5)
    layer.paint(cloth, look.top)
    layer.tint(glow(AXIS_X - 150, 640, 110, 44).within(cloth), look.top_light, 0.8)
    layer.tint(glow(AXIS_X + 120, 620, 50, 20).within(cloth), look.top_light, 0.35)
    layer.tint(glow(AXIS_X + 300, 720, 110, 90).within(cloth), look.top_shade, 0.8)
    layer.tint(glow(AXIS_X - 330, 740, 60, 80).within(cloth), look.top_shade, 0.7)
    layer.tint(glow(AXIS_X, 740, 130, 50).within(cloth), look.top_shade, 0.35)
    for side in (-1, 1):
        fold = curve([(AXIS_X + side * x, y) for x, y in [(210, 660), (226, 700), (228, 760)]])
        layer.tint(stroke(fold, (1, 9, 14), 7).within(cloth), look.top_shade, 0.55)
    collar = curve(_COLLAR)
    layer.tint(stroke(shifted(collar, 0, 12), (6, 8, 6), 3).within(cloth), look.top_shade, 0.6)
    layer.paint(stroke(collar, _COLLAR_WIDTHS_PX, 0.2), mix(look.top, look.top_shade, 0.25))
    layer.tint(stroke(shifted(collar, 0, -3), (0.5, 3, 3, 3, 0.5), 1), look.top_light, 0.6)
