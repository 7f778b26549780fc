"""The supervisor's pure half: what it is told, and what it decides.

This file starts nothing, waits for nothing and asks no clock.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from signal import SIGHUP, SIGINT, SIGTERM, Signals

from farm.errors import FarmError, IllegalTransition
from shm.layout import RingLayout

END_SIGNALS = (SIGTERM, SIGINT, SIGHUP)


class BrokerLost(FarmError):
    """The broker talks nonsense: our bug, and another broker would do the same."""


class CrashLoop(FarmError):
    """A child never gets to work: the operator's to mend, its own lines above say what."""

    def __init__(self, name: str, n_deaths: int, how: str) -> None:
        super().__init__(
            f"{name} died {n_deaths} times before it did anything (last: {how}): "
            "see its messages above"
        )


class DrainTooLong(FarmError):
    """The running jobs were not finished in drain_s: they were cut."""

    def __init__(self, drain_s: float) -> None:
        super().__init__(f"running jobs were cut: not finished {drain_s:g} s after the signal")


class Phase(Enum):
    """Where in its life a farm is."""

    STARTING = "starting"  #: until the broker says that every worker is warm
    SERVING = "serving"
    DRAINING = "draining"  #: running jobs are finished, new ones refused
    STOPPING = "stopping"  #: every process was told to end


PHASES = {
    (Phase.STARTING, "ready"): Phase.SERVING,
    (Phase.STARTING, "signal"): Phase.DRAINING,  # jobs may wait for the workers already
    (Phase.STARTING, "failed"): Phase.STOPPING,
    (Phase.STARTING, "orphaned"): Phase.STOPPING,
    (Phase.SERVING, "ready"): Phase.SERVING,  # a restarted worker completed the farm again
    (Phase.SERVING, "signal"): Phase.DRAINING,
    (Phase.SERVING, "failed"): Phase.STOPPING,
    (Phase.SERVING, "orphaned"): Phase.STOPPING,
    (Phase.DRAINING, "ready"): Phase.DRAINING,
    (Phase.DRAINING, "signal"): Phase.STOPPING,  # the second one: somebody is in a hurry
    (Phase.DRAINING, "drained"): Phase.STOPPING,
    (Phase.DRAINING, "failed"): Phase.STOPPING,
    (Phase.DRAINING, "orphaned"): Phase.STOPPING,
    # What was under way when the stop began still arrives.
    (Phase.STOPPING, "ready"): Phase.STOPPING,
    (Phase.STOPPING, "signal"): Phase.STOPPING,
    (Phase.STOPPING, "drained"): Phase.STOPPING,
    (Phase.STOPPING, "failed"): Phase.STOPPING,
    (Phase.STOPPING, "orphaned"): Phase.STOPPING,
}


def next_phase(phase: Phase, event: str) -> Phase:
    try:
        return PHASES[phase, event]
    except KeyError:
        raise IllegalTransition("the farm", phase.value, event) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How patient the farm is with a child that dies."""

    first_backoff_s: float = 0.1  #: after an accident nobody should notice
    max_backoff_s: float = 5.0
    max_fruitless_deaths: int = 5  #: 1.5 s of back-off in all: what still fails then will go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of a child from one incarnation to the next."""

    n_fruitless_deaths: int = 0  #: in a row, each without progress
    has_progress: bool = False  #: the living incarnation became ready or finished something


def after_progress(_record: Record) -> Record:
    return Record(has_progress=True)


def after_death(record: Record) -> Record:
    """Only deaths without progress count: a worker that works and dies twice a day is restarted."""
    return Record(n_fruitless_deaths=0 if record.has_progress else record.n_fruitless_deaths + 1)


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the child again then."""

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It will not work: stop the farm and say so."""

    n_deaths: int


def decide(policy: RestartPolicy, n_fruitless_deaths: int, now: float) -> Restart | GiveUp:
    """What to do about a child that has just died, the death included in the count."""
    if n_fruitless_deaths >= policy.max_fruitless_deaths:
        return GiveUp(n_fruitless_deaths)
    return Restart(now + backoff_s(policy, n_fruitless_deaths))


def backoff_s(policy: RestartPolicy, n_fruitless_deaths: int) -> float:
    # float ** int overflows at 2 ** 1024, long after every sensible cap.
    n_doublings = min(max(n_fruitless_deaths - 1, 0), 1000)
    return min(policy.first_backoff_s * 2.0**n_doublings, policy.max_backoff_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """What one start of a child is given."""

    number: int  #: 1 for the first
    life_fd: int  #: EOF here means that the supervisor is gone
    control_fd: int | None  #: the broker's alone
    ring: str | None  #: name of the segment that it writes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A process to keep alive."""

    name: str
    role: str
    command: Callable[[Incarnation], list[str]]
    makes_ring: RingLayout | None = None  #: made anew for each incarnation
    environment: Mapping[str, str] = field(default_factory=dict)  #: wins over everything else


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How the farm is to be kept."""

    farm_id: str  #: tells this farm's segments from others'
    environment: Mapping[str, str]  #: of every child
    start_s: float  #: from a worker's start, or a new broker's, to the worker's first progress
    drain_s: float
    signals_fd: int  #: each signal that arrives is a byte here (signal.set_wakeup_fd)
    stop_s: float = 3.0  #: from SIGTERM to SIGKILL
    broker_start_s: float = 30.0  #: to its first beat: a long journal, but clients wait a minute
    broker_silent_s: float = 5.0  #: between two beats: neither a collection nor a slow disk
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    parent_life_fd: int | None = None  #: EOF here stops the farm
    on_phase: Callable[[Phase], None] = lambda _phase: None


KINDS = {"beat": False, "ready": False, "drained": False, "progress": True, "kill": True}
"""What the broker may say, and whether it says it of a pid."""


def parse(line: bytes) -> tuple[str, int]:
    """Kind and pid (0 without one) of a line from the broker; raises ValueError."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not a message we know ({error})") from error
    match message:
        case {"kind": str(kind), "pid": int(pid)} if KINDS.get(kind) is True:
            return kind, pid
        case {"kind": str(kind)} if KINDS.get(kind) is False:
            return kind, 0
    raise ValueError("not a message we know")


def how_it_ended(status: int) -> str:
    """A process's end in words, from subprocess's return code."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"
