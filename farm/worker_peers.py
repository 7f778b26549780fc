"""The workers a broker knows, and what each was asked."""

from dataclasses import dataclass, field

from farm import commands as todo
from farm.feature_cache import Key


@dataclass(frozen=True, slots=True)
class Batch:
    model: str
    shares: dict[int, int]  #: serial -> frames


@dataclass(slots=True)
class Peer:
    """A worker process, from its first words on."""

    role: str
    name: str
    pid: int
    ring: str = ""
    ring_epoch: int = 0
    batches: dict[int, Batch] = field(default_factory=dict)
    spans: dict[tuple[int, int], Key] = field(default_factory=dict)  #: (serial, span) ->
    tickets: dict[int, tuple[todo.Lease, ...]] = field(default_factory=dict)
