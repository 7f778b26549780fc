"""The inference worker: batches in, painted crops into the slots of its own ring.

The model writes its output where compositors will read it; only descriptors travel.  It runs on a
thread of its own (`workers.batch_runner`): while it computes a batch, the next one is gathered.
"""

import time
from dataclasses import dataclass

import numpy as np

from shm.fail_points import fail_point
from shm.ring import RingWriter
from workers.arrays import F32, U8, Bools
from workers.batch_runner import BatchRunner, Ran
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
N_BUFFERS = 2  #: one batch is computed, the next one gathered: the broker sends no more


@dataclass(frozen=True, slots=True)
class _Buffers:
    """Where batches are gathered.  Places that one does not fill keep an earlier one's frames."""

    crops: U8  #: (batch size, C, C, 3)
    audio: F32  #: tensors, (batch size, 32, 16, 16)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Gathered, and given its place in the ring."""

    task: RunBatch
    block: int
    buffers: _Buffers
    painted: U8  #: the block's slots that the model fills, (n, C, C, 4)

    @property
    def n_frames(self) -> int:
        return sum(self.task.counts)


class InferenceWorker:
    """Runs batches.  Between two of them it holds the ring's slots that are lent."""

    def __init__(self, process: WorkerProcess, unet: UNet, ring: RingWriter) -> None:
        self._process = process
        self._unet = unet
        self._ring = ring
        batch_size = ring.layout.slots_per_block
        # A GPU picks other kernels for other batch sizes, and searches for them each time.
        self._sizes = None if unet.provider == CPU else warm_sizes(batch_size)
        self._free_buffers = [self._new_buffers(batch_size) for _ in range(N_BUFFERS)]
        self._bundles = OpenBundles()
        self._patience = Patience(FIRST_BATCH_S, FIRST_FRAME_S)
        self._n_in_hand = 0  #: frames
        self._runner: BatchRunner[_Batch, Bools | ModelError] = BatchRunner(self._paint)
        self.fd = self._runner.fd

    def _new_buffers(self, n: int) -> _Buffers:
        family = self._unet.family
        crops = np.zeros((n, *family.crop_shape), np.uint8)
        return _Buffers(crops, np.zeros((n, *family.audio_shape), np.float32))

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
        self._process.serve(self.handle, ready=ready, reset=self.reset, behind=self)

    def _warm_up(self) -> None:
        """All sizes a GPU is given; on a CPU the first run of a size is as quick as the next."""
        buffers = self._free_buffers[0]
        for n in self._sizes or [1]:
            painted = np.empty((n, *self._unet.family.painted_shape), np.uint8)
            self._unet.paint_into(buffers.crops[:n], buffers.audio[:n], painted)

    def _n_run(self, n: int) -> int:
        """Frames the model is given for a batch of ``n``."""
        return next(size for size in self._sizes if size >= n) if self._sizes else n

    def handle(self, task: RunBatch | ReleaseSlots, payloads: list[bytes]) -> None:
        match task:
            case ReleaseSlots():
                fail_point("inference.releasing")
                for slot, generation in zip(task.slots, task.generations, strict=True):
                    self._ring.release(slot, generation)
                fail_point("inference.released")
            case RunBatch():
                self._run(task, payloads)

    # What `WorkerProcess.serve` calls while batches are run.

    @property
    def is_busy(self) -> bool:
        return self._runner.is_busy

    def collect(self) -> None:
        """Answer for the batches that are done."""
        for ran in self._runner.done():
            self._answer(ran)

    def finish(self) -> None:
        """Wait for what is under way, and answer for it."""
        for ran in self._runner.wait():
            self._answer(ran)

    def close(self) -> None:
        """No batch may be put in any more."""
        self._runner.close()

    def reset(self) -> None:
        """Nothing may write into a slot that another broker's batch is given."""
        for ran in self._runner.wait():
            self._take_buffers(ran.batch)
            self._ring.abandon(ran.batch.block)
        # A compositor may still read one for the dead broker: nobody hears what comes of it.
        self._ring.take_back()

    # The way of a batch.

    def _run(self, task: RunBatch, payloads: list[bytes]) -> None:
        fail_point("inference.batch_taken")
        arrived = time.perf_counter()
        n = sum(task.counts)
        self._n_in_hand += n
        self._process.announce("running batches", self._patience.allowed_s(self._n_in_hand))
        block = self._ring.claim_block()
        fail_point("inference.claimed")
        buffers = self._free_buffers.pop()
        self._gather(task, payloads, buffers)
        n_run = self._n_run(n)
        slots = np.frombuffer(self._ring.block_view(block, n_run), np.uint8)
        painted = slots.reshape(n_run, *self._unet.family.painted_shape)
        fail_point("inference.gathered")
        self._runner.put(_Batch(task, block, buffers, painted), arrived)

    def _paint(self, batch: _Batch) -> Bools | ModelError:
        """On the runner's thread."""
        n, buffers = len(batch.painted), batch.buffers
        try:
            finite = self._unet.paint_into(buffers.crops[:n], buffers.audio[:n], batch.painted)
        except ModelError as error:
            return error
        finally:
            fail_point("inference.written")
        return finite

    def _answer(self, ran: Ran[_Batch, Bools | ModelError]) -> None:
        batch, task, finite = ran.batch, ran.batch.task, ran.outcome
        if isinstance(finite, ModelError):
            for serial in set(task.serials):
                self._fail(serial, "MODEL_FAILED", str(finite))
        else:
            self._fail_not_finite(task, finite)
        self._take_buffers(batch)
        self._patience.took(ran.busy_s, batch.n_frames)
        # Publish after the model has returned: a reader may look as soon as a descriptor leaves.
        lent = self._ring.publish(batch.block, [(task.batch, k) for k in range(batch.n_frames)])
        fail_point("inference.published")
        self._process.send(
            BatchDone(
                batch=task.batch,
                slots=[descriptor.slot for descriptor in lent],
                generations=[descriptor.generation for descriptor in lent],
                busy_ms=1e3 * ran.busy_s,
                idle_ms=1e3 * ran.idle_s,
            )
        )
        fail_point("inference.done_sent")
        if self._n_in_hand:
            self._process.announce("running batches", self._patience.allowed_s(self._n_in_hand))

    def _take_buffers(self, batch: _Batch) -> None:
        self._free_buffers.append(batch.buffers)
        self._n_in_hand -= batch.n_frames

    def _gather(self, task: RunBatch, payloads: list[bytes], buffers: _Buffers) -> None:
        """The runs' crops and tensors, one behind the other."""
        begin = 0
        for index, (n, rows) in enumerate(zip(task.counts, payloads, strict=True)):
            places = slice(begin, begin + n)
            self._gather_run(task, index, buffers.crops[places])
            features = np.frombuffer(rows, np.float32).reshape(-1, FEATURE_SIZE)
            audio_tensors(features, buffers.audio[places])
            begin += n

    def _gather_run(self, task: RunBatch, index: int, crops: U8) -> None:
        """A damaged bundle fails its own job and nobody else's."""
        first, n = task.first_frames[index], task.counts[index]
        try:
            bundle = self._bundles.get(task.bundles[index], task.digests[index])
            bundle.require_family(self._unet.family)
            gather_crops(bundle, range(first, first + n), crops)
        except BundleError as error:
            self._fail(task.serials[index], "BAD_BUNDLE", str(error))
            crops[...] = 0

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


def warm_sizes(batch_size: int) -> list[int]:
    """The sizes that batches are padded to: at most twice the frames, for a few sizes to warm."""
    powers = [1 << k for k in range(batch_size.bit_length())]
    return sorted({*powers, batch_size} - {p for p in powers if p > batch_size})
