"""Features of speech that was encoded before: the same speech once more, by whatever avatar.

Bounded by bytes; what was used longest ago goes first.
"""

import hashlib
from collections import OrderedDict
from typing import TypeAlias

import numpy as np

from workers.arrays import F32
from workers.features.spans import Span

Key: TypeAlias = tuple[str, bytes]


class FeatureCache:
    """By model, and by all that a span's features depend on."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._features: OrderedDict[Key, F32] = OrderedDict()
        self.n_bytes = 0
        self.n_hits = 0

    def get(self, key: Key) -> F32 | None:
        """float32 (n, 512), not to be written to."""
        features = self._features.get(key)
        if features is not None:
            self.n_hits += 1
            self._features.move_to_end(key)
        return features

    def put(self, key: Key, features: F32) -> None:
        if key in self._features or features.nbytes > self._max_bytes:
            return
        self._features[key] = features
        self.n_bytes += features.nbytes
        while self.n_bytes > self._max_bytes:
            _, oldest = self._features.popitem(last=False)
            self.n_bytes -= oldest.nbytes

    def forget(self, model: str) -> None:
        """It was loaded, perhaps from other files than before."""
        for key in [key for key in self._features if key[0] == model]:
            self.n_bytes -= self._features.pop(key).nbytes


def key_of(model: str, span: Span) -> Key:
    """What the features of a span depend on."""
    place = np.array([span.index, span.first_sample, span.total_samples or -1], np.int64)
    digest = hashlib.blake2b(np.ascontiguousarray(span.samples).data, digest_size=16)
    digest.update(place.tobytes())
    return model, digest.digest()
