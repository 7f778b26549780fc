"""The inference worker by itself: real model and ring, a process that only listens."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from farm.paths import TINY_MODEL
from shm.layout import RingLayout
from shm.ring import RingReader, RingWriter
from shm.segment import Segment, attach, create, segment_name
from tests.material import FAMILY
from workers.arrays import F32, U8, Bools
from workers.avatar import Bundle
from workers.features.rows import audio_tensors
from workers.frames import crops_of
from workers.inference import InferenceWorker
from workers.model import Model
from workers.pair import ModelPair
from workers.protocol import BatchDone, ReleaseSlots, RunBatch, TaskFailed
from workers.unet import UNet, load_unet

BATCH_SIZE = 4
LAYOUT = RingLayout(n_blocks=2, slots_per_block=BATCH_SIZE, slot_bytes=FAMILY.slot_bytes)


class Listener:
    """What a worker process would have sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: object, payloads: Sequence[object] = ()) -> None:
        assert not payloads
        self.sent.append(message)

    def announce(self, phase: str, silent_s: float) -> None:
        assert phase
        assert silent_s > 0

    def done(self) -> BatchDone:
        (message,) = [message for message in self.sent if isinstance(message, BatchDone)]
        return message


class Counting:
    """A U-Net that remembers the sizes of its batches."""

    def __init__(self, unet: UNet, provider: str) -> None:
        self.family, self.provider = unet.family, provider
        self._unet = unet
        self.sizes: list[int] = []

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        self.sizes.append(len(crops))
        return self._unet.paint_into(crops, audio, painted)


@pytest.fixture(scope="module")
def unet() -> UNet:
    return load_unet(ModelPair.find(TINY_MODEL))


@pytest.fixture
def segment() -> Iterator[Segment]:
    name = segment_name(farm="unittest", what="inference", counter=1)
    with create(name, LAYOUT.total_bytes) as segment:
        yield segment


@pytest.fixture
def rows(rng: np.random.Generator) -> F32:
    return rng.random((3 + 15, 512), np.float32)


def task(bundle: Bundle, digest: str = "") -> RunBatch:
    return RunBatch(
        batch=7,
        serials=[1],
        bundles=[str(bundle.directory)],
        digests=[digest or bundle.manifest.digest],
        first_frames=[5],
        counts=[3],
    )


@pytest.mark.parametrize(
    ("provider", "size"), [("CPUExecutionProvider", 3), ("CUDAExecutionProvider", BATCH_SIZE)]
)
def test_mouths_land_in_the_ring_and_a_gpu_gets_one_batch_size(
    segment: Segment,
    model: Model,
    unet: UNet,
    edge_bundle: Bundle,
    rows: F32,
    provider: str,
    size: int,
) -> None:
    process, counting = Listener(), Counting(unet, provider)
    writer = RingWriter(segment, LAYOUT, epoch=1)
    worker = InferenceWorker(process, counting, writer)  # type: ignore[arg-type]

    worker.handle(task(edge_bundle), [rows.tobytes()])

    done = process.done()
    assert (counting.sizes, len(done.slots), done.batch) == ([size], 3, 7)
    wanted = model.paint(crops_of(edge_bundle, range(5, 8)), audio_tensors(rows))
    assert np.array_equal(slots_read(segment.name, done), wanted)


def slots_read(name: str, done: BatchDone) -> U8:
    with attach(name) as other:
        reader = RingReader(other)
        starts = [reader.layout.slot_offset(slot) for slot in done.slots]
        size = reader.layout.slot_bytes
        copies = [bytes(other.view[start : start + size]) for start in starts]
    return np.frombuffer(b"".join(copies), np.uint8).reshape(-1, *FAMILY.painted_shape)


def test_a_bundle_that_was_replaced_fails_its_job_and_ends_the_batch(
    segment: Segment, unet: UNet, edge_bundle: Bundle, rows: F32
) -> None:
    process = Listener()
    writer = RingWriter(segment, LAYOUT, epoch=1)
    worker = InferenceWorker(process, unet, writer)  # type: ignore[arg-type]

    worker.handle(task(edge_bundle, digest="of another one"), [rows.tobytes()])

    failure, done = process.sent
    assert isinstance(failure, TaskFailed)
    assert (failure.serial, failure.code) == (1, "BAD_BUNDLE")
    assert len(done.slots) == 3


def test_released_slots_can_be_filled_again(
    segment: Segment, unet: UNet, edge_bundle: Bundle, rows: F32
) -> None:
    process = Listener()
    writer = RingWriter(segment, LAYOUT, epoch=1)
    worker = InferenceWorker(process, unet, writer)  # type: ignore[arg-type]

    for _ in range(5):  # more batches than blocks
        process.sent.clear()
        worker.handle(task(edge_bundle), [rows.tobytes()])
        done = process.done()
        worker.handle(ReleaseSlots(slots=done.slots, generations=done.generations), [])

    assert writer.n_free_blocks == 2
