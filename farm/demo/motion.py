"""How the person moves: sway, blinks and brows as pure functions of the frame index.

Templates are walked forwards and backwards in turn, so everything here comes to rest at both
ends: a series of cosines over the walk has no velocity there.
"""

import math
from dataclasses import dataclass

N_TEMPLATES = 100

_SWAY_X_PX = (0.0, -3.0, -6.5, 1.5, 1.5)
"""Amplitude of cos(k pi t) for k = 0, 1, 2 ...; t goes from 0 to 1 over the templates."""
_SWAY_Y_PX = (0.0, 1.0, 0.0, -1.5, 1.2, 0.5)
_TURN_DEG = (0.2, -0.6, -1.1, 0.4, 0.2)
_GROWTH = (0.0, -0.004, 0.005, 0.002)
_BREATH_PX = (0.0, 0.0, -1.2, 0.0, 0.6)
_BROW_LIFT_PX = (1.2, -0.3, -0.7, 0.0, -0.4, 0.5)

_BLINK_STARTS = (27, 70)
_LID_STEPS = (0.45, 1.0, 1.0, 0.6, 0.2)
"""How far the lids are down in the frames of a blink: shutting is quicker than opening."""

_BROW_STEP_PX = 0.5
"""Brows move in steps too small to see, so that few heads need drawing."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the person is in one frame, against the drawing."""

    head_x_px: float
    head_y_px: float
    head_turn_deg: float  #: clockwise, about the neck
    head_scale: float
    body_x_px: float
    body_y_px: float
    lid: float  #: 0 open, 1 shut
    brow_px: float  #: upwards


def pose(frame_index: int) -> Pose:
    """The pose of one template, ``frame_index`` in 0..N_TEMPLATES-1."""
    t = frame_index / (N_TEMPLATES - 1)
    sway_x, breath = _series(_SWAY_X_PX, t), _series(_BREATH_PX, t)
    lid = _lid(frame_index)
    return Pose(
        head_x_px=sway_x,
        head_y_px=_series(_SWAY_Y_PX, t) + 0.5 * breath,
        head_turn_deg=_series(_TURN_DEG, t),
        head_scale=1 + _series(_GROWTH, t),
        body_x_px=0.4 * sway_x,
        body_y_px=breath,
        lid=lid,
        brow_px=_stepped(_series(_BROW_LIFT_PX, t) - lid),
    )


def _series(amplitudes: tuple[float, ...], t: float) -> float:
    return sum(a * math.cos(k * math.pi * t) for k, a in enumerate(amplitudes))


def _lid(frame_index: int) -> float:
    for start in _BLINK_STARTS:
        if start <= frame_index < start + len(_LID_STEPS):
            return _LID_STEPS[frame_index - start]
    return 0.0


def _stepped(brow_px: float) -> float:
    return round(brow_px / _BROW_STEP_PX) * _BROW_STEP_PX
