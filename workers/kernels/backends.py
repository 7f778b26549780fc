"""Which library does a frame's arithmetic.  All give the same bytes; they differ in speed.

"fastest" takes for each kernel the one that a measurement says wins; "numpy" and "numexpr" are for
machines where another wins, and to hold the fast ones against.  Resizing and encoding are
Pillow's: nothing else came near.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from workers.arrays import F32, U8, U32
from workers.kernels import expressions
from workers.kernels.tensors import PixelConverter, as_image

BACKENDS = ("fastest", "numpy", "numexpr")
DEFAULT = BACKENDS[0]

Mix = Callable[[U8, U8, U8], U8]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The steps of which there are several versions."""

    #: (output, levels): float32 (3, S, S), 0..1, times 255, cut off, into uint8 of the same shape
    to_levels: Callable[[F32, U8], None]
    #: (levels, pixels): blue, green and red planes into little-endian uint32 (S, S), RGBX
    to_pixels: Callable[[U8, U32], None]
    #: (image, new, corner, share): paste ``new`` there; share, mode L, 255 where all of it is seen
    paste_mixed: Callable[[Image.Image, Image.Image, tuple[int, int], Image.Image], None]

    def converter(self) -> PixelConverter:
        return PixelConverter(self.to_levels, self.to_pixels)


def kernels(name: str) -> Kernels:
    """One of BACKENDS.  Raises KeyError."""
    return {"fastest": _fastest, "numpy": _numpy, "numexpr": _numexpr}[name]()


def _fastest() -> Kernels:
    return Kernels(levels_by_numpy, pixels_by_numpy, Image.Image.paste)


def _numpy() -> Kernels:
    return Kernels(levels_by_numpy, pixels_by_numpy, _paste_by(mix_by_numpy))


def _numexpr() -> Kernels:
    return Kernels(expressions.to_levels, expressions.to_pixels, _paste_by(expressions.mix))


def levels_by_numpy(output: F32, levels: U8) -> None:
    np.multiply(output, np.float32(255), out=levels, casting="unsafe")


def pixels_by_numpy(levels: U8, pixels: U32) -> None:
    blue, green, red = levels
    np.copyto(pixels, blue)
    for plane in (green, red):
        np.left_shift(pixels, 8, out=pixels)
        np.bitwise_or(pixels, plane, out=pixels)


def mix_by_numpy(old: U8, new: U8, share: U8) -> U8:
    """Pillow's: (old x (255 - share) + new x share) / 255, rounded; exact, in 16 bits.

    ``old``, ``new`` : uint8 (h, w, 4).  ``share`` : uint8 (h, w, 1).
    """
    wide = np.multiply(new, share, dtype=np.uint16)
    wide += np.multiply(old, 255 - share, dtype=np.uint16)
    wide += 128
    wide += wide >> 8
    wide >>= 8
    return wide.astype(np.uint8)


def _paste_by(mix: Mix) -> Callable[[Image.Image, Image.Image, tuple[int, int], Image.Image], None]:
    def paste(
        image: Image.Image, new: Image.Image, corner: tuple[int, int], share: Image.Image
    ) -> None:
        x, y = corner
        old = np.asarray(image.crop((x, y, x + new.width, y + new.height)))
        mixed = mix(old, np.asarray(new), np.asarray(share)[..., None])
        image.paste(as_image(mixed), corner)

    return paste
