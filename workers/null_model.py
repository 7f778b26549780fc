"""A model that is none, to measure everything but a network.

It paints the crop with a little noise in its hole, which depends on the frame's audio tensor and
on nothing else: the same job gives the same frames, and no two frames are alike, so that nothing
can be remembered.  Its features are a window's first mel bands.
A directory with the file NULL_MARKER is one.
"""

import zlib
from pathlib import Path

import numpy as np

from workers.arrays import F32, U8, U32, Bools
from workers.families import FAMILIES, Family
from workers.ids import NULL_MARKER
from workers.kernels.tensors import unpack
from workers.session import CPU

FAMILY = FAMILIES["synctalk-328-ave"]
NOISE_BITS = 0x00030303  #: the lowest two of red, green and blue: noise of a good camera
N_NOISE = 1 << 21  #: pixels; a frame's begin anywhere in them
SEEN_ROWS = 4  #: of an audio tensor's 32, that tell frames apart


def is_null(directory: Path) -> bool:
    return (directory / NULL_MARKER).is_file()


class NullEncoder:
    """In the place of `workers.model.Encoder`."""

    provider = CPU

    def encode(self, windows: F32) -> F32:
        """Encoder windows, float32 (n, 1, 80, 16), to features, float32 (n, 512)."""
        flat = windows.reshape(len(windows), -1)
        return np.ascontiguousarray(flat[:, : FAMILY.feature_size])


class NullUNet:
    """In the place of `workers.unet.UNet`."""

    family: Family = FAMILY
    provider = CPU
    served_plainly = ""

    def __init__(self) -> None:
        random = np.random.default_rng(0).integers(0, 1 << 32, N_NOISE, np.uint32)
        self._noise: U32 = random & np.uint32(NOISE_BITS)

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        """See `workers.unet.UNet`."""
        hole = FAMILY.blackout.moved(FAMILY.inner.x0, FAMILY.inner.y0)
        n_pixels = hole.width * hole.height
        unpack(crops.reshape(-1), painted.reshape(-1).view(np.uint32))
        for tensor, pixels in zip(audio, painted.view("<u4")[..., 0], strict=True):
            begin = zlib.crc32(tensor[:SEEN_ROWS].tobytes()) % (N_NOISE - n_pixels)
            noise = self._noise[begin : begin + n_pixels].reshape(hole.height, hole.width)
            pixels[hole.y0 : hole.y1, hole.x0 : hole.x1] ^= noise
        return np.ones(len(crops), np.bool_)
