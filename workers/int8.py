"""A U-Net in int8, in as many of its layers as its pixels allow.

First all layers but the last one, which paints the pixels and costs next to nothing: in float it
spares 4 dB on the demo model.  Where that is not good enough, each layer is tried in int8 alone,
and the worst ones stay in float: as few as will do.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from workers.arrays import F32
from workers.batch_axis import Tensors
from workers.comparison import UNetInputs, psnr_db
from workers.devices import ON_CPU
from workers.errors import ModelError
from workers.kernels.tensors import visual_tensor
from workers.pair import ModelPair
from workers.quantizer import Quantizer
from workers.session import Session

N_JUDGED = 16  #: frames on which a choice of layers is judged
N_RANKED = 4  #: frames on which each layer is tried alone

Bar: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Told of each stage and the number of its steps; gives what to call after each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8UNet:
    """What came of it."""

    content: bytes  #: a model file
    n_layers: int  #: convolutions with weights
    in_float: tuple[str, ...]  #: those that stayed in float, in the graph's order
    judged_db: float  #: over the inner crops of frames that it was calibrated on


def int8_unet(pair: ModelPair, inputs: UNetInputs, *, least_db: float, bar: Bar) -> Int8UNet:
    """Quantise a pair's U-Net.

    ``inputs`` : of the frames to calibrate on; at least as many as its batch axis is frozen at.
    ``least_db`` : PSNR to reach on them, against float32, over the inner crop.

    Raises ModelError when it cannot be reached, or when there is nothing to quantise.
    """
    quantizer = Quantizer(pair.unet, pair.binding.image.name)
    with bar("calibrating", len(inputs)) as advance:
        quantizer.calibrate(_told(calls(pair, inputs), advance))
    judge = _Judge(pair, inputs.some(N_JUDGED))

    def tried(in_float: Collection[str]) -> float:
        return judge.psnr_db(quantizer.quantized(in_float))

    last = quantizer.layers[-1:] if len(quantizer.layers) > 1 else ()
    in_float, judged_db = last, tried(last)
    if judged_db < least_db:
        ranked = _ranked(quantizer, last, _Judge(pair, inputs.some(N_RANKED)), bar)
        in_float, judged_db = fewest_in_float(ranked, last, tried, least_db)
    return Int8UNet(
        content=quantizer.quantized(in_float),
        n_layers=len(quantizer.layers),
        in_float=tuple(layer for layer in quantizer.layers if layer in in_float),
        judged_db=judged_db,
    )


def calls(pair: ModelPair, inputs: UNetInputs) -> Iterator[Tensors]:
    """The same frames as the plain model takes them, in calls of the size its batch axis has."""
    image, audio, inner = pair.binding.image, pair.binding.audio, pair.family.inner
    size = image.shape[0] or 1
    for begin in range(0, len(inputs) - size + 1, size):
        crops = inputs.crops[begin : begin + size, inner.y0 : inner.y1, inner.x0 : inner.x1]
        yield {
            image.name: visual_tensor(crops, pair.family.blackout),
            audio.name: inputs.audio[begin : begin + size],
        }


def _told(items: Iterator[Tensors], advance: Callable[[], None]) -> Iterator[Tensors]:
    for item in items:
        yield item
        for _ in next(iter(item.values())):
            advance()


class _Judge:
    """Compares models with the pair's own U-Net on the same frames, before values become pixels."""

    def __init__(self, pair: ModelPair, inputs: UNetInputs) -> None:
        self._path, self._calls = pair.unet, list(calls(pair, inputs))
        self._reference = self._levels(None)

    def psnr_db(self, content: bytes) -> float:
        """Over the inner crops."""
        return psnr_db((self._levels(content) - self._reference) ** 2)

    def _levels(self, content: bytes | None) -> F32:
        session = Session(self._path, ON_CPU, content)
        outputs = np.concatenate([session.run(inputs) for inputs in self._calls])
        levels: F32 = np.clip(outputs, 0, 1) * np.float32(255)
        return levels


def _ranked(quantizer: Quantizer, always: Collection[str], judge: _Judge, bar: Bar) -> list[str]:
    """The layers but ``always``, worst first: the one that alone in int8 does the most harm."""
    layers = [layer for layer in quantizer.layers if layer not in always]
    alone_db = {}
    with bar("trying each layer", len(layers)) as advance:
        for layer in layers:
            alone_db[layer] = judge.psnr_db(quantizer.quantized(set(quantizer.layers) - {layer}))
            advance()
    return sorted(layers, key=lambda layer: alone_db[layer])


def fewest_in_float(
    ranked: Sequence[str],
    always: Collection[str],
    tried: Callable[[Collection[str]], float],
    least_db: float,
) -> tuple[tuple[str, ...], float]:
    """How many of ``ranked``, from the first on, must stay in float besides ``always``.

    ``tried`` : the decibels that a choice reaches; ``always`` alone does not reach ``least_db``.
    Returns the layers in float and their decibels.  Raises ModelError when the last one of
    ``ranked``, alone in int8, is already too much.
    """
    too_few, enough = 0, len(ranked) - 1
    choice = (*ranked[:enough], *always)
    reached_db = tried(choice)
    if reached_db < least_db:
        raise ModelError(
            f"{least_db:g} dB cannot be reached: one layer alone in int8 gives {reached_db:.1f} dB"
        )
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        fewer = (*ranked[:middle], *always)
        fewer_db = tried(fewer)
        if fewer_db < least_db:
            too_few = middle
        else:
            enough, choice, reached_db = middle, fewer, fewer_db
    return choice, reached_db
