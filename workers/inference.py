"""The inference worker: batches in, mouths into the slots of its own ring.

The model writes its output where compositors will read it; only descriptors travel.
"""

import time

import numpy as np

from shm.fail_points import fail_point
from shm.ring import RingWriter
from workers.arrays import Bools
from workers.bundles import OpenBundles
from workers.errors import BundleError, ModelError
from workers.features.rows import audio_tensors
from workers.features.windows import FEATURE_SIZE
from workers.frames import gather_crops
from workers.patience import Patience
from workers.process import WorkerProcess
from workers.protocol import BatchDone, Ready, ReleaseSlots, RunBatch, TaskFailed
from workers.session import CPU
from workers.unet import UNet

WARM_S = 300.0  #: a first CUDA run compiles and searches
FIRST_BATCH_S, FIRST_FRAME_S = 60.0, 5.0  #: of the first batch, and for each of its frames


class InferenceWorker:
    """Runs batches.  Between two of them it holds the ring's slots that are lent."""

    def __init__(self, process: WorkerProcess, unet: UNet, ring: RingWriter) -> None:
        self._process = process
        self._unet = unet
        self._ring = ring
        # The batch is gathered here.  Places that it does not fill keep an earlier one's frames.
        n, family = ring.layout.slots_per_block, unet.family
        self._crops = np.zeros((n, *family.crop_shape), np.uint8)
        self._audio = np.zeros((n, *family.audio_shape), np.float32)
        self._bundles = OpenBundles()
        self._patience = Patience(FIRST_BATCH_S, FIRST_FRAME_S)
        # A GPU picks other kernels for other batch sizes, and searches for them each time.
        self._pads = unet.provider != CPU

    def start(self) -> None:
        self._process.announce("warming up", WARM_S)
        self._warm_up()
        fail_point("inference.warm")
        layout = self._ring.layout
        ready = Ready(
            provider=self._unet.provider,
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
        n = self._n_run(1)
        painted = np.empty((n, *self._unet.family.painted_shape), np.uint8)
        self._unet.paint_into(self._crops[:n], self._audio[:n], painted)

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
        self._gather(task, payloads)
        n_run = self._n_run(n)
        slots = np.frombuffer(self._ring.block_view(block, n_run), np.uint8)
        painted = slots.reshape(n_run, *self._unet.family.painted_shape)
        fail_point("inference.gathered")
        try:
            finite = self._unet.paint_into(self._crops[:n_run], self._audio[:n_run], painted)
        except ModelError as error:
            for serial in set(task.serials):
                self._fail(serial, "MODEL_FAILED", str(error))
        else:
            self._fail_not_finite(task, finite)
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

    def _gather(self, task: RunBatch, payloads: list[bytes]) -> None:
        """The runs' crops and tensors, one behind the other."""
        begin = 0
        for index, (n, rows) in enumerate(zip(task.counts, payloads, strict=True)):
            places = slice(begin, begin + n)
            self._gather_run(task, index, places)
            features = np.frombuffer(rows, np.float32).reshape(-1, FEATURE_SIZE)
            audio_tensors(features, self._audio[places])
            begin += n

    def _gather_run(self, task: RunBatch, index: int, places: slice) -> None:
        """A damaged bundle fails its own job and nobody else's."""
        first, n = task.first_frames[index], task.counts[index]
        try:
            bundle = self._bundles.get(task.bundles[index], task.digests[index])
            bundle.require_family(self._unet.family)
            gather_crops(bundle, range(first, first + n), self._crops[places])
        except BundleError as error:
            self._fail(task.serials[index], "BAD_BUNDLE", str(error))
            self._crops[places] = 0

    def _fail_not_finite(self, task: RunBatch, finite: Bools) -> None:
        """A NaN fails its own job and nobody else's."""
        begin = 0
        for serial, first, n in zip(task.serials, task.first_frames, task.counts, strict=True):
            (bad,) = np.nonzero(~finite[begin : begin + n])
            if len(bad):
                message = f"the model's output holds NaN or infinity in frame {first + bad[0]}"
                self._fail(serial, "MODEL_FAILED", message)
            begin += n

    def _fail(self, serial: int, code: str, message: str) -> None:
        self._process.send(TaskFailed(serial=serial, code=code, message=message))
