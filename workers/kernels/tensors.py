"""Pictures to the U-Net's visual tensor, and its output back to pictures.

Models want BGR planes of floats; everything else in lipfarm is RGB pixels of bytes.  The
order changes here and nowhere else.

RGBX is RGB with a fourth byte that nobody looks at: Pillow's own layout in memory, which it takes
without a copy, and encodes a fifth faster than RGB.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from workers.arrays import F32, U8, U32
from workers.errors import NotFinite
from workers.geometry import Rect

ONE_AS_INTEGER = np.float32(1).view(np.uint32)


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
    levels = _clipped(output) * np.float32(255)
    rgb_last = levels[:, ::-1].transpose(0, 2, 3, 1)
    return np.ascontiguousarray(rgb_last.astype(np.uint8))


class PixelConverter:
    """``to_pixels`` for one frame at a time, in a third of the time, in memory of its own."""

    def __init__(
        self, to_levels: Callable[[F32, U8], None], to_pixels: Callable[[U8, U32], None]
    ) -> None:
        """The kernels: see `workers.kernels.backends`."""
        self._to_levels, self._to_pixels = to_levels, to_pixels
        self._levels = np.empty((3, 0, 0), np.uint8)
        self._pixels: U32 = np.empty((0, 0), "<u4")

    def rgbx(self, output: F32) -> U8:
        """One frame's pixels, each the same as ``to_pixels`` gives.

        ``output`` : float32, shape (3, S, S), BGR.  Returns uint8, shape (S, S, 4), RGBX, valid
        until the next call.  Raises NotFinite.
        """
        if output.shape != self._levels.shape:
            self._levels = np.empty(output.shape, np.uint8)
            self._pixels = np.empty(output.shape[1:], "<u4")
        # As integers, floats from 0 to 1 are in order; negative ones, infinities and NaN are above.
        if output.view(np.uint32).max() > ONE_AS_INTEGER:
            output = _clipped(output)
        self._to_levels(output, self._levels)
        self._to_pixels(self._levels, self._pixels)
        return self._pixels.view(np.uint8).reshape(*self._pixels.shape, 4)


def _clipped(output: F32) -> F32:
    if not np.isfinite(output).all():
        raise NotFinite("the model's output holds NaN or infinity")
    clipped: F32 = np.clip(output, 0, 1)
    return clipped


def unpack(rgb: U8, rgbx: U32) -> None:
    """Copy pixels, uint8 (3 n,), as RGBX, uint32 (n,): in memory R, G, B and any fourth byte."""
    rgbx[:-1] = fours(rgb)
    rgbx[-1:].view(np.uint8)[:3] = rgb[-3:]


def fours(rgb: U8) -> U32:
    """Each pixel that has a byte behind it, together with that byte.

    To copy four bytes of each takes a tenth of the time that three do.
    """
    fours: U32 = np.ndarray(((rgb.size - 1) // 3,), np.uint32, rgb.data, strides=(3,))
    return fours


def as_image(pixels: U8) -> Image.Image:
    """An image, mode RGBX, of uint8 pixels, shape (h, w, 3), RGB, or (h, w, 4), RGBX.

    The latter are not copied where they are contiguous: the image changes with them.
    """
    height, width, n_channels = pixels.shape
    raw = "RGBX" if n_channels == 4 else "RGB"
    contiguous = np.ascontiguousarray(pixels)
    return Image.frombuffer("RGBX", (width, height), contiguous, "raw", raw, 0, 1)
