"""What the scheduler knows of its workers: what each has in hand, and what it may still take."""

from dataclasses import dataclass, field

from farm.commands import Lease, Run
from farm.events import Slot
from farm.places import Place, PlaceState
from farm.suspects import Item

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

    device: str = ""  #: inference: where it computes
    device_bytes: int = 0  #: that it has; 0: nobody knows
    places: dict[str, Place] = field(default_factory=dict)  #: audio, inference: models, by id
    refused: set[str] = field(default_factory=set)  #: models that it could not load

    spans: dict[tuple[int, int], str] = field(default_factory=dict)  #: (serial, span) -> model

    n_blocks: int = 0  #: inference: blocks of its ring
    batch_size: int = 0
    batches: dict[int, tuple[Run, ...]] = field(default_factory=dict)  #: at work
    blocks: dict[int, set[Slot]] = field(default_factory=dict)  #: batch -> slots not released
    held_since: float | None = None  #: when a batch was first held back for more frames

    n_unreadable: int = 0  #: times its slots could not be read though it lives

    leases: dict[Slot, Lease] = field(default_factory=dict)  #: compositor
    withdrawn: set[Slot] = field(default_factory=set)  #: their ring died; it may still be at work

    @property
    def tasks(self) -> list[list[Item]]:
        """All that it was asked for and that still counts; leases are one, their order is free."""
        spans = [[item] for item in sorted(self.spans)]
        batches = [
            [(run.serial, frame) for run in runs for frame in run.frames]
            for runs in self.batches.values()
        ]
        leases = [(lease.serial, lease.frame) for lease in self.leases.values()]
        return [*spans, *batches, leases]

    @property
    def in_hand(self) -> list[Item]:
        return [item for task in self.tasks for item in task]

    @property
    def is_idle(self) -> bool:
        """Whether it has answered all it was ever asked: what comes next would be alone."""
        return not (self.spans or self.batches or self.leases or self.withdrawn)

    def is_ready_for(self, model: str) -> bool:
        """Whether work for it may be sent."""
        place = self.places.get(model)
        return place is not None and place.state is PlaceState.READY

    def is_open_for(self, model: str) -> bool:
        """Whether work for it may be sent, now or soon."""
        place = self.places.get(model)
        return place is not None and place.is_open

    @property
    def is_loading(self) -> bool:
        return any(place.state is PlaceState.LOADING for place in self.places.values())

    def uses(self, model: str) -> bool:
        """Whether it has work for it in hand."""
        runs = (run for runs in self.batches.values() for run in runs)
        return model in self.spans.values() or any(run.model == model for run in runs)

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

    def withdraw(self, ring: bytes) -> list[Lease]:
        """Take its leases on a dead worker's ring away.  It is not told, and will answer."""
        lost = [slot for slot in self.leases if slot.worker == ring]
        self.withdrawn.update(lost)
        return [self.leases.pop(slot) for slot in lost]

    def take_back(self, slot: Slot) -> Lease | None:
        """It answered for a slot; None if the lease was withdrawn."""
        self.withdrawn.discard(slot)
        return self.leases.pop(slot, None)

    def release(self, slot: Slot) -> None:
        """The slot is free; with the last one its block is."""
        for batch, slots in list(self.blocks.items()):
            slots.discard(slot)
            if not slots:
                del self.blocks[batch]
