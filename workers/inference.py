"""The inference worker: batches in, mouths into the slots of its own ring.

The model writes its output where compositors will read it; only descriptors travel.
"""

import time
from dataclasses import dataclass

import numpy as np

from shm.ring import RingWriter
from workers.arrays import F32, U8
from workers.bundles import OpenBundles
from workers.errors import BundleError, ModelError
from workers.features.rows import audio_tensors
from workers.features.windows import FEATURE_SIZE
from workers.frames import inner_crops
from workers.model import Model
from workers.process import WorkerProcess
from workers.protocol import BatchDone, Ready, ReleaseSlots, RunBatch, TaskFailed

WARM_S = 300.0  #: a first CUDA run compiles and searches
FIRST_BATCH_S, FRAME_S = 60.0, 5.0  #: of the first batch, and for each of its frames
LEAST_BATCH_S, MANY_TIMES = 5.0, 20.0  #: of the others, and against the slowest frame so far


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
        self._slowest_frame_s: float | None = None

    def start(self) -> None:
        self._process.announce("warming up", WARM_S)
        self._warm_up()
        layout = self._ring.layout
        self._process.send(
            Ready(
                provider=self._model.provider,
                n_blocks=layout.n_blocks,
                batch_size=layout.slots_per_block,
                ring=self._ring.name,
                ring_epoch=self._ring.epoch,
            )
        )
        self._process.serve(self.handle)

    def _warm_up(self) -> None:
        """The smallest batch: on a CPU the first run of a size is no slower than the next."""
        family = self._model.family
        crops = np.full((1, family.inner_px, family.inner_px, 3), 128, np.uint8)
        self._model.predict(crops, np.zeros((1, *family.audio_shape), np.float32))

    def handle(self, task: RunBatch | ReleaseSlots, payloads: list[bytes]) -> None:
        match task:
            case ReleaseSlots():
                for slot, generation in zip(task.slots, task.generations, strict=True):
                    self._ring.release(slot, generation)
            case RunBatch():
                self._run(task, payloads)

    def _run(self, task: RunBatch, payloads: list[bytes]) -> None:
        n = sum(task.counts)
        self._process.announce("running a batch", self._allowed_s(n))
        begin = time.perf_counter()
        block = self._ring.claim_block()
        runs = [self._gather(task, index, rows) for index, rows in enumerate(payloads)]
        family = self._model.family
        out = np.frombuffer(self._ring.block_view(block, n), np.float32)
        try:
            self._model.predict_into(
                np.concatenate([run.canvases for run in runs]),
                np.concatenate([run.audio for run in runs]),
                out.reshape(n, *family.output_shape),
            )
        except ModelError as error:
            for serial in set(task.serials):
                failure = TaskFailed(serial=serial, code="MODEL_FAILED", message=str(error))
                self._process.send(failure)
        # Publish after the model has returned: a reader may look as soon as a descriptor leaves.
        lent = self._ring.publish(block, [(task.batch, k) for k in range(n)])
        busy_s = time.perf_counter() - begin
        self._slowest_frame_s = max(self._slowest_frame_s or 0.0, busy_s / n)
        self._process.send(
            BatchDone(
                batch=task.batch,
                slots=[descriptor.slot for descriptor in lent],
                generations=[descriptor.generation for descriptor in lent],
                busy_ms=1e3 * busy_s,
            )
        )

    def _allowed_s(self, n: int) -> float:
        """How long a batch may take: many times what the slowest took, once one is known."""
        if self._slowest_frame_s is None:
            return FIRST_BATCH_S + FRAME_S * n
        return LEAST_BATCH_S + MANY_TIMES * self._slowest_frame_s * n

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
