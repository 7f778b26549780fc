"""Where everything is in a ring's segment: words in front, slots behind.

Pure arithmetic.  This file opens nothing.

    word 0 .. 5    magic, layout version, epoch, n_blocks, slots_per_block, slot_bytes
    word 6, 7      unused
    then           one generation for each slot
    then           two opaque tags for each slot
    next page      block 0 (slot 0, slot 1, ...), block 1, ...: no gaps, so that the slots of
                   a block are one array

A word is an unsigned 64-bit integer, little-endian (every machine we run on is).
"""

from dataclasses import dataclass

MAGIC = int.from_bytes(b"lipring\0", "little")
LAYOUT_VERSION = 1

WORD_BYTES = 8
LINE_BYTES = 64
"""The cache line of x86-64 and of most arm64: no slot shares one with its neighbour."""
PAGE_BYTES = 4096
"""The smallest page of x86-64 and arm64: slots never share a page with the words."""

WORD_MAGIC = 0
WORD_VERSION = 1
WORD_EPOCH = 2
WORD_N_BLOCKS = 3
WORD_SLOTS_PER_BLOCK = 4
WORD_SLOT_BYTES = 5
N_HEADER_WORDS = 8
"""A whole cache line, so that generations start on their own."""
N_TAGS = 2


@dataclass(frozen=True, slots=True)
class RingLayout:
    """A ring of ``n_blocks`` blocks, each of ``slots_per_block`` slots of ``slot_bytes`` bytes.

    ``slot_bytes`` is a multiple of 64: an aligned slot and a block without gaps need it.
    """

    n_blocks: int
    slots_per_block: int
    slot_bytes: int

    def __post_init__(self) -> None:
        for what in ("n_blocks", "slots_per_block", "slot_bytes"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what} = {getattr(self, what)}: must be at least 1")
        if self.slot_bytes % LINE_BYTES:
            raise ValueError(f"slot_bytes = {self.slot_bytes}: must be a multiple of {LINE_BYTES}")

    @property
    def n_slots(self) -> int:
        return self.n_blocks * self.slots_per_block

    @property
    def n_words(self) -> int:
        return N_HEADER_WORDS + (1 + N_TAGS) * self.n_slots

    @property
    def payload_offset(self) -> int:
        """Where slot 0 begins, in bytes: the first page after the words."""
        return -(-self.n_words * WORD_BYTES // PAGE_BYTES) * PAGE_BYTES

    @property
    def total_bytes(self) -> int:
        return self.payload_offset + self.n_slots * self.slot_bytes

    def slot_offset(self, slot: int) -> int:
        """Where a slot begins, in bytes from the segment's start."""
        return self.payload_offset + self._checked(slot) * self.slot_bytes

    def block_offset(self, block: int) -> int:
        """Where a block begins, in bytes from the segment's start."""
        return self.slot_offset(self.block_slots(block).start)

    def block_slots(self, block: int) -> range:
        """The slots of a block, in the order they lie in memory."""
        if not 0 <= block < self.n_blocks:
            raise IndexError(f"block {block} of a ring of {self.n_blocks} blocks")
        return range(block * self.slots_per_block, (block + 1) * self.slots_per_block)

    def has_slot(self, slot: int) -> bool:
        return 0 <= slot < self.n_slots

    def generation_word(self, slot: int) -> int:
        """The index of the word that holds a slot's generation."""
        return N_HEADER_WORDS + self._checked(slot)

    def tag_words(self, slot: int) -> tuple[int, int]:
        """The indices of the two words that hold a slot's tags."""
        first = N_HEADER_WORDS + self.n_slots + N_TAGS * self._checked(slot)
        return first, first + 1

    def _checked(self, slot: int) -> int:
        if not self.has_slot(slot):
            raise IndexError(f"slot {slot} of a ring of {self.n_slots} slots")
        return slot
