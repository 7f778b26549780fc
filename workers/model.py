"""A model pair, loaded: speech features and mouths."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from workers.arrays import F32, U8
from workers.batch_axis import fixed_batch, in_batches
from workers.devices import ANYWHERE, ON_CPU, Execution
from workers.errors import ModelError, NotFinite
from workers.graph_cache import cached
from workers.pair import ModelPair
from workers.session import Session
from workers.unet import UNet, load_unet


class Encoder:
    """The half that hears."""

    def __init__(
        self, pair: ModelPair, execution: Execution = ON_CPU, cache: Path | None = None
    ) -> None:
        """``cache`` : see `graph_cache`.

        Raises ModelError when it does not run, or not in batches as its shapes promise.
        """
        self._session = session = _encoder_session(pair, execution, cache)
        self.provider = session.provider
        self._windows = pair.window.name
        size = pair.window.shape[0] or 1
        trial = np.random.default_rng(0).random((size, *pair.family.encoder_shape), np.float32)
        self._batch = fixed_batch(session.run, {self._windows: trial})

    def encode(self, windows: F32) -> F32:
        """Encoder windows, float32 (n, 1, 80, 16), to features, float32 (n, 512)."""
        features: F32 = in_batches(self._session.run, {self._windows: windows}, self._batch)
        return features


def _encoder_session(pair: ModelPair, execution: Execution, cache: Path | None) -> Session:
    """With its batch axis freed where the file has a size there."""
    if pair.window.shape[0] is None:
        return Session(pair.encoder, execution)
    try:
        content = cached(cache, pair.encoder, "batch freed", partial(_batch_freed, pair.encoder))
        return Session(pair.encoder, execution, content)
    except ModelError:
        return Session(pair.encoder, execution)


def _batch_freed(path: Path) -> bytes:
    # They take longer to import than the cache to read.
    from workers.graph import batch_freed
    from workers.model_file import self_contained

    return batch_freed(self_contained(path))


class Model:
    """Both halves, as the sequential renderer takes them."""

    def __init__(self, encoder: Encoder, unet: UNet) -> None:
        self.family, self.provider = unet.family, unet.provider
        self.encode = encoder.encode
        self._unet = unet

    @classmethod
    def load(
        cls, directory: Path, execution: Execution = ANYWHERE, cache: Path | None = None
    ) -> "Model":
        """The pair in a directory; see `ModelPair.find`, `load_unet`.  Raises ModelError.

        ``execution`` : of the U-Net; the encoder runs on the CPU, as in a farm.
        """
        pair = ModelPair.find(directory)
        on_cpu = replace(ON_CPU, threads=execution.threads)
        return cls(Encoder(pair, on_cpu, cache), load_unet(pair, execution, cache))

    def paint(self, crops: U8, audio: F32) -> U8:
        """Crops with mouths in them.

        ``crops`` : uint8 (n, C, C, 3), RGB.  ``audio`` : float32 (n, 32, 16, 16).
        Returns uint8 (n, C, C, 4), RGBX.  Raises NotFinite.
        """
        painted = np.empty((len(crops), *self.family.painted_shape), np.uint8)
        if not self._unet.paint_into(crops, audio, painted).all():
            raise NotFinite("the model's output holds NaN or infinity")
        return painted
