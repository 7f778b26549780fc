"""The inference worker by itself: real model and ring, a process that only listens."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from workers.devices import Device
from workers.features.rows import audio_tensors
from workers.frames import crops_of
from workers.inference import InferenceWorker, warm_sizes
from workers.model import Model
from workers.pair import ModelPair
from workers.protocol import BatchDone, LoadModel, ReleaseSlots, RunBatch, TaskFailed
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


class Held(Counting):
    """A U-Net that computes nothing until it may."""

    def __init__(self, unet: UNet) -> None:
        super().__init__(unet, unet.provider)
        self.go = threading.Event()
        self.go.set()

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools:
        assert self.go.wait(60)
        return super().paint_into(crops, audio, painted)


@pytest.fixture(scope="module")
def unet() -> UNet:
    return load_unet(ModelPair.find(TINY_MODEL))


@pytest.fixture
def segment() -> Iterator[Segment]:
    name = segment_name(farm="unittest", what="inference", counter=1)
    with create(name, LAYOUT.total_bytes) as segment:
        yield segment


@pytest.fixture
def writer(segment: Segment) -> RingWriter:
    return RingWriter(segment, LAYOUT, epoch=1)


@contextmanager
def at_work(
    process: Listener, unet: UNet | Counting, writer: RingWriter
) -> Iterator[InferenceWorker]:
    """A worker whose one model is ``m``."""
    load = lambda _directory: unet  # noqa: E731
    worker = InferenceWorker(process, load, writer, Device("cpu"))  # type: ignore[arg-type]
    try:
        worker.handle(LoadModel(model="m", directory="anywhere"), [])
        worker.finish()
        process.sent.clear()
        yield worker
    finally:
        worker.close()


@pytest.fixture
def rows(rng: np.random.Generator) -> F32:
    return rng.random((3 + 15, 512), np.float32)


def task(bundle: Bundle, digest: str = "") -> RunBatch:
    return RunBatch(
        batch=7,
        model="m",
        serials=[1],
        bundles=[str(bundle.directory)],
        digests=[digest or bundle.manifest.digest],
        first_frames=[5],
        counts=[3],
    )


@pytest.mark.parametrize(
    ("provider", "sizes"),
    [("CPUExecutionProvider", [1, 3]), ("CUDAExecutionProvider", [1, 2, 4, BATCH_SIZE])],
)
def test_mouths_land_in_the_ring_and_a_gpu_gets_sizes_that_are_warm(
    writer: RingWriter,
    model: Model,
    unet: UNet,
    edge_bundle: Bundle,
    rows: F32,
    provider: str,
    sizes: list[int],
) -> None:
    process, counting = Listener(), Counting(unet, provider)

    with at_work(process, counting, writer) as worker:
        worker.handle(task(edge_bundle), [rows.tobytes()])
        worker.finish()

    done = process.done()
    assert (counting.sizes, len(done.slots), done.batch) == (sizes, 3, 7)
    wanted = model.paint(crops_of(edge_bundle, range(5, 8)), audio_tensors(rows))
    assert np.array_equal(slots_read(writer.name, done), wanted)


def slots_read(name: str, done: BatchDone) -> U8:
    with attach(name) as other:
        reader = RingReader(other)
        starts = [reader.layout.slot_offset(slot) for slot in done.slots]
        size = reader.layout.slot_bytes
        copies = [bytes(other.view[start : start + size]) for start in starts]
    return np.frombuffer(b"".join(copies), np.uint8).reshape(-1, *FAMILY.painted_shape)


def test_a_bundle_that_was_replaced_fails_its_job_and_ends_the_batch(
    writer: RingWriter, unet: UNet, edge_bundle: Bundle, rows: F32
) -> None:
    process = Listener()

    with at_work(process, unet, writer) as worker:
        worker.handle(task(edge_bundle, digest="of another one"), [rows.tobytes()])
        worker.finish()

    failure, done = process.sent
    assert isinstance(failure, TaskFailed)
    assert (failure.serial, failure.code) == (1, "BAD_BUNDLE")
    assert len(done.slots) == 3


def test_released_slots_can_be_filled_again(
    writer: RingWriter, unet: UNet, edge_bundle: Bundle, rows: F32
) -> None:
    process = Listener()

    with at_work(process, unet, writer) as worker:
        for _ in range(5):  # more batches than blocks
            process.sent.clear()
            worker.handle(task(edge_bundle), [rows.tobytes()])
            worker.finish()
            done = process.done()
            worker.handle(ReleaseSlots(slots=done.slots, generations=done.generations), [])

    assert writer.n_free_blocks == 2


def test_the_next_batch_is_gathered_while_one_is_computed(
    writer: RingWriter, unet: UNet, edge_bundle: Bundle, rows: F32
) -> None:
    process, slow = Listener(), Held(unet)

    with at_work(process, slow, writer) as worker:
        slow.go.clear()
        for _ in range(2):
            worker.handle(task(edge_bundle), [rows.tobytes()])
        worker.collect()
        assert process.sent == []
        assert worker.holds_beats
        slow.go.set()
        worker.finish()

    first, second = process.sent
    assert slots_differ(first, second)


def slots_differ(first: BatchDone, second: BatchDone) -> bool:
    return not set(first.slots) & set(second.slots)


def test_a_reset_waits_for_the_batch_under_way_and_says_nothing_of_it(
    writer: RingWriter, unet: UNet, edge_bundle: Bundle, rows: F32
) -> None:
    process, slow = Listener(), Held(unet)

    with at_work(process, slow, writer) as worker:
        slow.go.clear()
        worker.handle(task(edge_bundle), [rows.tobytes()])
        slow.go.set()
        worker.reset()

    assert process.sent == []
    assert writer.n_free_blocks == 2


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1]), (4, [1, 2, 4]), (25, [1, 2, 4, 8, 16, 25])]
)
def test_sizes_to_warm_are_few_and_waste_less_than_half(batch_size: int, sizes: list[int]) -> None:
    assert warm_sizes(batch_size) == sizes
    for n in range(1, batch_size + 1):
        assert next(size for size in sizes if size >= n) < 2 * n
