"""Use a farm from Python.

    from farm import Client, JobSpec

    with Client("ipc:///run/user/1000/lipfarm/client.sock") as client:
        for jpeg in client.submit(JobSpec(audio="speech.wav", avatar="demo")):
            ...

Everything happens in the caller's thread, while it asks for frames.  Speech is decoded here and
sent as the farm grants it: an endless source is as good as a file.
"""

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np

from farm import protocol
from farm.errors import BadRequest, FarmError
from farm.media.audio import open_speech
from workers import wire
from workers.arrays import F32
from workers.transport import Endpoint, Waiter, dealer

AudioSource: TypeAlias = "str | Path | F32 | Iterable[F32]"

CREDIT_FRAMES = 64  #: asked for ahead of the caller: hides the way there and back
CREDIT_STEP = 16  #: frames worth a message
CHUNK_SAMPLES = 32_000  #: 2 s, 128 KB
SILENCE_S = 15.0  #: the farm says something every 2 s while it has a job of ours

#: Codes whose cause lies with whoever submitted the job.
CALLERS_CODES = frozenset(
    {"BAD_AUDIO", "BAD_BUNDLE", "BAD_MESSAGE", "BAD_VERSION", "CONFLICT", "DEADLINE",
     "MODEL_FAILED", "TOO_LARGE", "UNKNOWN_AVATAR", "UNKNOWN_JOB"}
)  # fmt: skip


class NoFarm(BadRequest):
    """Nobody answers at that address: start a farm there, or name another."""


class FarmLost(FarmError):
    """The farm fell silent in the middle of a job."""


class JobFailed(FarmError):
    """The farm gave a job up.  ``code`` is stable; see PROTOCOL.md."""

    def __init__(self, failed: protocol.Failed | protocol.Error) -> None:
        super().__init__(failed.message)
        self.code = failed.code
        self.retryable = failed.retryable


class JobRefused(JobFailed, BadRequest):
    """The same, where whoever submitted the job can mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What to render."""

    audio: AudioSource  #: path, samples (float32 at 16 kHz, mono), or pieces of samples
    avatar: str = "demo"
    job_id: str | None = None  #: yours to choose; None: a random one
    priority: int = 0  #: higher goes first
    deadline_s: float | None = None  #: give up after so long


