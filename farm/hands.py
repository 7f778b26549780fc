"""What the scheduler knows of its workers: what each has in hand, and what it may still take."""

from dataclasses import dataclass, field

from farm.commands import Lease, Run
from farm.events import Slot

SPANS_IN_HAND = 2  #: an audio worker's next span waits at its socket
BATCHES_IN_HAND = 2  #: an inference worker's next batch waits at its socket
LEASES_A_MESSAGE = 4  #: few enough that the pool shares a batch, enough to spare messages
LEASES_IN_HAND = 2 * LEASES_A_MESSAGE


@dataclass(slots=True, kw_only=True)
class Worker:
    """One process.  Only the fields of its role are used."""

    identity: bytes
    role: str
    pid: int
    deadline: float  #: silent for longer, and it is taken for dead

    spans: set[tuple[int, int]] = field(default_factory=set)  #: audio: (job serial, span)

    n_blocks: int = 0  #: inference: blocks of its ring
    batch_size: int = 0
    batches: dict[int, tuple[Run, ...]] = field(default_factory=dict)  #: at work
    blocks: dict[int, set[Slot]] = field(default_factory=dict)  #: batch -> slots not released

    n_unreadable: int = 0  #: times its slots could not be read though it lives

    leases: dict[Slot, Lease] = field(default_factory=dict)  #: compositor

    @property
    def can_take_span(self) -> bool:
        return self.role == "audio" and len(self.spans) < SPANS_IN_HAND

    @property
    def can_take_batch(self) -> bool:
        """A batch needs a free block of the ring: this is all the back-pressure there is."""
        busy_blocks = len(self.batches) + len(self.blocks)
        return (
            self.role == "inference"
            and len(self.batches) < BATCHES_IN_HAND
            and busy_blocks < self.n_blocks
        )

    @property
    def can_take_leases(self) -> bool:
        in_hand = len(self.leases)
        return self.role == "compositor" and in_hand <= LEASES_IN_HAND - LEASES_A_MESSAGE

    def release(self, slot: Slot) -> None:
        """The slot is free; with the last one its block is."""
        for batch, slots in list(self.blocks.items()):
            slots.discard(slot)
            if not slots:
                del self.blocks[batch]
