"""Jobs that are over: what they were answered, and the frames their clients may still miss.

The same ``open`` of a finished job is answered with its end, and runs nothing.
"""

from dataclasses import dataclass

from farm.job_store import JobStore
from farm.protocol import Done, Failed

MAX_REMEMBERED = 10_000  #: 5 MB; older ones are forgotten first


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
    def missing(self) -> range:
        """Frames that can be sent again."""
        return range(self.n_taken, self.message.frames if self.tail is not None else self.n_taken)


class EndedJobs:
    """The last jobs by their ids."""

    def __init__(self, *, keep_s: float, tail_s: float, tail_bytes: int) -> None:
        """``tail_s``, ``tail_bytes`` : how long, and how much of, untaken frames are kept."""
        self._keep_s = keep_s
        self._tail_s = tail_s
        self._tail_bytes = tail_bytes
        self._jobs: dict[str, Ended] = {}  #: the oldest first
        self._tails: dict[str, Ended] = {}  #: those of them that have one

    def add(self, job: Ended) -> None:
        self._jobs.pop(job.job_id, None)
        self._jobs[job.job_id] = job
        if job.tail is not None:
            self._tails[job.job_id] = job

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
        n_too_many = len(self._jobs) - MAX_REMEMBERED
        old = [
            job_id
            for k, (job_id, job) in enumerate(self._jobs.items())
            if job.tail is None and (now > job.at + self._keep_s or k < n_too_many)
        ]
        for job_id in old:
            del self._jobs[job_id]
        return old
