"""Jobs that are over: how long, and how much of them, is remembered."""

from farm.ended_jobs import Ended, EndedJobs
from farm.protocol import Done


class Tail:
    """A store with frames of 10 bytes."""

    def __init__(self, n_frames: int) -> None:
        self.frames = range(n_frames)

    @property
    def n_bytes(self) -> int:
        return 10 * len(self.frames)

    def forget_before(self, frame: int) -> None:
        self.frames = range(frame, self.frames.stop)


def done(job_id: str, *, at: float = 0.0, n_frames: int = 8) -> Ended:
    message = Done(job_id=job_id, frames=n_frames, elapsed_s=1.0)
    tail = Tail(n_frames)
    return Ended(job_id=job_id, fingerprint="f", message=message, at=at, tail=tail)  # type: ignore[arg-type]


def ended(**limits: float) -> EndedJobs:
    given = {"keep_s": 100.0, "tail_s": 10.0, "tail_bytes": 1_000, **limits}
    return EndedJobs(**given)  # type: ignore[arg-type]


def test_the_last_frames_stay_until_they_are_taken() -> None:
    jobs, job = ended(), done("a")
    jobs.add(job)
    jobs.take(job, 5)
    assert (jobs.settled(1.0), job.missing) == ([], range(5, 8))

    jobs.take(job, 8)

    assert jobs.settled(1.0) == [job]
    assert (jobs.settled(1.0), jobs.has_tails()) == ([], False), "each is given once"
    assert jobs.get("a") is job


def test_frames_that_nobody_takes_are_kept_for_a_while() -> None:
    jobs, job = ended(), done("a")
    jobs.add(job)

    assert jobs.settled(10.0) == []
    assert jobs.settled(10.1) == [job]


def test_of_too_many_bytes_the_oldest_go() -> None:
    jobs = ended(tail_bytes=170)
    for job_id in "abc":
        jobs.add(done(job_id))

    assert [job.job_id for job in jobs.settled(0.0)] == ["a"]
    assert jobs.get("a") is not None


def test_an_id_is_free_again_when_its_job_is_old() -> None:
    jobs = ended()
    jobs.add(done("old"))
    jobs.add(done("new", at=50.0))
    jobs.settled(200.0)

    assert jobs.forget_old(101.0) == ["old"]
    assert jobs.get("old") is None
    assert jobs.get("new") is not None


def test_of_too_many_that_are_remembered_the_oldest_are_forgotten() -> None:
    jobs = ended(max_bytes=3 * done("a").n_bytes, tail_bytes=0)
    for job_id in "abcde":
        jobs.add(done(job_id))
    jobs.settled(0.0)

    assert jobs.forget_old(0.0) == ["a", "b"]
    assert jobs.forget_old(0.0) == []


def test_an_id_that_is_used_again_is_counted_once() -> None:
    jobs = ended(max_bytes=3 * done("a").n_bytes, tail_bytes=0)
    for job_id in "abcabc":
        jobs.add(done(job_id))
    jobs.settled(0.0)

    assert jobs.forget_old(0.0) == []
