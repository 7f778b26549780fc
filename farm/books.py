"""What can be worked on, and what it costs whom: kept up job by job, as jobs change.

A farm may have thousands of jobs, and an event concerns one or two of them: nothing here looks at
the others.  Whoever changes a job has it booked again (`FarmState.touch`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from farm.jobs import NOBODY, Job
from farm.turns import TurnQueue

FRAMES_PER_SPAN = 32  # windows of one encoder call, one a frame
MAX_OPEN_FRAMES = 4096
"""Of one model: beyond, a job is encoded only while it has no frame to be painted.  8 MB of
features; without a limit they would be of all jobs in the queue."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """How a job was booked last."""

    client: bytes
    model: str
    is_wanted: bool
    n_bytes: int
    n_open: int


class Books:
    """Counts by client and by model, and the jobs with something to do in their order."""

    def __init__(self) -> None:
        self.n_jobs_of_client: Counter[bytes] = Counter()
        self.bytes_of_client: Counter[bytes] = Counter()  #: of frames that are held for it
        self.n_wanting: Counter[str] = Counter()  #: jobs that somebody waits for, by model
        self.n_open: Counter[str] = Counter()  #: frames that may be painted now, by model
        self.client_turns: dict[bytes, int] = {}
        self.frames: defaultdict[str, TurnQueue] = defaultdict(self._new_queue)  #: by model
        self.spans: defaultdict[str, TurnQueue] = defaultdict(self._new_queue)  #: by model
        self._entries: dict[int, _Entry] = {}

    def _new_queue(self) -> TurnQueue:
        return TurnQueue(self.client_turns)

    def book(self, job: Job, window_frames: int) -> None:
        """As it is now."""
        self._count(job.serial, self._entry(job, window_frames))
        if job.last_turn > self.client_turns.get(job.client, -1):
            self._took_turn(job)
        self._queue(self.frames, job, has_frames(job, window_frames))
        self._queue(self.spans, job, has_spans(job, window_frames))

    def strike(self, job: Job) -> None:
        """It is over."""
        self._count(job.serial, None)
        for queues in (self.frames, self.spans):
            queues[job.model].discard(job.serial)

    def _entry(self, job: Job, window_frames: int) -> _Entry:
        n_open = len(job.open_frames(window_frames)) + len(job.lost_frames)
        return _Entry(job.client, job.model, is_wanted(job), job.n_bytes, n_open)

    def _count(self, serial: int, new: _Entry | None) -> None:
        old = self._entries.pop(serial, None)
        if new is not None:
            self._entries[serial] = new
        if old == new:
            return
        for entry, sign in ((old, -1), (new, 1)):
            if entry is not None:
                _add(self.n_jobs_of_client, entry.client, sign)
                _add(self.bytes_of_client, entry.client, sign * entry.n_bytes)
                _add(self.n_wanting, entry.model, sign * entry.is_wanted)
                _add(self.n_open, entry.model, sign * entry.n_open)
        if old is not None and old.client not in self.n_jobs_of_client:
            self.client_turns.pop(old.client, None)

    def _took_turn(self, job: Job) -> None:
        self.client_turns[job.client] = job.last_turn
        for queues in (self.frames, self.spans):
            for queue in queues.values():
                queue.moved(job.client)

    @staticmethod
    def _queue(queues: defaultdict[str, TurnQueue], job: Job, has_work: bool) -> None:
        if has_work and is_wanted(job):
            queues[job.model].put(job)
        else:
            queues[job.model].discard(job.serial)


def _add(counter: Counter[str] | Counter[bytes], key: str | bytes, n: int) -> None:
    """A count of nothing is no entry: clients come and go."""
    counter[key] += n  # type: ignore[index]
    if counter[key] == 0:  # type: ignore[index]
        del counter[key]


def is_wanted(job: Job) -> bool:
    """Nothing is begun for a client that went away, unless by the farm's own fault."""
    return job.client != NOBODY or job.is_restored


def has_frames(job: Job, window_frames: int) -> bool:
    """Whether a frame of it can be painted."""
    return bool(job.lost_frames) or len(job.open_frames(window_frames)) > 0


def has_spans(job: Job, window_frames: int) -> bool:
    """Whether a span of its speech can be encoded, and is needed."""
    reach = job.next_sent + window_frames + 2 * FRAMES_PER_SPAN
    is_needed = job.next_span * FRAMES_PER_SPAN < reach
    return bool(job.spans_again) or (job.next_span < job.n_ready_spans and is_needed)
