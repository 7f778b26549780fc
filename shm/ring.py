"""A ring of slots over a segment: one writer, any number of readers.

A message hands over a slot, never a flag in memory: the writer's stores are done before the
descriptor leaves through a socket, and the socket's system calls order the two processes.  The
shared words below only validate; nobody waits on one.

    bytes                 written by, when               read by, when
    magic, version,       the writer, once, before       each reader, once, when it attaches
      the three sizes       anybody hears of the ring
    epoch                 the writer, once, likewise     readers, with every descriptor
    generation of a slot  the writer, at release         readers, with every descriptor
    tags of a slot        the writer, before a publish   readers, after the descriptor arrived
    bytes of a slot       the writer, WRITING only       the one that holds the slot's lease

A reader whose lease is good can see no other generation: the slot is released only when that
lease has ended, or whoever gave it is dead (`RingWriter.take_back`).  A late reader sees the next
one and is told `StaleDescriptor`.

Words are stored as ``words[i] = v``, one aligned 8-byte store.  Not ``struct.pack_into``: it
writes zeros first, and readers see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shm.errors import NotARing, StaleDescriptor
from shm.fail_points import fail_point
from shm.layout import (
    LAYOUT_VERSION,
    MAGIC,
    N_HEADER_WORDS,
    PAGE_BYTES,
    WORD_EPOCH,
    WORD_MAGIC,
    WORD_N_BLOCKS,
    WORD_SLOT_BYTES,
    WORD_SLOTS_PER_BLOCK,
    WORD_VERSION,
    RingLayout,
)
from shm.ledger import Ledger, SlotState
from shm.segment import Segment


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What travels instead of a slot's bytes: which slot, and the fill of it that is meant."""

    ring: str  #: the segment's name
    epoch: int
    slot: int
    generation: int


class RingWriter:
    """The writing end.  One thread of one process has it, for the ring's life.

    ``epoch`` tells this writer from an earlier one of the same segment.  The segment must have
    exactly the layout's size, else `NotARing`.
    """

    def __init__(self, segment: Segment, layout: RingLayout, epoch: int) -> None:
        if segment.size != layout.total_bytes:
            raise NotARing(_wrong_size(segment, layout))
        self.layout = layout
        self.epoch = epoch
        self._segment = segment
        self._ledger = Ledger(layout)
        self._words = segment.words(layout.n_words)
        self._write_words()

    @property
    def name(self) -> str:
        return self._segment.name

    @property
    def n_free_blocks(self) -> int:
        return self._ledger.n_free_blocks

    def claim_block(self) -> int:
        """The next free block, ours to write; raises `RingFull` and never waits."""
        return self._ledger.try_claim()

    def block_view(self, block: int, n_slots: int) -> memoryview:
        """The first ``n_slots`` slots of a claimed block as one writable run of bytes.

        Nothing may write through it after `publish`: a reader may be looking.
        """
        slots = self._claimed_slots(block, n_slots)
        start = self.layout.slot_offset(slots[0])
        return self._segment.view[start : start + n_slots * self.layout.slot_bytes]

    def publish(self, block: int, tags: Sequence[tuple[int, int]]) -> list[Descriptor]:
        """Lend one slot for each pair of tags, from the block's first on; the rest are free.

        Tags are two unsigned 64-bit integers that the ring carries and does not read.  Call it when
        the block is filled: a reader may look as soon as a descriptor leaves.
        """
        slots = self._claimed_slots(block, len(tags))
        # Tags before the move: one that is no word raises here, and the block is still ours.
        for slot, pair in zip(slots, tags, strict=True):
            for word, tag in zip(self.layout.tag_words(slot), pair, strict=True):
                self._words[word] = tag
        fail_point("ring.tagged")
        generations = self._ledger.publish(block, len(slots))
        return [
            Descriptor(ring=self.name, epoch=self.epoch, slot=slot, generation=generation)
            for slot, generation in zip(slots, generations, strict=True)
        ]

    def abandon(self, block: int) -> None:
        """Give a claimed block back: what was to fill it failed."""
        self._ledger.abandon(block)

    def release(self, slot: int, generation: int) -> None:
        """Free a lent slot whose reader is done, or dead and reaped.

        Raises `StaleDescriptor` for any generation but the one lent.
        """
        self._words[self.layout.generation_word(slot)] = self._ledger.release(slot, generation)

    def take_back(self) -> None:
        """Free every lent slot, whoever reads it: those who lent them for us are dead.

        A reader that is late is told `StaleDescriptor`, or reads what the next batch writes: what
        it makes of it must not be used.
        """
        for slot in range(self.layout.n_slots):
            if self._ledger.state(slot) is SlotState.LENT:
                self.release(slot, self._ledger.generation(slot))

    def _claimed_slots(self, block: int, n_slots: int) -> range:
        """The first slots of a block that is being written."""
        self._ledger.require_writing(block)
        if not 1 <= n_slots <= self.layout.slots_per_block:
            raise ValueError(f"n_slots = {n_slots}: must be 1..{self.layout.slots_per_block}")
        return self.layout.block_slots(block)[:n_slots]

    def _write_words(self) -> None:
        words, layout = self._words, self.layout
        # Magic away first and back last: killed in between, this leaves no ring.
        words[WORD_MAGIC] = 0
        words[WORD_VERSION] = LAYOUT_VERSION
        words[WORD_EPOCH] = self.epoch
        words[WORD_N_BLOCKS] = layout.n_blocks
        words[WORD_SLOTS_PER_BLOCK] = layout.slots_per_block
        words[WORD_SLOT_BYTES] = layout.slot_bytes
        for word in range(N_HEADER_WORDS, layout.n_words):
            words[word] = 0
        words[WORD_MAGIC] = MAGIC


