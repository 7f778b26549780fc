"""A client's job when answers and questions cross."""

import numpy as np
import pytest

from farm import protocol
from farm.job_errors import FarmLost
from farm.joiner import Joiner, Shelved
from farm.remote_job import MAX_LOSSES, RemoteJob


class FakeLine:
    """Notes what a job says."""

    is_closed = False
    last_heard = float("inf")
    patience_s = 60.0

    def __init__(self) -> None:
        self.said: list[object] = []

    def send(self, message: object, *_payloads: bytes) -> None:
        self.said.append(message)

    def pump(self, timeout_s: float) -> None:
        pass

    def forget(self, job_id: str) -> None:
        pass

    @property
    def chunks(self) -> list[int]:
        return [message.seq for message in self.said if isinstance(message, protocol.Audio)]


@pytest.fixture
def line() -> FakeLine:
    return FakeLine()


@pytest.fixture
def job(line: FakeLine) -> RemoteJob:
    pieces = iter([np.zeros(64_000, np.float32)])
    return RemoteJob(line, pieces, job_id="j", avatar="anna", priority=0, deadline_s=None)


def accept(job: RemoteJob, attempt: int, next_sample: int = 0) -> None:
    """The farm accepts, and wants two seconds of speech."""
    accepted = protocol.Accepted(
        job_id="j",
        position=0,
        width_px=1,
        height_px=1,
        fps=25,
        next_sample=next_sample,
        attempt=attempt,
    )
    job.take(accepted, [])
    job.take(protocol.AudioCredit(job_id="j", samples=32_000), [])
    job._work()


def test_a_job_that_was_opened_twice_is_told_once(line: FakeLine, job: RemoteJob) -> None:
    job._open()
    job.resume()  # the line broke before there was an answer

    accept(job, attempt=1)
    assert line.chunks == [], "the farm counts anew when it reads the second one"
    accept(job, attempt=2)

    assert line.chunks == [0]


def test_an_answer_of_the_broker_before_is_not_taken_for_the_new_ones(
    line: FakeLine, job: RemoteJob
) -> None:
    job._open()
    accept(job, attempt=1)
    job.resume()
    job.resume()

    accept(job, attempt=2, next_sample=32_000)
    assert line.chunks == [0], "the new broker may want other samples"
    accept(job, attempt=3, next_sample=16_000)

    assert line.chunks == [0, 0]


def test_a_job_that_no_broker_survives_is_given_up(line: FakeLine, job: RemoteJob) -> None:
    job._open()
    for attempt in range(1, 2 * MAX_LOSSES, 2):
        accept(job, attempt)
        lose(job)
    assert len([m for m in line.said if isinstance(m, protocol.Open)]) == 1 + MAX_LOSSES

    accept(job, 1 + 2 * MAX_LOSSES)
    lose(job)

    with pytest.raises(FarmLost, match="lost the job 10 times"):
        next(iter(job))


def test_a_frame_between_two_losses_is_a_new_beginning(job: RemoteJob) -> None:
    job._open()
    for k in range(3 * MAX_LOSSES):
        accept(job, 1 + 2 * k)
        job.take(protocol.Frames(job_id="j", first=k), [b"jpeg"])
        lose(job)

    assert next(iter(job)) == b"jpeg"


def lose(job: RemoteJob) -> None:
    """Its broker dies, and the next one knows nothing of it."""
    job.resume()
    unknown = protocol.Failed(job_id="j", code="UNKNOWN_JOB", message="", retryable=False)
    job.take(unknown, [])


def test_what_comes_of_a_line_that_does_not_count_is_left_out(
    line: FakeLine, job: RemoteJob
) -> None:
    job._open()
    accept(job, attempt=1)
    job.resume()
    job.resume()
    n_said = len(line.said)

    accept(job, attempt=2)
    job.take(protocol.Frames(job_id="j", first=5), [b"late"])
    job.take(protocol.Done(job_id="j", frames=9, elapsed_s=1.0), [])
    assert (job.n_frames, job.done, line.said[n_said:]) == (0, None, [])
    accept(job, attempt=3)
    job.take(protocol.Frames(job_id="j", first=0), [b"jpeg"])

    assert next(iter(job)) == b"jpeg"


def test_a_gap_is_asked_for_once(line: FakeLine, job: RemoteJob) -> None:
    job._open()
    accept(job, attempt=1)
    for first in (5, 6, 7):
        job.take(protocol.Frames(job_id="j", first=first), [b"jpeg"])

    assert len([m for m in line.said if isinstance(m, protocol.Resume)]) == 1


def test_changes_that_cannot_be_joined_lose_the_job_and_no_other(line: FakeLine) -> None:
    pieces = iter([np.zeros(64_000, np.float32)])
    job = RemoteJob(
        line, pieces, job_id="j", avatar="a", priority=0, deadline_s=None, joiner=Joiner(Shelved())
    )
    job._open()
    accept(job, attempt=1)

    job.take(protocol.Frames(job_id="j", first=0, is_change=[True]), [b"change"])

    with pytest.raises(FarmLost, match="does not fit together"):
        next(iter(job))
