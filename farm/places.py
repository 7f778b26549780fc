"""A model's places: the workers that have it in memory, and the one table of how that changes.

A farm's model is loaded where work for it is, stays while there is room, and leaves when nothing
uses it.  Who decides is ``farm.placing``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from farm.errors import IllegalTransition

MAX_LOAD_DEATHS = 2  #: of workers: one could be an accident, each more costs all jobs a restart


class PlaceState(Enum):
    ABSENT = "absent"
    LOADING = "loading"  #: its worker was asked to; other work goes on there
    READY = "ready"  #: takes work
    LEAVING = "leaving"  #: takes no more work; what it has in hand is finished
    UNLOADING = "unloading"  #: its memory is being freed


PLACE_MOVES = {
    (PlaceState.ABSENT, "load"): PlaceState.LOADING,
    (PlaceState.ABSENT, "found"): PlaceState.READY,  # loaded before the worker knew this broker
    (PlaceState.LOADING, "loaded"): PlaceState.READY,
    (PlaceState.LOADING, "failed"): PlaceState.ABSENT,
    (PlaceState.READY, "leave"): PlaceState.LEAVING,
    (PlaceState.LEAVING, "unload"): PlaceState.UNLOADING,
    (PlaceState.UNLOADING, "unloaded"): PlaceState.ABSENT,
}


@dataclass(slots=True)
class Place:
    """One model at one worker."""

    model: str
    state: PlaceState = PlaceState.ABSENT
    n_bytes: int = 0  #: that it takes there, as measured
    since: float = 0.0  #: when it got into its state, on the scheduler's clock

    def move(self, event: str, now: float) -> None:
        """Raises IllegalTransition, and changes nothing, for a move not in the table."""
        target = PLACE_MOVES.get((self.state, event))
        if target is None:
            raise IllegalTransition(f"model {self.model}", self.state.value, event)
        self.state, self.since = target, now

    @property
    def is_open(self) -> bool:
        """Whether work may be sent there, now or soon."""
        return self.state in (PlaceState.LOADING, PlaceState.READY)


@dataclass(slots=True, kw_only=True)
class Model:
    """What the scheduler knows of a model that somebody has asked for."""

    model: str
    file_bytes: int = 0  #: of its files: what it takes at least
    n_bytes: int = 0  #: that it took where it was loaded last; 0: it never was
    is_pinned: bool = False  #: by somebody's wish, until it is unloaded by one
    is_deadly: bool = False  #: loading it kills workers
    n_load_deaths: int = 0
    n_frames: int = 0  #: that were sent to inference
    last_used: float = 0.0
    asked_by: set[bytes] = field(default_factory=set)  #: clients that wait for it to be loaded

    @property
    def room_bytes(self) -> int:
        """What to keep free for it: as measured before, or at least its files."""
        return self.n_bytes or self.file_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many models a farm keeps, and where."""

    memory_bytes: int = 0  #: of each device's models; 0: what the device has, if that is known
    max_loaded: int = 0  #: models a device; 0: no limit
    eviction: str = "lru"  #: or "lfu": who makes room
    idle_unload_s: float = 0.0  #: unused for so long, and it is unloaded; 0: never
    assignment: str = "spread"  #: or "round-robin", "least-loaded": see configs/farm.toml
    pinned: frozenset[str] = frozenset()
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: models to these alone
    load_s: float = 300.0  #: a worker that takes longer to load one is taken for hung

    def allows(self, model: str, device: str) -> bool:
        return device in self.devices.get(model, (device,))
