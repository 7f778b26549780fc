"""Who has each slot of a ring: the writer's own book, kept in its private memory.

Everything about the states of slots lives in this file.  It opens nothing and shares nothing: one
thread of one process owns a ledger, and others hold messages about it.

Slots move one by one, but are claimed by the block: a block is free when all its slots are, and
while it is being written all of it is.
"""

from collections.abc import Iterable
from enum import IntEnum

from shm.errors import IllegalTransition, RingFull, StaleDescriptor
from shm.layout import RingLayout


class SlotState(IntEnum):
    """Who may touch a slot."""

    FREE = 0  #: nobody; may be claimed
    WRITING = 1  #: the writer; contents undefined to everyone else
    LENT = 2  #: published; readers may look until it is released


TRANSITIONS = {
    (SlotState.FREE, "claim"): SlotState.WRITING,
    (SlotState.WRITING, "publish"): SlotState.LENT,
    (SlotState.WRITING, "abandon"): SlotState.FREE,  # failed, or padding; nobody was told
    (SlotState.LENT, "release"): SlotState.FREE,  # generation grows: a late reader can tell
}


class Ledger:
    """The states and generations of a ring's slots.

    Every method either does all it says or raises and changes nothing.
    """

    def __init__(self, layout: RingLayout) -> None:
        self._layout = layout
        self._states = [SlotState.FREE] * layout.n_slots
        self._generations = [0] * layout.n_slots
        self._next_block = 0

    @property
    def n_free_blocks(self) -> int:
        return sum(map(self._is_free, range(self._layout.n_blocks)))

    def state(self, slot: int) -> SlotState:
        return self._states[slot]

    def generation(self, slot: int) -> int:
        """How often the slot was published and released."""
        return self._generations[slot]

    def try_claim(self) -> int:
        """The next free block, round robin, now ours to write; raises `RingFull`."""
        n_blocks = self._layout.n_blocks
        for step in range(n_blocks):
            block = (self._next_block + step) % n_blocks
            if self._is_free(block):
                self._move(self._layout.block_slots(block), "claim")
                self._next_block = (block + 1) % n_blocks
                return block
        raise RingFull(f"all {n_blocks} blocks are being written or read")

    def publish(self, block: int, n_used: int) -> list[int]:
        """Lend the first ``n_used`` slots of a claimed block and free the rest, its padding.

        Gives the generations of the lent slots, in order.
        """
        slots = self._layout.block_slots(block)
        if not 1 <= n_used <= len(slots):
            raise ValueError(f"n_used = {n_used}: must be 1..{len(slots)}")
        # The first move checks for both: while a block is written, all of it is.
        self._move(slots[:n_used], "publish")
        self._move(slots[n_used:], "abandon")
        return [self._generations[slot] for slot in slots[:n_used]]

    def abandon(self, block: int) -> None:
        """Give a claimed block back unread."""
        self._move(self._layout.block_slots(block), "abandon")

    def release(self, slot: int, generation: int) -> int:
        """Free a lent slot, once; gives its new generation.

        Raises `StaleDescriptor` for another generation than the lent one, and for no slot.
        """
        if not self._layout.has_slot(slot):
            raise StaleDescriptor(f"slot {slot} of a ring of {self._layout.n_slots} slots")
        if generation != self._generations[slot]:
            raise StaleDescriptor(
                f"slot {slot}, generation {generation}: it is at {self._generations[slot]}"
            )
        self._move([slot], "release")
        self._generations[slot] += 1
        return self._generations[slot]

    def require_writing(self, block: int) -> None:
        """Raise `IllegalTransition` unless the block is claimed and not yet published."""
        self._next_states(self._layout.block_slots(block), "publish")

    def validate(self) -> None:
        """Assert what must hold between any two calls."""
        assert len(self._states) == len(self._generations) == self._layout.n_slots
        assert 0 <= self._next_block < self._layout.n_blocks
        assert min(self._generations) >= 0
        for block in range(self._layout.n_blocks):
            writing = {s is SlotState.WRITING for s in self._block_states(block)}
            assert len(writing) == 1, f"block {block} is written in part"

    def _is_free(self, block: int) -> bool:
        return all(state is SlotState.FREE for state in self._block_states(block))

    def _block_states(self, block: int) -> list[SlotState]:
        return [self._states[slot] for slot in self._layout.block_slots(block)]

    def _move(self, slots: Iterable[int], event: str) -> None:
        """The one place that changes a state: all of the slots, or none."""
        for slot, state in self._next_states(slots, event).items():
            self._states[slot] = state

    def _next_states(self, slots: Iterable[int], event: str) -> dict[int, SlotState]:
        return {slot: _after(f"slot {slot}", self._states[slot], event) for slot in slots}


def _after(subject: str, state: SlotState, event: str) -> SlotState:
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(subject, state, event) from None
