"""What the fast kernels are proved equal to: each written for the reader, no farm runs it.

The reference of a model's output as pixels is ``tensors.to_pixels``.
"""

import numpy as np

from workers.arrays import F64, U8

A_PILLOW = -0.5  #: the cubic's parameter in Pillow's BICUBIC


def resize_bicubic(image: U8, side_px: int) -> U8:
    """A square image at another size as Pillow's BICUBIC gives it, within 1 level.

    Of white noise one pixel in a thousand differs by 2: Pillow-SIMD's weights have 16 bits.

    ``image`` : uint8, shape (n, n, c).  Rows first, rounded to bytes between the two passes.
    """
    weights = bicubic_weights(image.shape[0], side_px)
    across = _to_bytes(np.einsum("oi,yic->yoc", weights, image, optimize=True))
    return _to_bytes(np.einsum("oi,ixc->oxc", weights, across, optimize=True))


def bicubic_weights(n_in: int, n_out: int) -> F64:
    """How much each pixel weighs in each new one, shape (n_out, n_in); rows sum to 1.

    Where it shrinks, the taps spread over all that a new pixel covers.
    """
    scale = n_in / n_out
    spread = max(scale, 1.0)
    centres = (np.arange(n_out) + 0.5) * scale
    distance = np.abs(np.arange(n_in) + 0.5 - centres[:, None]) / spread
    near = (A_PILLOW + 2) * distance**3 - (A_PILLOW + 3) * distance**2 + 1
    far = A_PILLOW * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    shares: F64 = weights / weights.sum(axis=1, keepdims=True)
    return shares


def mix(old: U8, new: U8, share: U8) -> U8:
    """``new`` as far as ``share`` says, of 255: (old x (255 - share) + new x share) / 255, rounded.

    All uint8 and of shapes that fit each other.  Pillow's paste gives the same bytes.
    """
    exact = (old * (255.0 - share) + new * share.astype(np.float64)) / 255
    return _to_bytes(exact)


def _to_bytes(levels: F64) -> U8:
    rounded: U8 = np.clip(np.floor(levels + 0.5), 0, 255).astype(np.uint8)
    return rounded
