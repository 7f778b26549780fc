"""Places where tests make a process die, stop or leave.

``fail_point("inference.published")`` stands where a death must cost no frame.  It is an empty
function, chosen at import, unless the environment arms one:

    LIPFARM_FAIL_POINT="inference.published:kill@3"   each process, at its third passage
    LIPFARM_FAIL_POINT="@/tmp/armed"                  the same words, from a file, once

The file may be written while the farm runs.  Whoever it hits renames it to ``/tmp/armed.hit``
before it dies: of a pool one dies, and its successor does not.
"""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

VARIABLE = "LIPFARM_FAIL_POINT"
HIT_SUFFIX = ".hit"
EXIT_CODE = 70  #: of ``exit``: nothing else in the farm leaves so

FailPoint: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point stands, and whose process passes there."""

    file: str
    role: str
    after_death_of: str = ""  #: passed only then: a role
    after_wish: bool = False  #: passed only when an operator loads a model, and unloads it


POINTS = {
    "audio.loading": Place("workers/main.py", "audio", after_death_of="audio"),
    "audio.loaded": Place("workers/audio.py", "audio", after_death_of="audio"),
    "audio.ready_sent": Place("workers/audio.py", "audio", after_death_of="audio"),
    "audio.span_taken": Place("workers/audio.py", "audio"),
    "audio.span_encoded": Place("workers/audio.py", "audio"),
    "audio.features_sent": Place("workers/audio.py", "audio"),
    "model.loading": Place("workers/loaded_models.py", "inference", after_wish=True),
    "model.loaded": Place("workers/loaded_models.py", "inference", after_wish=True),
    "model.unloaded": Place("workers/loaded_models.py", "inference", after_wish=True),
    "inference.loading": Place("workers/main.py", "inference", after_death_of="inference"),
    "inference.loaded": Place("workers/main.py", "inference", after_death_of="inference"),
    "inference.ring_attached": Place("workers/main.py", "inference", after_death_of="inference"),
    "inference.warm": Place("workers/inference.py", "inference", after_death_of="inference"),
    "inference.ready_sent": Place("workers/inference.py", "inference", after_death_of="inference"),
    "inference.batch_taken": Place("workers/inference.py", "inference"),
    "inference.claimed": Place("workers/inference.py", "inference"),
    "inference.gathered": Place("workers/inference.py", "inference"),
    "inference.written": Place("workers/inference.py", "inference"),
    "ring.tagged": Place("shm/ring.py", "inference"),
    "inference.published": Place("workers/inference.py", "inference"),
    "inference.done_sent": Place("workers/inference.py", "inference"),
    "inference.releasing": Place("workers/inference.py", "inference"),
    "inference.released": Place("workers/inference.py", "inference"),
    "compositor.starting": Place("workers/main.py", "compositor", after_death_of="compositor"),
    "compositor.ready_sent": Place(
        "workers/compositor.py", "compositor", after_death_of="compositor"
    ),
    "compositor.ring_attached": Place(
        "workers/compositor.py", "compositor", after_death_of="inference"
    ),
    "compositor.ticket_taken": Place("workers/compositor.py", "compositor"),
    "compositor.viewed": Place("workers/compositor.py", "compositor"),
    "compositor.pasted": Place("workers/compositor.py", "compositor"),
    "compositor.encoded": Place("workers/compositor.py", "compositor"),
    "compositor.done_sent": Place("workers/compositor.py", "compositor"),
    "broker.starting": Place("farm/broker.py", "broker", after_death_of="broker"),
    "broker.restored": Place("farm/broker.py", "broker", after_death_of="broker"),
    "broker.hearing": Place("farm/broker.py", "broker"),
    "broker.heard": Place("farm/broker.py", "broker"),
    "broker.settled": Place("farm/broker.py", "broker"),
    "journal.job_accepted": Place("farm/durable.py", "broker"),
    "journal.speech_appended": Place("farm/durable.py", "broker"),
    "journal.written": Place("farm/journal.py", "broker"),
    "journal.committed": Place("farm/journal.py", "broker"),
    "broker.committed": Place("farm/broker.py", "broker"),
    "broker.spoken": Place("farm/broker.py", "broker"),
    "broker.worker_asked": Place("farm/worker_orders.py", "broker"),
    "broker.result_kept": Place("farm/broker.py", "broker"),
    "broker.death_heard": Place("farm/broker.py", "broker", after_death_of="compositor"),
    "journal.speech_removed": Place("farm/durable.py", "broker"),
    "segment.unlocked": Place("shm/segment.py", "supervisor", after_death_of="inference"),
    "segment.unreserved": Place("shm/segment.py", "supervisor", after_death_of="inference"),
    "supervisor.ring_made": Place("farm/supervisor.py", "supervisor", after_death_of="inference"),
    "supervisor.child_started": Place(
        "farm/supervisor.py", "supervisor", after_death_of="inference"
    ),
    "supervisor.child_reaped": Place(
        "farm/supervisor.py", "supervisor", after_death_of="inference"
    ),
    "supervisor.ring_retired": Place(
        "farm/supervisor.py", "supervisor", after_death_of="inference"
    ),
}
"""Every point in the code; a test compares."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What shall happen, where, and at which passage of a process."""

    point: str
    action: str
    passage: int


_ORDER = re.compile(r"([a-z_.]+):(kill|stop|exit)(?:@([1-9][0-9]*))?")


def _parse(text: str) -> _Order:
    match = _ORDER.fullmatch(text.strip())
    if match is None or match[1] not in POINTS:
        raise ValueError(f"{VARIABLE}: {text!r} must be POINT:kill|stop|exit[@PASSAGE]")
    return _Order(match[1], match[2], int(match[3] or 1))


def _act(action: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "exit":
            os._exit(EXIT_CODE)


def _pass_by(_point: str) -> None:
    """Unarmed."""


class _Armed:
    """One order for the whole life of a process."""

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._n_passages = 0

    def __call__(self, point: str) -> None:
        self._n_passages += point == self._order.point
        if point == self._order.point and self._n_passages == self._order.passage:
            _act(self._order.action)


class _ArmedByFile:
    """Orders from a file that is looked at on every passage: slow, and for tests alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._written: object = None  #: which writing of the file the passages are counted for
        self._passages: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        order = self._read()
        if order is None or order.point != point:
            return
        self._passages[point] += 1
        if self._passages[point] < order.passage:
            return
        with suppress(FileNotFoundError):  # it was for another of the pool
            os.rename(self._path, self._path + HIT_SUFFIX)
            _act(order.action)

    def _read(self) -> _Order | None:
        try:
            with open(self._path, encoding="ascii") as file:
                status, text = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        written = (status.st_ino, status.st_mtime_ns)
        if written != self._written:
            self._written, self._passages = written, Counter()
        return _parse(text)


def armed(text: str) -> FailPoint:
    """The function for a value of the variable; raises ValueError."""
    if not text:
        return _pass_by
    return _ArmedByFile(text[1:]) if text.startswith("@") else _Armed(_parse(text))


#: At import, not at each passage: an unarmed point costs one call of an empty function.
fail_point: FailPoint = armed(os.environ.get(VARIABLE, ""))