class Client:
    """A line to a farm.  Close it, or use it in ``with``: its jobs are then cancelled."""

    def __init__(self, endpoint: str, *, connect_timeout_s: float = 5.0) -> None:
        """Raises NoFarm when nobody answers in time."""
        self.url = endpoint
        self._endpoint: Endpoint = dealer(endpoint)
        self._waiter = Waiter(self._endpoint)
        self._jobs: dict[str, RemoteJob] = {}
        self._answers: deque[Any] = deque()  #: to questions that are about no job of ours
        self.is_closed = False
        self.last_heard = time.monotonic()
        try:
            self.send(protocol.Hello(client="lipfarm"))
            self.welcome: protocol.Welcome = self._answer(protocol.Welcome, connect_timeout_s)
        except TimeoutError:
            self.close()
            raise NoFarm(f"{endpoint}: no farm answers within {connect_timeout_s:g} s") from None

    def submit(self, spec: JobSpec) -> "RemoteJob":
        """Open a job; iterate over it for its frames.

        Raises JobRefused, JobFailed, FarmLost, and AudioUnreadable for what is no sound.
        """
        job_id = spec.job_id if spec.job_id is not None else secrets.token_hex(8)
        if job_id in self._jobs:
            raise BadRequest(f"job {job_id!r} is running already")
        job = self._jobs[job_id] = RemoteJob(self, job_id, pieces_of(spec.audio))
        self.send(
            protocol.Open(
                job_id=job_id,
                avatar=spec.avatar,
                credit=CREDIT_FRAMES,
                priority=spec.priority,
                deadline_s=spec.deadline_s,
            )
        )
        try:
            job.wait_until_accepted()
        except BaseException:
            self._jobs.pop(job_id, None)
            raise
        return job

    def farm_status(self, timeout_s: float = 5.0) -> protocol.FarmReport:
        """The farm's own state."""
        self.send(protocol.Status())
        report: protocol.FarmReport = self._answer(protocol.FarmReport, timeout_s)
        return report

    def job_status(self, job_id: str, timeout_s: float = 5.0) -> protocol.JobReport:
        """A job's state; its position counts the jobs ahead.  Raises JobRefused for an unknown."""
        self.send(protocol.Status(job_id=job_id))
        report: protocol.JobReport = self._answer(protocol.JobReport, timeout_s)
        return report

    def cancel(self, job_id: str) -> None:
        """Cancel a job, also another client's.  Raises JobRefused when it does not run."""
        self.send(protocol.Cancel(job_id=job_id))
        if job_id not in self._jobs:
            # A job that runs is known to the farm until it is cancelled.
            try:
                self.job_status(job_id)
            except JobRefused:
                if any(isinstance(a, protocol.Failed) for a in self._answers):
                    self._answers.clear()
                    raise

    def close(self) -> None:
        """Cancel what runs and hang up."""
        if self.is_closed:
            return
        for job_id in self._jobs:
            self.send(protocol.Cancel(job_id=job_id))
        self._jobs.clear()
        self._endpoint.close(linger_s=1.0)
        self.is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # For RemoteJob.

    def send(self, message: object, *payloads: bytes) -> None:
        self._endpoint.send([wire.encode(message, protocol.VERSION), *payloads])

    def pump(self, timeout_s: float) -> None:
        """Hand every message that has arrived to its job; wait for one if there is none."""
        if self._take_messages() == 0 and timeout_s > 0:
            self._waiter.wait(timeout_s)
            self._take_messages()

    def forget(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)

    def _take_messages(self) -> int:
        n = 0
        while (frames := self._endpoint.receive()) is not None:
            n += 1
            self.last_heard = time.monotonic()
            header, *payloads = frames
            try:
                message = wire.decode(header, protocol.FROM_BROKER, protocol.VERSION)
            except wire.WireError as error:
                if error.code == "UNKNOWN_KIND":
                    continue  # a newer farm has more to say
                raise
            job = self._jobs.get(getattr(message, "job_id", ""))
            if job is not None and not isinstance(message, protocol.JobReport):
                job.take(message, payloads)
            elif not isinstance(message, protocol.KeepAlive):
                self._answers.append(message)
        return n

    def _answer(self, kind: type, timeout_s: float) -> Any:
        """The answer to a question just asked.  Raises TimeoutError, JobRefused."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            self.pump(min(left_s, 0.5))
            for answer in list(self._answers):
                if isinstance(answer, protocol.Error):
                    self._answers.remove(answer)
                    raise JobRefused(answer)
                if isinstance(answer, kind):
                    self._answers.remove(answer)
                    return answer
        raise TimeoutError


class RemoteJob:
    """A job at the farm.  Iterate over it, once, for its JPEG frames in order."""

    def __init__(self, client: Client, job_id: str, pieces: Iterator[F32]) -> None:
        self.job_id = job_id
        self.accepted: protocol.Accepted | None = None  #: frame size, and jobs ahead
        self.done: protocol.Done | None = None  #: how it went, after the last frame
        self.n_frames = 0  #: received
        self._client = client
        self._pieces = pieces
        self._unsent = np.empty(0, np.float32)
        self._granted = 0  #: samples that may still be sent
        self._seq = 0
        self._has_ended = False
        self._frames: deque[bytes] = deque()
        self._to_credit = 0
        self._failed: protocol.Failed | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            while True:
                while self._frames:
                    self._give_credit()
                    yield self._frames.popleft()
                if self._failed is not None:
                    raise _failure(self._failed)
                if self.done is not None:
                    return
                self._work()
        finally:
            self._leave()

    def cancel(self) -> None:
        """Iterating on ends with JobFailed, code CANCELLED."""
        self._client.send(protocol.Cancel(job_id=self.job_id))

    def wait_until_accepted(self) -> None:
        while self.accepted is None:
            if self._failed is not None:
                raise _failure(self._failed)
            self._wait(0.5)

    def take(self, message: Any, payloads: list[bytes]) -> None:
        """A message about this job has arrived."""
        match message:
            case protocol.Accepted():
                self.accepted = message
            case protocol.AudioCredit():
                self._granted += message.samples
            case protocol.Frames():
                if message.first != self.n_frames:
                    raise FarmLost(f"frame {message.first} came where {self.n_frames} should be")
                self.n_frames += len(payloads)
                self._frames.extend(payloads)
            case protocol.Done():
                self.done = message
            case protocol.Failed():
                self._failed = message

    def _work(self) -> None:
        """Send speech if we may, else wait for the farm."""
        if not self._has_ended and self._granted > 0:
            self._send_some()
            self._client.pump(0)
        else:
            self._wait(0.5)

    def _wait(self, timeout_s: float) -> None:
        self._client.pump(timeout_s)
        if time.monotonic() - self._client.last_heard > SILENCE_S:
            raise FarmLost(f"the farm has said nothing for {SILENCE_S:g} s")

    def _send_some(self) -> None:
        if len(self._unsent) == 0:
            piece = next(self._pieces, None)
            if piece is None:
                self._client.send(protocol.End(job_id=self.job_id))
                self._has_ended = True
                return
            self._unsent = piece
        n = min(len(self._unsent), self._granted, CHUNK_SAMPLES)
        chunk, self._unsent = self._unsent[:n], self._unsent[n:]
        if n:
            audio = protocol.Audio(job_id=self.job_id, seq=self._seq)
            self._client.send(audio, chunk.astype("<f4").tobytes())
            self._granted -= n
            self._seq += 1

    def _give_credit(self) -> None:
        """One frame is about to be taken: let another one come."""
        self._to_credit += 1
        if self._to_credit == CREDIT_STEP:
            self._client.send(protocol.Credit(job_id=self.job_id, frames=CREDIT_STEP))
            self._to_credit = 0

    def _leave(self) -> None:
        if self.done is None and self._failed is None and not self._client.is_closed:
            self.cancel()
        self._client.forget(self.job_id)
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def pieces_of(audio: AudioSource) -> Iterator[F32]:
    """Speech as pieces of samples, whatever it was given as."""
    if isinstance(audio, str | Path):
        return _decoded(str(audio))
    if isinstance(audio, np.ndarray):
        return iter([_samples(audio)])
    return map(_samples, audio)


def _decoded(path: str) -> Iterator[F32]:
    with open_speech(path) as reader:
        for span in reader.spans():
            yield span.speech


def _samples(piece: F32) -> F32:
    if piece.ndim != 1 or piece.dtype != np.float32:
        raise BadRequest(
            f"samples must be float32 of one dimension, not {piece.dtype} {piece.shape}"
        )
    return piece


def _failure(failed: protocol.Failed) -> JobFailed:
    kind = JobRefused if failed.code in CALLERS_CODES else JobFailed
    return kind(failed)
