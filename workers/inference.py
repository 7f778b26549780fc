"""The inference worker: batches in, mouths into the slots of its own ring.

The model writes its output where compositors will read it; only descriptors travel.
"""

import time
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from shm.fail_points import fail_point
from shm.ring import RingWriter
from workers.arrays import F32, U8
from workers.bundles import OpenBundles
from workers.errors import BundleError, ModelError
from workers.features.rows import audio_tensors
from workers.features.windows import FEATURE_SIZE
from workers.frames import inner_crops
from workers.model import Model
from workers.patience import Patience
from workers.process import WorkerProcess
from workers.protocol import BatchDone, Ready, ReleaseSlots, RunBatch, TaskFailed
from workers.session import CPU

WARM_S = 300.0  #: a first CUDA run compiles and searches
FIRST_BATCH_S, FIRST_FRAME_S = 60.0, 5.0  #: of the first batch, and for each of its frames


Items = TypeVar("Items", U8, F32)


@dataclass(frozen=True, slots=True)
class _Run:
    """A batch's consecutive frames of one job, gathered."""

    canvases: U8  #: inner crops, (n, S, S, 3)
    audio: F32  #: tensors, (n, 32, 16, 16)


class InferenceWorker:
    """Runs batches.  Between two of them it holds the ring's slots that are lent."""

    def __init__(self, process: WorkerProcess, model: Model, ring: RingWriter) -> None:
        self._process = process
        self._model = model
        self._ring = ring
        self._bundles = OpenBundles()
        self._patience = Patience(FIRST_BATCH_S, FIRST_FRAME_S)
        # A GPU picks other kernels for other batch sizes, and searches for them each time.
        self._pads = model.provider != CPU

    def start(self) -> None:
        self._process.announce("warming up", WARM_S)
        self._warm_up()
        fail_point("inference.warm")
        layout = self._ring.layout
        ready = Ready(
            provider=self._model.provider,
            n_blocks=layout.n_blocks,
            batch_size=layout.slots_per_block,
            ring=self._ring.name,
            ring_epoch=self._ring.epoch,
        )
        self._process.send(ready)
        fail_point("inference.ready_sent")
        # A compositor may still read a slot for the dead broker: nobody hears what comes of it.
        self._process.serve(self.handle, ready=ready, reset=self._ring.take_back)

    def _warm_up(self) -> None:
        """The one size a GPU is given; on a CPU the first run of a size is as quick as the next."""
        family, n = self._model.family, self._n_run(1)
        crops = np.full((n, family.inner_px, family.inner_px, 3), 128, np.uint8)
        self._model.predict(crops, np.zeros((n, *family.audio_shape), np.float32))

    def _n_run(self, n: int) -> int:
        """Frames the model is given for a batch of ``n``."""
        return self._ring.layout.slots_per_block if self._pads else n

    def handle(self, task: RunBatch | ReleaseSlots, payloads: list[bytes]) -> None:
        match task:
            case ReleaseSlots():
                fail_point("inference.releasing")
                for slot, generation in zip(task.slots, task.generations, strict=True):
                    self._ring.release(slot, generation)
                fail_point("inference.released")
            case RunBatch():
                self._run(task, payloads)

    def _run(self, task: RunBatch, payloads: list[bytes]) -> None:
        fail_point("inference.batch_taken")
        n = sum(task.counts)
        self._process.announce("running a batch", self._patience.allowed_s(n))
        begin = time.perf_counter()
        block = self._ring.claim_block()
        fail_point("inference.claimed")
        runs = [self._gather(task, index, rows) for index, rows in enumerate(payloads)]
        n_run = self._n_run(n)
        out = np.frombuffer(self._ring.block_view(block, n_run), np.float32)
        fail_point("inference.gathered")
        try:
            self._model.predict_into(
                _filled(np.concatenate([run.canvases for run in runs]), n_run),
                _filled(np.concatenate([run.audio for run in runs]), n_run),
                out.reshape(n_run, *self._model.family.output_shape),
            )
        except ModelError as error:
            for serial in set(task.serials):
                failure = TaskFailed(serial=serial, code="MODEL_FAILED", message=str(error))
                self._process.send(failure)
        fail_point("inference.written")
        # Publish after the model has returned: a reader may look as soon as a descriptor leaves.
        lent = self._ring.publish(block, [(task.batch, k) for k in range(n)])
        fail_point("inference.published")
        busy_s = time.perf_counter() - begin
        self._patience.took(busy_s, n)
        self._process.send(
            BatchDone(
                batch=task.batch,
                slots=[descriptor.slot for descriptor in lent],
                generations=[descriptor.generation for descriptor in lent],
                busy_ms=1e3 * busy_s,
            )
        )
        fail_point("inference.done_sent")

    def _gather(self, task: RunBatch, index: int, rows: bytes) -> _Run:
        """A run's crops and tensors.  A damaged bundle fails its own job and nobody else's."""
        n, first = task.counts[index], task.first_frames[index]
        audio = audio_tensors(np.frombuffer(rows, np.float32).reshape(-1, FEATURE_SIZE))
        family = self._model.family
        try:
            bundle = self._bundles.get(task.bundles[index], task.digests[index])
            bundle.require_family(family)
            crops = inner_crops(bundle, range(first, first + n), family)
        except BundleError as error:
            serial = task.serials[index]
            self._process.send(TaskFailed(serial=serial, code="BAD_BUNDLE", message=str(error)))
            crops = np.zeros((n, family.inner_px, family.inner_px, 3), np.uint8)
        return _Run(crops, audio)


def _filled(items: Items, n: int) -> Items:
    """The items, and zeros behind them up to ``n``."""
    if len(items) == n:
        return items
    filled = np.zeros((n, *items.shape[1:]), items.dtype)
    filled[: len(items)] = items
    return filled
