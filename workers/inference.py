"""The inference worker: batches in, painted crops into the slots of its own ring.

The model writes its output where compositors will read it; only descriptors travel.  Batches run on
a thread of their own: while one is computed, the next one is gathered.  Several models may be
loaded; batches take turns, since two at a time would share one device and neither be quicker.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shm.fail_points import fail_point
from shm.ring import RingWriter
from workers.arrays import U8, Bools
from workers.cuda import device_memory
from workers.devices import Device
from workers.errors import ModelError
from workers.gathering import Gathered, Gatherer
from workers.loaded_models import LoadedModels
from workers.memory import in_use
from workers.model import Paints
from workers.patience import Patience
from workers.process import WorkerProcess
from workers.protocol import (
    BatchDone,
    LoadModel,
    Ready,
    ReleaseSlots,
    RunBatch,
    TaskFailed,
    UnloadModel,
)
from workers.session import CPU
from workers.task_thread import Ran, TaskThread

WARM_S = 300.0  #: a first CUDA run compiles and searches
FIRST_BATCH_S, FIRST_FRAME_S = 60.0, 5.0  #: of a model's first batch, and for each of its frames


@dataclass(frozen=True, slots=True)
class _Batch:
    """Gathered, and given its place in the ring."""

    task: RunBatch
    unet: Paints
    block: int
    gathered: Gathered
    painted: U8  #: the block's slots that the model fills, (n, C, C, 4)

    @property
    def n_frames(self) -> int:
        return sum(self.task.counts)


class InferenceWorker:
    """Runs batches.  Between two of them it holds its models and the ring's slots that are lent."""

    def __init__(
        self,
        process: WorkerProcess,
        load: Callable[[Path], Paints],
        ring: RingWriter,
        device: Device,
    ) -> None:
        """``load`` : a model's directory to its U-Net; raises ModelError."""
        self._process = process
        self._load = load
        self._ring = ring
        self._device = device
        self._batch_size = ring.layout.slots_per_block
        self._models: LoadedModels[Paints] = LoadedModels(process, self._load_warm, in_use(device))
        self._gatherer = Gatherer(self._batch_size, partial(self._fail, "BAD_BUNDLE"))
        self._patience: dict[str, Patience] = {}
        self._in_hand: list[RunBatch] = []
        self._batches: TaskThread[_Batch, Bools | ModelError] = TaskThread(self._paint, "batches")
        self.fd = self._batches.fd

    def start(self, preload: Mapping[str, Path]) -> None:
        """``preload`` : models by id.  Raises ModelError."""
        self._process.announce("loading and warming up", WARM_S)
        self._models.preload(preload)
        fail_point("inference.warm")
        self._process.send(self._ready())
        fail_point("inference.ready_sent")
        self._process.serve(
            self.handle, ready=self._ready, reset=self.reset, behind=[self, self._models]
        )

    def _ready(self) -> Ready:
        layout = self._ring.layout
        _, device_bytes = (not self._device.is_cpu and device_memory(self._device.index)) or (0, 0)
        return Ready(
            device=str(self._device),
            device_bytes=device_bytes,
            provider=self._models.provider,
            models=self._models.sizes,
            n_blocks=layout.n_blocks,
            batch_size=layout.slots_per_block,
            ring=self._ring.name,
            ring_epoch=self._ring.epoch,
        )

    # Models.

    def _load_warm(self, directory: Path) -> Paints:
        """Ready for any batch: a GPU's first run of a size takes seconds, a CPU's no longer."""
        unet = self._load(directory)
        family = unet.family
        if family.slot_bytes != self._ring.layout.slot_bytes:
            raise ModelError(f"{directory}: its frames do not fit the slots of this farm's ring")
        for n in _sizes(unet, self._batch_size) or [1]:
            gathered = Gathered.zeros(family, n)
            painted = np.empty((n, *family.painted_shape), np.uint8)
            unet.paint_into(gathered.crops, gathered.audio, painted)
        return unet

    def handle(
        self, task: RunBatch | ReleaseSlots | LoadModel | UnloadModel, payloads: list[bytes]
    ) -> None:
        match task:
            case RunBatch():
                self._run(task, payloads)
            case ReleaseSlots():
                fail_point("inference.releasing")
                for slot, generation in zip(task.slots, task.generations, strict=True):
                    self._ring.release(slot, generation)
                fail_point("inference.released")
            case LoadModel() | UnloadModel():
                self._models.handle(task)

    # What `WorkerProcess.serve` calls while batches are run.

    @property
    def holds_beats(self) -> bool:
        return self._batches.is_busy

    def collect(self) -> None:
        """Answer for the batches that are done."""
        for ran in self._batches.done():
            self._answer(ran)

    def finish(self) -> None:
        """Wait for what is under way, and answer for it."""
        for ran in self._batches.wait():
            self._answer(ran)
        self._models.finish()

    def close(self) -> None:
        """Nothing may be asked any more."""
        self._batches.close()
        self._models.close()

    def reset(self) -> None:
        """Nothing may write into a slot that another broker's batch is given."""
        for ran in self._batches.wait():
            self._let_go(ran.task)
            self._ring.abandon(ran.task.block)
        # A compositor may still read one for the dead broker: nobody hears what comes of it.
        self._ring.take_back()

    # The way of a batch.

    def _run(self, task: RunBatch, payloads: list[bytes]) -> None:
        fail_point("inference.batch_taken")
        arrived = time.perf_counter()
        self._in_hand.append(task)
        self._announce()
        block = self._ring.claim_block()
        fail_point("inference.claimed")
        unet = self._models[task.model]
        gathered = self._gatherer.gather(task, payloads, unet.family)
        n = sum(task.counts)
        sizes = _sizes(unet, self._batch_size)
        n_run = next(size for size in sizes if size >= n) if sizes else n
        slots = np.frombuffer(self._ring.block_view(block, n_run), np.uint8)
        painted = slots.reshape(n_run, *unet.family.painted_shape)
        fail_point("inference.gathered")
        self._batches.put(_Batch(task, unet, block, gathered, painted), arrived)

    def _announce(self) -> None:
        allowed_s = sum(
            self._patience_with(task.model).allowed_s(sum(task.counts)) for task in self._in_hand
        )
        if allowed_s:
            self._process.announce("running batches", allowed_s)

    def _patience_with(self, model: str) -> Patience:
        return self._patience.setdefault(model, Patience(FIRST_BATCH_S, FIRST_FRAME_S))

    def _paint(self, batch: _Batch) -> Bools | ModelError:
        """On the thread."""
        n, gathered = len(batch.painted), batch.gathered
        try:
            return batch.unet.paint_into(gathered.crops[:n], gathered.audio[:n], batch.painted)
        except ModelError as error:
            return error
        finally:
            fail_point("inference.written")

    def _answer(self, ran: Ran[_Batch, Bools | ModelError]) -> None:
        batch, task, finite = ran.task, ran.task.task, ran.outcome
        if isinstance(finite, ModelError):
            for serial in set(task.serials):
                self._fail("MODEL_FAILED", serial, str(finite))
        else:
            self._fail_not_finite(task, finite)
        self._let_go(batch)
        self._patience_with(task.model).took(ran.busy_s, batch.n_frames)
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
                memory_bytes=self._models.charge(task.model),
            )
        )
        fail_point("inference.done_sent")
        self._announce()

    def _let_go(self, batch: _Batch) -> None:
        self._in_hand.remove(batch.task)
        self._gatherer.give_back(batch.unet.family, batch.gathered)

    def _fail_not_finite(self, task: RunBatch, finite: Bools) -> None:
        """A NaN fails its own job and nobody else's."""
        begin = 0
        for serial, first, n in zip(task.serials, task.first_frames, task.counts, strict=True):
            (bad,) = np.nonzero(~finite[begin : begin + n])
            if len(bad):
                message = f"the model's output holds NaN or infinity in frame {first + bad[0]}"
                self._fail("MODEL_FAILED", serial, message)
            begin += n

    def _fail(self, code: str, serial: int, message: str) -> None:
        self._process.send(TaskFailed(serial=serial, code=code, message=message))


def _sizes(unet: Paints, batch_size: int) -> list[int]:
    """What batches are padded to; a CPU takes any size."""
    # A GPU picks other kernels for other batch sizes, and searches for them each time.
    return [] if unet.provider == CPU else warm_sizes(batch_size)


def warm_sizes(batch_size: int) -> list[int]:
    """The sizes that batches are padded to: at most twice the frames, for a few sizes to warm."""
    powers = [1 << k for k in range(batch_size.bit_length())]
    return sorted({*powers, batch_size} - {p for p in powers if p > batch_size})
