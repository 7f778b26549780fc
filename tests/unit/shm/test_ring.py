from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from shm import layout as words
from shm.errors import IllegalTransition, NotARing, RingFull, StaleDescriptor
from shm.layout import RingLayout
from shm.ring import Descriptor, RingReader, RingWriter
from shm.segment import Segment, attach, create

EPOCH = 2**63 + 5


@pytest.fixture
def writer(segment: Segment, layout: RingLayout) -> RingWriter:
    return RingWriter(segment, layout, EPOCH)


@pytest.fixture
def reader(writer: RingWriter) -> Iterator[RingReader]:
    with attach(writer.name) as attached:
        yield RingReader(attached)


def fill(writer: RingWriter, values: list[int]) -> list[Descriptor]:
    """A block published with one slot for each value, all its bytes that value."""
    block = writer.claim_block()
    slots = np.frombuffer(writer.block_view(block, len(values)), np.uint8).reshape(len(values), -1)
    slots[:] = np.array(values)[:, None]
    return writer.publish(block, [(value, value + 1) for value in values])


def test_a_reader_sees_what_the_writer_put_into_each_slot(
    writer: RingWriter, reader: RingReader
) -> None:
    descriptors = fill(writer, [1, 2, 3]) + fill(writer, [4, 5])

    contents = [set(reader.view(descriptor)) for descriptor in descriptors]

    assert contents == [{1}, {2}, {3}, {4}, {5}]
    assert {len(reader.view(d)) for d in descriptors} == {128}
    assert [reader.tags(d) for d in descriptors] == [(n, n + 1) for n in range(1, 6)]


def test_a_descriptor_says_ring_epoch_slot_and_generation(
    writer: RingWriter, segment: Segment
) -> None:
    fill(writer, [1])

    assert fill(writer, [2, 3]) == [
        Descriptor(ring=segment.name, epoch=EPOCH, slot=3, generation=0),
        Descriptor(ring=segment.name, epoch=EPOCH, slot=4, generation=0),
    ]


def test_a_reader_that_attaches_finds_the_layout_in_the_segment(
    writer: RingWriter, layout: RingLayout
) -> None:
    [descriptor] = fill(writer, [7])

    with attach(writer.name) as attached:
        reader = RingReader(attached)
        assert reader.layout == layout
        assert set(reader.view(descriptor)) == {7}


def test_a_reader_cannot_write(writer: RingWriter, reader: RingReader) -> None:
    [descriptor] = fill(writer, [7])

    view = reader.view(descriptor)

    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 1


def test_slots_start_on_cache_lines_in_real_memory(writer: RingWriter, reader: RingReader) -> None:
    descriptors = fill(writer, [1, 2, 3])

    starts = [
        np.frombuffer(reader.view(d), np.uint8).__array_interface__["data"][0] for d in descriptors
    ]

    assert [start % 64 for start in starts] == [0, 0, 0]


def test_a_released_slot_is_stale_at_once_and_its_block_can_be_claimed_again(
    writer: RingWriter, reader: RingReader
) -> None:
    [old] = fill(writer, [1])
    fill(writer, [2])
    with pytest.raises(RingFull):
        writer.claim_block()

    writer.release(old.slot, old.generation)

    with pytest.raises(StaleDescriptor, match="the slot is at generation 1"):
        reader.view(old)
    [new] = fill(writer, [3])
    assert (new.slot, new.generation) == (old.slot, 1)
    assert set(reader.view(new)) == {3}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ring": "lipfarm-another-ring-0"}, "this is ring lipfarm-"),
        ({"epoch": EPOCH + 1}, f"this is epoch {EPOCH}"),
        ({"slot": 6}, "the ring has 6 slots"),
        ({"slot": -1}, "the ring has 6 slots"),
        ({"generation": 1}, "the slot is at generation 0"),
    ],
)
def test_a_descriptor_that_differs_in_anything_is_stale(
    writer: RingWriter, reader: RingReader, change: dict[str, int | str], complaint: str
) -> None:
    [descriptor] = fill(writer, [1])
    stale = replace(descriptor, **change)  # type: ignore[arg-type]  # as wrong as it can get

    with pytest.raises(StaleDescriptor, match=complaint):
        reader.view(stale)
    with pytest.raises(StaleDescriptor, match=complaint):
        reader.tags(stale)


