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
from workers.avatar import is_avatar_id
from workers.transport import Endpoint, Waiter, dealer

AudioSource: TypeAlias = "str | Path | F32 | Iterable[F32]"

CREDIT_FRAMES = 64  #: asked for ahead of the caller: hides the way there and back
CREDIT_STEP = 16  #: frames worth a message
CHUNK_SAMPLES = 32_000  #: 2 s, 128 KB
SILENCE_S = 15.0  #: the farm says something every 2 s while it has a job of ours

#: Codes whose cause lies with whoever submitted the job.
CALLERS_CODES = frozenset(
    {"BAD_AUDIO", "BAD_BUNDLE", "BAD_MESSAGE", "BAD_VERSION", "CONFLICT", "DEADLINE",
     "MODEL_FAILED", "SILENT", "TOO_LARGE", "UNKNOWN_AVATAR", "UNKNOWN_JOB"}
)  # fmt: skip


class NoFarm(BadRequest):
    """Nobody answers at that address: start a farm there, or name another."""


class NoAnswer(FarmError):
    """The farm did not answer a question in time."""


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
        try:
            self._endpoint: Endpoint = dealer(endpoint)
        except OSError as error:
            raise NoFarm(f"{endpoint}: is no address ({error.strerror})") from None
        self._waiter = Waiter(self._endpoint)
        self._jobs: dict[str, RemoteJob] = {}
        self._answers: deque[Any] = deque()  #: to the question that is being asked
        self._awaited: tuple[type, ...] = ()
        self._asked_about = ""
        self.is_closed = False
        self.last_heard = time.monotonic()
        try:
            hello = protocol.Hello(client="lipfarm")
            self.welcome: protocol.Welcome = self._ask(hello, protocol.Welcome, connect_timeout_s)
        except NoAnswer:
            self.close()
            raise NoFarm(f"{endpoint}: no farm answers within {connect_timeout_s:g} s") from None

    def submit(self, spec: JobSpec) -> "RemoteJob":
        """Open a job; iterate over it for its frames.

        Raises JobRefused, JobFailed, FarmLost, and AudioUnreadable for what is no sound.
        """
        job_id = spec.job_id if spec.job_id is not None else secrets.token_hex(8)
        if not protocol.JOB_ID.fullmatch(job_id):
            raise BadRequest(f"job id {job_id!r}: must be 1..128 letters, digits, spaces or .:@_+-")
        if not is_avatar_id(spec.avatar):
            raise BadRequest(f"avatar {spec.avatar!r}: is no id of an avatar")
        if job_id in self._jobs:
            raise BadRequest(f"job {job_id!r} is running already")
        job = self._jobs[job_id] = RemoteJob(self, job_id, pieces_of(spec.audio))
        self.last_heard = time.monotonic()  # the farm owes us nothing while we ask for nothing
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
        except JobFailed:
            self.forget(job_id)
            raise
        except BaseException:
            self.forget(job_id)
            self.send(protocol.Cancel(job_id=job_id))
            raise
        return job

    def farm_status(self, timeout_s: float = 5.0) -> protocol.FarmReport:
        """The farm's own state."""
        report: protocol.FarmReport = self._ask(protocol.Status(), protocol.FarmReport, timeout_s)
        return report

    def job_status(self, job_id: str, timeout_s: float = 5.0) -> protocol.JobReport:
        """A job's state; its position counts the jobs ahead.  Raises JobRefused for an unknown."""
        question = protocol.Status(job_id=job_id)
        report: protocol.JobReport = self._ask(question, protocol.JobReport, timeout_s, job_id)
        return report

    def cancel(self, job_id: str, timeout_s: float = 5.0) -> None:
        """Cancel a job, also another client's.  Raises JobRefused when it does not run."""
        question = protocol.Cancel(job_id=job_id)
        if job_id in self._jobs:
            self.send(question)  # its iterator hears of it
        else:
            self._ask(question, protocol.Cancelled, timeout_s, job_id)

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
                message = wire.decode(
                    header, protocol.FROM_BROKER, protocol.VERSION, is_lenient=True
                )
            except wire.WireError as error:
                if error.code == "UNKNOWN_KIND":
                    continue  # a newer farm has more to say
                raise
            job_id = getattr(message, "job_id", "")
            if job_id == self._asked_about and isinstance(message, self._awaited):
                self._answers.append(message)
            elif job_id in self._jobs:
                self._jobs[job_id].take(message, payloads)
        return n

    def _ask(self, question: object, answer: type, timeout_s: float, job_id: str = "") -> Any:
        """Ask, and wait for the answer.  Raises NoAnswer, JobRefused."""
        refusals = (protocol.Error, protocol.Failed) if job_id else (protocol.Error,)
        self._awaited, self._asked_about = (answer, *refusals), job_id
        self._answers.clear()
        self.send(question)
        deadline = time.monotonic() + timeout_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                self.pump(min(left_s, 0.5))
                if self._answers:
                    said = self._answers.popleft()
                    if isinstance(said, answer):
                        return said
                    raise JobRefused(said)
        finally:
            self._awaited = ()
        raise NoAnswer(f"{self.url}: no answer within {timeout_s:g} s")


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
