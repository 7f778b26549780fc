"""What a batch's model is given: crops and audio tensors, one frame behind the other.

Gathered in memory that is used again and again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workers.arrays import F32, U8
from workers.bundles import OpenBundles
from workers.errors import BundleError
from workers.families import Family
from workers.features.rows import audio_tensors
from workers.features.windows import FEATURE_SIZE
from workers.frames import gather_crops
from workers.protocol import RunBatch

N_BUFFERS = 2  #: one batch is computed, the next one gathered: the broker sends no more


@dataclass(frozen=True, slots=True)
class Gathered:
    """Places that a batch does not fill keep an earlier one's frames."""

    crops: U8  #: (n, C, C, 3)
    audio: F32  #: tensors, (n, 32, 16, 16)

    @classmethod
    def zeros(cls, family: Family, n: int) -> "Gathered":
        crops = np.zeros((n, *family.crop_shape), np.uint8)
        return cls(crops, np.zeros((n, *family.audio_shape), np.float32))


class Gatherer:
    """Holds the bundles that it has open, and its memory."""

    def __init__(self, batch_size: int, fail: Callable[[int, str], None]) -> None:
        """``fail`` : takes a job's serial and what is wrong with its bundle."""
        self._batch_size = batch_size
        self._fail = fail
        self._bundles = OpenBundles()
        self._free: dict[Family, list[Gathered]] = {}

    def gather(self, task: RunBatch, payloads: list[bytes], family: Family) -> Gathered:
        """The runs' crops and tensors; the caller gives them back."""
        gathered = self._free_of(family).pop()
        begin = 0
        for index, (n, rows) in enumerate(zip(task.counts, payloads, strict=True)):
            places = slice(begin, begin + n)
            self._gather_crops(task, index, family, gathered.crops[places])
            features = np.frombuffer(rows, np.float32).reshape(-1, FEATURE_SIZE)
            audio_tensors(features, gathered.audio[places])
            begin += n
        return gathered

    def give_back(self, family: Family, gathered: Gathered) -> None:
        self._free_of(family).append(gathered)

    def _free_of(self, family: Family) -> list[Gathered]:
        if family not in self._free:
            self._free[family] = [
                Gathered.zeros(family, self._batch_size) for _ in range(N_BUFFERS)
            ]
        return self._free[family]

    def _gather_crops(self, task: RunBatch, index: int, family: Family, crops: U8) -> None:
        """A damaged bundle fails its own job and nobody else's."""
        first, n = task.first_frames[index], task.counts[index]
        try:
            bundle = self._bundles.get(task.bundles[index], task.digests[index])
            bundle.require_family(family)
            gather_crops(bundle, range(first, first + n), crops)
        except BundleError as error:
            self._fail(task.serials[index], str(error))
            crops[...] = 0