def test_a_new_writer_of_the_segment_makes_all_earlier_descriptors_stale(
    writer: RingWriter, reader: RingReader, segment: Segment, layout: RingLayout
) -> None:
    [descriptor] = fill(writer, [1])

    RingWriter(segment, layout, EPOCH + 1)

    with pytest.raises(StaleDescriptor, match=f"this is epoch {EPOCH + 1}"):
        reader.view(descriptor)


def test_a_new_writer_starts_from_generation_0_whatever_the_earlier_one_left(
    writer: RingWriter, reader: RingReader, segment: Segment, layout: RingLayout
) -> None:
    [old] = fill(writer, [1])
    writer.release(old.slot, old.generation)

    [new] = fill(RingWriter(segment, layout, EPOCH + 1), [2])

    assert new == replace(old, epoch=EPOCH + 1)
    assert set(reader.view(new)) == {2}


def test_an_abandoned_block_is_free_again(writer: RingWriter) -> None:
    writer.abandon(writer.claim_block())

    assert writer.n_free_blocks == 2


def test_only_a_claimed_block_is_written(writer: RingWriter) -> None:
    block = writer.claim_block()
    writer.publish(block, [(0, 0)])

    for claimed_no_more in (block, block + 1):
        with pytest.raises(IllegalTransition):
            writer.block_view(claimed_no_more, 1)


@pytest.mark.parametrize("n_slots", [0, 4])
def test_a_view_ends_with_its_block(writer: RingWriter, n_slots: int) -> None:
    block = writer.claim_block()

    with pytest.raises(ValueError, match=f"n_slots = {n_slots}: must be 1..3"):
        writer.block_view(block, n_slots)


@pytest.mark.parametrize("tags", [[], [(0, 0)] * 4, [(0, -1)], [(0, 0), (2**64, 0)]])
def test_tags_that_fit_no_block_publish_nothing(
    writer: RingWriter, tags: list[tuple[int, int]]
) -> None:
    block = writer.claim_block()

    with pytest.raises(ValueError, match=r"n_slots|format"):
        writer.publish(block, tags)

    assert len(writer.publish(block, [(0, 0)] * 3)) == 3


def test_a_ring_closes_while_arrays_over_its_slots_live(name: str, layout: RingLayout) -> None:
    with create(name, layout.total_bytes) as segment:
        writer = RingWriter(segment, layout, EPOCH)
        [descriptor] = fill(writer, [9])
        array = np.frombuffer(RingReader(segment).view(descriptor), np.uint8)

    assert set(array) == {9}
    with pytest.raises(ValueError, match="closed"):
        writer.block_view(writer.claim_block(), 1)


def test_a_segment_of_another_size_gets_no_writer(segment: Segment, layout: RingLayout) -> None:
    with pytest.raises(NotARing, match=f"has {segment.size} bytes, .* needs {segment.size + 64}"):
        RingWriter(segment, RingLayout(1, 1, layout.n_slots * 128 + 64), EPOCH)


@pytest.mark.parametrize(
    ("word", "value", "complaint"),
    [
        (words.WORD_MAGIC, 0, "starts with 0x0"),
        (words.WORD_VERSION, 2, "has layout version 2, we read 1"),
        (words.WORD_N_BLOCKS, 0, "n_blocks = 0"),
        (words.WORD_N_BLOCKS, 3, "needs"),
        (words.WORD_SLOTS_PER_BLOCK, 2**64 - 1, "needs"),
        (words.WORD_SLOT_BYTES, 100, "multiple of 64"),
    ],
)
@pytest.mark.usefixtures("writer")
def test_a_header_that_does_not_fit_is_not_a_ring(
    segment: Segment, word: int, value: int, complaint: str
) -> None:
    segment.words(words.N_HEADER_WORDS)[word] = value

    with pytest.raises(NotARing, match=complaint):
        RingReader(segment)


def test_a_segment_nobody_wrote_to_is_not_a_ring(segment: Segment) -> None:
    with pytest.raises(NotARing, match="starts with 0x0"):
        RingReader(segment)


def test_less_than_a_page_is_not_a_ring(name: str) -> None:
    with create(name, 100) as segment, pytest.raises(NotARing, match="has 100 bytes"):
        RingReader(segment)
