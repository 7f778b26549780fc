"""Jobs that are over: what they were answered, and the frames their clients may still miss.

The same ``open`` of a finished job is answered with its end, and runs nothing.
"""

from dataclasses import dataclass

from farm.job_store import JobStore
from farm.protocol import Done, Failed

MAX_BYTES = 8_000_000  #: of all that are remembered, some 10,000; the oldest are forgotten first
ENDED_BYTES = 600  #: of one in memory, without its texts


@dataclass(slots=True, kw_only=True)
class Ended:
    job_id: str
    fingerprint: str
    message: Done | Failed
    at: float  #: on the broker's clock
    key: int = 0
    client: bytes = b""
    n_taken: int = 0
    tail: JobStore | None = None  #: with the frames that were sent and not taken

    @property
    def is_done(self) -> bool:
        return isinstance(self.message, Done)

    @property
    def n_bytes(self) -> int:
        """About what remembering it costs, without its tail."""
        texts = (self.job_id, self.fingerprint, getattr(self.message, "message", ""))
        return ENDED_BYTES + sum(map(len, texts))

    @property
    def missing(self) -> range:
        """Frames that can be sent again."""
        return range(self.n_taken, self.message.frames if self.tail is not None else self.n_taken)


class EndedJobs:
    """The last jobs by their ids."""

    def __init__(
        self, *, keep_s: float, tail_s: float, tail_bytes: int, max_bytes: int = MAX_BYTES
    ) -> None:
        """``tail_s``, ``tail_bytes`` : how long, and how much of, untaken frames are kept."""
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._tail_s = tail_s
        self._tail_bytes = tail_bytes
        self._jobs: dict[str, Ended] = {}  #: the oldest first
        self._tails: dict[str, Ended] = {}  #: those of them that have one
        self._n_bytes = 0  #: of all of them

    def add(self, job: Ended) -> None:
        self._drop(job.job_id)
        self._jobs[job.job_id] = job
        self._n_bytes += job.n_bytes
        if job.tail is not None:
            self._tails[job.job_id] = job

    def _drop(self, job_id: str) -> None:
        if (job := self._jobs.pop(job_id, None)) is not None:
            self._n_bytes -= job.n_bytes

    def get(self, job_id: str) -> Ended | None:
        return self._jobs.get(job_id)

    def has_tails(self) -> bool:
        return bool(self._tails)

    def take(self, job: Ended, n_taken: int) -> None:
        """Its client has these frames."""
        job.n_taken = max(job.n_taken, n_taken)
        if job.tail is not None:
            job.tail.forget_before(job.n_taken)

    def settled(self, now: float) -> list[Ended]:
        """Jobs whose last frame was taken, or waited for long enough; each is given once."""
        room = self._tail_bytes
        done = []
        for job in reversed(self._tails.values()):
            assert job.tail is not None
            room -= job.tail.n_bytes
            if job.n_taken >= job.message.frames or now > job.at + self._tail_s or room < 0:
                job.tail = None
                done.append(job)
        for job in done:
            del self._tails[job.job_id]
        return done

    def forget_old(self, now: float) -> list[str]:
        """Ids that are free again."""
        n_too_many_bytes = self._n_bytes - self._max_bytes
        old = []
        for job_id, job in self._jobs.items():
            if job.tail is None and (now > job.at + self._keep_s or n_too_many_bytes > 0):
                n_too_many_bytes -= job.n_bytes
                old.append(job_id)
        for job_id in old:
            self._drop(job_id)
        return old
