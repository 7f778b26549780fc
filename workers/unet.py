"""A loaded U-Net: crops and audio tensors to painted crops.

    crops     uint8 (n, C, C, 3), RGB, as the bundle keeps them
    audio     float32 (n, 32, 16, 16)
    painted   uint8 (n, C, C, 4), RGBX: the crops with the model's mouth in their inner square

Usually the graph itself takes and gives these (`workers.graph`).  A model whose graph cannot be
changed is served plainly: the same pixels, made by NumPy.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from workers.arrays import F32, U8, Bools
from workers.batch_axis import Tensors, fixed_batch, padded
from workers.devices import ANYWHERE, Execution
from workers.errors import DeviceUnusable, ModelError, NotFinite
from workers.families import Family
from workers.graph_cache import cached
from workers.kernels.backends import DEFAULT, kernels
from workers.kernels.tensors import unpack, visual_tensor
from workers.pair import ModelPair, UNetBinding
from workers.session import Session

UINT8 = "tensor(uint8)"
ONE_LEVEL = 1.0  #: where a GPU picks other kernels for other batch sizes


class Ends(Protocol):
    """How crops get into a model and out of it."""

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        """See `UNet.paint_into`; for batches of a size that the model takes."""


class UNet:
    """Ready to paint."""

    def __init__(
        self,
        session: Session,
        ends: Ends,
        pair: ModelPair,
        served_plainly: str,
        cache: Path | None = None,
    ) -> None:
        """Raises ModelError when it does not run, or not in batches as its shapes promise.

        ``cache`` : has what was tried before; see `graph_cache`.
        """
        self.family: Family = pair.family
        self.provider = session.provider
        self.served_plainly = served_plainly  #: why its graph could not be changed; empty: it was
        self._ends = ends
        #: the only batch size it takes, to others it is given slices; None: any
        self.fixed_batch = self._tried_batch(pair, cache)

    def _tried_batch(self, pair: ModelPair, cache: Path | None) -> int | None:
        """From earlier trials: they take as long as four frames."""

        def tried() -> bytes:
            trial = self._trial(_promised_batch(pair))
            return str(fixed_batch(self._painted, trial, ONE_LEVEL) or 0).encode()

        kind = "plain" if self.served_plainly else "wrapped"
        what = f"batch size of {pair.family.name}, {kind}, on {self.provider}"
        size = cached(cache, pair.unet, what, tried)
        return int(size if size.isdigit() else tried()) or None  # somebody wrote into the cache

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        """Paint a batch of any size, straight into ``painted``, C-contiguous.

        Returns which frames are finite, shape (n,): what the others show is no mouth.  Raises
        ModelError.
        """
        if self.fixed_batch is None or self.fixed_batch == len(crops):
            return self._ends.paint_into(crops, audio, painted)
        finite = np.empty(len(crops), np.bool_)
        for begin in range(0, len(crops), self.fixed_batch):
            part = slice(begin, begin + self.fixed_batch)
            some = padded(crops[part], self.fixed_batch), padded(audio[part], self.fixed_batch)
            canvases = np.empty((self.fixed_batch, *painted.shape[1:]), np.uint8)
            n = len(painted[part])
            finite[part] = self._ends.paint_into(*some, canvases)[:n]
            painted[part] = canvases[:n]
        return finite

    def _painted(self, trial: Tensors) -> U8:
        crops, audio = trial["crops"], trial["audio"]
        painted = np.empty((len(crops), *self.family.painted_shape), np.uint8)
        self._ends.paint_into(crops, audio, painted)
        return painted[..., :3]

    def _trial(self, size: int) -> Tensors:
        rng, side = np.random.default_rng(0), self.family.canvas_px
        return {
            "crops": rng.integers(0, 256, (size, side, side, 3), np.uint8),
            "audio": rng.random((size, *self.family.audio_shape), np.float32),
        }


def load_unet(pair: ModelPair, execution: Execution = ANYWHERE, cache: Path | None = None) -> UNet:
    """``cache`` : see `graph_cache`.

    Raises ModelError when it does not run.
    """
    try:
        what = f"wrapped for {pair.family} in {execution.precision}"
        content = cached(cache, pair.unet, what, partial(_wrapped, pair, execution.precision))
        session = Session(pair.unet, execution, content)
        return UNet(session, WrappedEnds(session), pair, served_plainly="", cache=cache)
    except DeviceUnusable:
        raise
    except ModelError as error:
        if execution.precision != "fp32":
            raise ModelError(f"{pair.unet}: not in {execution.precision}: {error}") from error
        session = Session(pair.unet, execution)
        ends = PlainEnds(session, pair.binding)
        return UNet(session, ends, pair, served_plainly=str(error), cache=cache)


def _wrapped(pair: ModelPair, precision: str) -> bytes:
    # They take longer to import than the cache to read.
    from workers.graph import wrapped
    from workers.model_file import self_contained
    from workers.precision import half_precision

    content = self_contained(pair.unet)
    if precision == "fp16":
        content = half_precision(content)
    return wrapped(content, pair.family, pair.binding.image.name)


def _promised_batch(pair: ModelPair) -> int:
    tensors = (pair.binding.image, pair.binding.audio)
    promised = {size for spec in tensors if (size := spec.shape[0]) is not None}
    if len(promised) > 1:
        raise ModelError(f"{pair.unet}: its inputs have different batch sizes {promised}")
    return promised.pop() if promised else 1


class WrappedEnds:
    """The graph does it, as `workers.graph` made it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        (self._crops,) = (spec.name for spec in session.inputs if spec.dtype == UINT8)
        (self._audio,) = (spec.name for spec in session.inputs if spec.dtype != UINT8)
        (self._painted,) = (spec.name for spec in session.outputs if spec.dtype == UINT8)
        (self._means,) = (spec.name for spec in session.outputs if spec.dtype != UINT8)

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        means = np.empty((len(crops), 3, 1, 1), np.float32)
        inputs: Tensors = {self._crops: crops, self._audio: audio}
        self._session.run_into(inputs, {self._painted: painted, self._means: means})
        finite: Bools = np.logical_and.reduce(np.isfinite(means), axis=(1, 2, 3))
        return finite


class PlainEnds:
    """NumPy does it, around the model as it is."""

    def __init__(self, session: Session, binding: UNetBinding) -> None:
        self._session, self._binding = session, binding
        self._converter = kernels(DEFAULT).converter()

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        family, inner = self._binding.family, self._binding.family.inner
        visual = visual_tensor(crops[:, inner.y0 : inner.y1, inner.x0 : inner.x1], family.blackout)
        inputs: Tensors = {self._binding.image.name: visual, self._binding.audio.name: audio}
        outputs = self._session.run(inputs)
        if len(outputs) != len(crops):
            raise ModelError(f"it gives {len(outputs)} pictures for a batch of {len(crops)}")
        unpack(crops.reshape(-1), painted.reshape(-1).view(np.uint32))
        mouths = painted[:, inner.y0 : inner.y1, inner.x0 : inner.x1]
        return np.array([self._is_put(*both) for both in zip(outputs, mouths, strict=True)])

    def _is_put(self, output: F32, mouth: U8) -> bool:
        try:
            mouth[...] = self._converter.rgbx(output)
        except NotFinite:
            return False
        return True
