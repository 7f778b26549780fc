"""A loaded audio encoder: the half of a model that hears."""

from functools import partial
from pathlib import Path

import numpy as np

from workers.arrays import F32
from workers.batch_axis import fixed_batch, in_batches
from workers.devices import ON_CPU, Execution
from workers.errors import ModelError
from workers.graph_cache import cached
from workers.pair import ModelPair
from workers.session import Session


class Encoder:
    """Ready to hear."""

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
