"""Frame to crop: what the avatar compiler runs once for every template frame."""

import numpy as np

from workers.arrays import F64, I64, U8
from workers.geometry import Box
from workers.kernels.expressions import weighted_taps

NUMEXPR_SIDE_PX = 1200
"""From this side on numexpr wins.  On two cores: 1500 pixels in 12.5 ms, NumPy takes 18; 600 in 6.3
against 4.9."""

A_OPENCV = -0.75  #: the cubic's parameter in OpenCV's INTER_CUBIC; Pillow and others use -0.5


def crop_canvas(frame: U8, box: Box, canvas_px: int) -> U8:
    """``frame[box]`` resized to the canvas, as SyncTalk_2D's preparation does.

    Parameters
    ----------
    frame : uint8, shape (H, W, 3).  Not modified.
    box : may leave the frame; edge pixels are then repeated.

    Returns
    -------
    uint8, shape (canvas_px, canvas_px, 3), equal to ``cv2.resize(..., INTER_CUBIC)`` within 1
    level (tests/unit/workers/test_crop.py).
    """
    return resize_cubic(cut(frame, box), canvas_px)


def cut(frame: U8, box: Box) -> U8:
    """The pixels under ``box``, shape (side, side, 3), edge pixels repeated outside."""
    height, width = frame.shape[:2]
    rows = np.clip(np.arange(box.y, box.y + box.side), 0, height - 1)
    columns = np.clip(np.arange(box.x, box.x + box.side), 0, width - 1)
    pixels: U8 = frame[rows[:, None], columns]
    return pixels


def resize_cubic(image: U8, side_px: int) -> U8:
    """A square image at another size: 4-tap cubic, half-pixel centres, no antialiasing."""
    taps, weights = cubic_taps(image.shape[0], side_px)
    sums = weighted_taps if image.shape[0] >= NUMEXPR_SIDE_PX else weighted_by_numpy
    rows = sums(image, taps, weights)
    both = sums(rows.transpose(1, 0, 2), taps, weights).transpose(1, 0, 2)
    resized: U8 = np.clip(np.rint(both), 0, 255).astype(np.uint8, order="C")
    return resized


def weighted_by_numpy(lines: U8 | F64, taps: I64, weights: F64) -> F64:
    """See `workers.kernels.expressions.weighted_taps`, which gives the same pixels."""
    sums: F64 = np.einsum("ot,otxc->oxc", weights, lines[taps].astype(np.float64, copy=False))
    return sums


def cubic_taps(n_in: int, n_out: int) -> tuple[I64, F64]:
    """Where each output pixel looks and how much each look weighs, both of shape (n_out, 4)."""
    centre = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    first = np.floor(centre).astype(np.int64)
    t = (centre - first)[:, None]
    distance = np.abs(t - np.arange(-1, 3))
    taps = np.clip(first[:, None] + np.arange(-1, 3), 0, n_in - 1)
    return taps, _cubic(distance, A_OPENCV)


def _cubic(x: F64, a: float) -> F64:
    """Keys' convolution kernel (1981) for |x| < 2."""
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, far)
