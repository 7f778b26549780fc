"""Two U-Nets on the same frames: how alike their pixels are, and how fast each is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from workers.arrays import F32, F64, U8
from workers.errors import NotFinite
from workers.families import Family
from workers.unet import UNet

BATCH = 8  #: frames a call


@dataclass(frozen=True, slots=True)
class UNetInputs:
    """What a U-Net is given for some frames."""

    crops: U8  #: shape (n, C, C, 3), RGB
    audio: F32  #: shape (n, 32, 16, 16)

    def __len__(self) -> int:
        return len(self.crops)

    def some(self, most: int) -> Self:
        """At most so many of them, spread evenly."""
        picked = spread(range(len(self)), most)
        return type(self)(self.crops[picked], self.audio[picked])


def spread(items: range, most: int) -> list[int]:
    """At most so many of them, evenly, each in the middle of its share."""
    n = min(most, len(items))
    return [items[(2 * k + 1) * len(items) // (2 * n)] for k in range(n)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How close one U-Net's pixels are to another's.  Decibels are of PSNR, 255 levels the peak."""

    crop_db: float  #: over the inner crops of all frames
    hole_db: float  #: over their holes
    worst_frame_db: float  #: over one frame's inner crop
    worst_levels: int  #: largest difference of a pixel, 0..255
    n_frames: int


def painted(unet: UNet, inputs: UNetInputs) -> U8:
    """What it paints into the inner crops: uint8 (n, S, S, 3), RGB.  Raises NotFinite."""
    inner = unet.family.inner
    mouths = np.empty((len(inputs), inner.height, inner.width, 3), np.uint8)
    for begin in range(0, len(inputs), BATCH):
        part = slice(begin, begin + BATCH)
        crops = np.ascontiguousarray(inputs.crops[part])
        canvases = np.empty((len(crops), *unet.family.painted_shape), np.uint8)
        if not unet.paint_into(crops, inputs.audio[part], canvases).all():
            raise NotFinite("the model's output holds NaN or infinity")
        mouths[part] = canvases[:, inner.y0 : inner.y1, inner.x0 : inner.x1, :3]
    return mouths


def fidelity(mouths: U8, reference: U8, family: Family) -> Fidelity:
    """Both as `painted` gives them."""
    off = np.abs(mouths.astype(np.int16) - reference)
    squares = off.astype(np.float32) ** 2
    hole = family.blackout
    in_hole = squares[:, hole.y0 : hole.y1, hole.x0 : hole.x1]
    return Fidelity(
        crop_db=psnr_db(squares),
        hole_db=psnr_db(in_hole),
        worst_frame_db=min(map(psnr_db, squares)),
        worst_levels=int(off.max()),
        n_frames=len(mouths),
    )


MOST_DB = 99.0  #: of what is equal


def psnr_db(squares: F32) -> float:
    """Of squared differences, in levels."""
    mean = float(squares.mean(dtype=np.float64))
    return MOST_DB if mean == 0 else min(MOST_DB, float(10 * np.log10(255**2 / mean)))


def ms_per_frame(unets: Mapping[str, UNet], inputs: UNetInputs, rounds: int) -> dict[str, float]:
    """Milliseconds a frame of each, calls in turns: the quickest of so many.

    ``inputs`` : one call, of BATCH frames say.
    """
    taken: dict[str, F64] = {name: np.empty(rounds) for name in unets}
    for unet in unets.values():
        _call_s(unet, inputs)
    for k in range(rounds):
        for name, unet in unets.items():
            taken[name][k] = _call_s(unet, inputs)
    return {name: 1e3 * float(s.min()) / len(inputs) for name, s in taken.items()}


def _call_s(unet: UNet, inputs: UNetInputs) -> float:
    canvases = np.empty((len(inputs), *unet.family.painted_shape), np.uint8)
    begin = time.perf_counter()
    unet.paint_into(inputs.crops, inputs.audio, canvases)
    return time.perf_counter() - begin