class RingReader:
    """A reading end.  Raises `NotARing` unless the segment holds a ring of our version."""

    def __init__(self, segment: Segment) -> None:
        self.layout = _read_layout(segment)
        self._segment = segment
        self._words = segment.words(self.layout.n_words)

    @property
    def name(self) -> str:
        return self._segment.name

    def view(self, descriptor: Descriptor) -> memoryview:
        """The bytes of a leased slot, read-only; good until its release.

        Raises `StaleDescriptor`.
        """
        self._require_current(descriptor)
        start = self.layout.slot_offset(descriptor.slot)
        return self._segment.view[start : start + self.layout.slot_bytes].toreadonly()

    def tags(self, descriptor: Descriptor) -> tuple[int, int]:
        """The two tags that a leased slot was published with.  Raises `StaleDescriptor`."""
        self._require_current(descriptor)
        first, second = self.layout.tag_words(descriptor.slot)
        return self._words[first], self._words[second]

    def _require_current(self, descriptor: Descriptor) -> None:
        if descriptor.ring != self.name:
            raise StaleDescriptor(f"{descriptor}: this is ring {self.name}")
        if descriptor.epoch != self._words[WORD_EPOCH]:
            raise StaleDescriptor(f"{descriptor}: this is epoch {self._words[WORD_EPOCH]}")
        if not self.layout.has_slot(descriptor.slot):
            raise StaleDescriptor(f"{descriptor}: the ring has {self.layout.n_slots} slots")
        generation = self._words[self.layout.generation_word(descriptor.slot)]
        if descriptor.generation != generation:
            raise StaleDescriptor(f"{descriptor}: the slot is at generation {generation}")


def _read_layout(segment: Segment) -> RingLayout:
    if segment.size < PAGE_BYTES:
        raise NotARing(f"{segment.name} has {segment.size} bytes, less than a ring's first page")
    words = segment.words(N_HEADER_WORDS)
    if words[WORD_MAGIC] != MAGIC:
        raise NotARing(f"{segment.name} starts with {words[WORD_MAGIC]:#x}, not {MAGIC:#x}")
    if words[WORD_VERSION] != LAYOUT_VERSION:
        raise NotARing(
            f"{segment.name} has layout version {words[WORD_VERSION]}, we read {LAYOUT_VERSION}"
        )
    try:
        layout = RingLayout(
            n_blocks=words[WORD_N_BLOCKS],
            slots_per_block=words[WORD_SLOTS_PER_BLOCK],
            slot_bytes=words[WORD_SLOT_BYTES],
        )
    except ValueError as error:
        raise NotARing(f"{segment.name}: {error}") from error
    if segment.size != layout.total_bytes:
        raise NotARing(_wrong_size(segment, layout))
    return layout


def _wrong_size(segment: Segment, layout: RingLayout) -> str:
    return f"{segment.name} has {segment.size} bytes, {layout} needs {layout.total_bytes}"
