"""Pictures to the U-Net's visual tensor, and its output back to pictures.

Models want BGR planes of floats; everything else in lipfarm is RGB pixels of bytes.  The
order changes here and nowhere else.
"""

import numpy as np

from workers.arrays import F32, U8
from workers.errors import NotFinite
from workers.geometry import Rect


def visual_tensor(inner_crops: U8, blackout: Rect) -> F32:
    """The U-Net's picture input.

    Parameters
    ----------
    inner_crops : uint8, shape (n, S, S, 3), RGB.  Not modified.
    blackout : the mouth rectangle, in pixels of the inner crop.

    Returns
    -------
    float32, shape (n, 6, S, S), 0..1, BGR: planes 0..2 the crop, planes 3..5 the crop with the
    mouth rectangle zero.
    """
    n, height, width, _ = inner_crops.shape
    tensor = np.empty((n, 6, height, width), np.float32)
    bgr_planes = inner_crops[..., ::-1].transpose(0, 3, 1, 2)
    np.divide(bgr_planes, np.float32(255), out=tensor[:, :3])
    tensor[:, 3:] = tensor[:, :3]
    tensor[:, 3:, blackout.y0 : blackout.y1, blackout.x0 : blackout.x1] = 0
    return tensor


def to_pixels(output: F32) -> U8:
    """The U-Net's output as pictures.

    ``output`` : float32, shape (n, 3, S, S), BGR, about 0..1.  Returns uint8, shape (n, S, S, 3),
    RGB: trunc(clip(v, 0, 1) x 255), as the models' own code does.

    Raises NotFinite: a cast would turn NaN into 0 without a word.
    """
    if not np.isfinite(output).all():
        raise NotFinite("the model's output holds NaN or infinity")
    levels = np.clip(output, 0, 1) * np.float32(255)
    rgb_last = levels[:, ::-1].transpose(0, 2, 3, 1)
    return np.ascontiguousarray(rgb_last.astype(np.uint8))
