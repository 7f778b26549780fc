"""Use a farm from Python.

    from farm import Client, JobSpec

    with Client("ipc:///run/user/1000/lipfarm/client.sock") as client:
        for jpeg in client.submit(JobSpec(audio="speech.wav", avatar="demo")):
            ...

Everything happens in the caller's thread, while it asks for frames.  Speech is decoded here and
sent as the farm grants it: an endless source is as good as a file.

The farm's broker, or all of it, may die and come back: each job goes on where it was, and each
frame is given once.
"""

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np

from farm import protocol
from farm.errors import BadRequest, FarmError
from farm.farm_models import FarmModels
from farm.job_errors import FarmLost, JobFailed, JobRefused, ModelRefused
from farm.joiner import Joiner, TemplateCache
from farm.media.audio import open_speech
from farm.remote_job import RemoteJob
from workers import wire
from workers.arrays import F32
from workers.ids import is_plain_id
from workers.transport import Endpoint, Waiter, dealer

__all__ = [
    "Client",
    "FarmLost",
    "JobFailed",
    "JobRefused",
    "JobSpec",
    "ModelRefused",
    "NoAnswer",
    "NoFarm",
    "RemoteJob",
]

AudioSource: TypeAlias = "str | Path | F32 | Iterable[F32]"

PING_S = 5.0  #: the farm says something every 2 s while it has a job of ours
REDIAL_S = 10.0  #: the line is taken for dead, and another one is made
PATIENCE_S = 60.0  #: a farm may be started again meanwhile


HELLO = protocol.Hello(client="lipfarm")


class NoFarm(BadRequest):
    """Nobody answers at that address: start a farm there, or name another."""


class NoAnswer(FarmError):
    """The farm did not answer a question in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What to render."""

    audio: AudioSource  #: path, samples (float32 at 16 kHz, mono), or pieces of samples
    avatar: str = "demo"
    model: str | None = None  #: an id; None: the avatar's own, else the farm's default
    job_id: str | None = None  #: yours to choose; None: a random one
    priority: int = 0  #: higher goes first
    deadline_s: float | None = None  #: give up after so long
    quality: int | None = None  #: of the JPEGs, 1..95; None: the avatar's own, far quicker


class Client:
    """A line to a farm.  Close it, or use it in ``with``: its jobs are then cancelled."""

    def __init__(
        self, endpoint: str, *, connect_timeout_s: float = 5.0, patience_s: float = PATIENCE_S
    ) -> None:
        """Raises NoFarm when nobody answers in time.

        ``patience_s`` : so long a farm that has our jobs may be silent.
        """
        self.url = endpoint
        self.patience_s = patience_s
        try:
            self._endpoint: Endpoint = dealer(endpoint)
        except OSError as error:
            raise NoFarm(f"{endpoint}: is no address ({error.strerror})") from None
        self._waiter = Waiter(self._endpoint)
        self._jobs: dict[str, RemoteJob] = {}
        self._answers: deque[Any] = deque()  #: to the question that is being asked
        self._awaited: tuple[type, ...] = ()
        self._asked_about = ""
        self._templates = TemplateCache()
        self.models = FarmModels(self)
        self.is_closed = False
        self.last_heard = self._last_tried = time.monotonic()
        try:
            self.welcome: protocol.Welcome = self.ask(HELLO, protocol.Welcome, connect_timeout_s)
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
        if not is_plain_id(spec.avatar):
            raise BadRequest(f"avatar {spec.avatar!r}: is no id of an avatar")
        if spec.model is not None and not is_plain_id(spec.model):
            raise BadRequest(f"model {spec.model!r}: is no id of a model")
        if job_id in self._jobs:
            raise BadRequest(f"job {job_id!r} is running already")
        job = self._jobs[job_id] = RemoteJob(
            self,
            pieces_of(spec.audio),
            job_id=job_id,
            avatar=spec.avatar,
            model=spec.model or "",
            priority=spec.priority,
            deadline_s=spec.deadline_s,
            quality=spec.quality,
            joiner=self._joiner(spec.avatar),
        )
        self.last_heard = time.monotonic()  # the farm owes us nothing while we ask for nothing
        try:
            job.open()
        except JobFailed:
            self.forget(job_id)
            raise
        except BaseException:
            self.forget(job_id)
            self.send(protocol.Cancel(job_id=job_id))
            raise
        return job

    def _joiner(self, avatar: str) -> Joiner | None:
        if "patch" not in self.welcome.encodings:
            return None
        return Joiner(self._templates.get(avatar), keep=partial(self._templates.put, avatar))

    def farm_status(self, timeout_s: float = 5.0) -> protocol.FarmReport:
        """The farm's own state."""
        report: protocol.FarmReport = self.ask(protocol.Status(), protocol.FarmReport, timeout_s)
        return report

    def job_status(self, job_id: str, timeout_s: float = 5.0) -> protocol.JobReport:
        """A job's state; its position counts the jobs ahead.  Raises JobRefused for an unknown."""
        question = protocol.Status(job_id=job_id)
        report: protocol.JobReport = self.ask(question, protocol.JobReport, timeout_s, job_id)
        return report

    def cancel(self, job_id: str, timeout_s: float = 5.0) -> None:
        """Cancel a job, also another client's.  Raises JobRefused when it does not run."""
        if job_id in self._jobs:
            self._jobs[job_id].cancel()  # its iterator hears of it
        else:
            self.ask(protocol.Cancel(job_id=job_id), protocol.Cancelled, timeout_s, job_id)

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

    # For RemoteJob and FarmModels.

    def ask(self, question: object, answer: type, timeout_s: float, job_id: str = "") -> Any:
        """Ask, and wait for the answer.  Raises NoAnswer, JobRefused and ModelRefused."""
        refusals = [protocol.Error, protocol.ModelAnswer, *([protocol.Failed] if job_id else [])]
        self._awaited, self._asked_about = (answer, *refusals), job_id
        self._answers.clear()
        self.send(question)
        deadline = time.monotonic() + timeout_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                self.pump(min(left_s, 0.5))
                if self._answers:
                    said = self._answers.popleft()
                    if isinstance(said, protocol.ModelAnswer) and said.code:
                        raise ModelRefused(said)
                    if isinstance(said, answer):
                        return said
                    raise JobRefused(said)
        finally:
            self._awaited = ()
        raise NoAnswer(f"{self.url}: no answer within {timeout_s:g} s")

    def send(self, message: object, *payloads: bytes) -> None:
        self._endpoint.send([wire.encode(message, protocol.VERSION), *payloads])

    def pump(self, timeout_s: float) -> None:
        """Hand every message that has arrived to its job; wait for one if there is none."""
        if self._take_messages() == 0 and timeout_s > 0:
            self._waiter.wait(timeout_s)
            self._take_messages()
        if self._endpoint.has_reconnected():
            self._resume()  # whoever is there now does not know who we are
        elif self._jobs:
            self._mend()

    def _mend(self) -> None:
        """The farm is too silent: ask, then try another line."""
        now = time.monotonic()
        silent_s, tried_s = now - self.last_heard, now - self._last_tried
        if silent_s > REDIAL_S and tried_s > REDIAL_S:
            self._last_tried = now
            self.redial()
        elif silent_s > PING_S and tried_s > PING_S:
            self._last_tried = now
            self.send(protocol.Ping())

    def redial(self) -> None:
        """Go on with every job on a new line."""
        self._endpoint.close()
        self._endpoint = dealer(self.url)
        self._waiter = Waiter(self._endpoint)
        self._resume()

    def _resume(self) -> None:
        self.send(HELLO)
        for job in list(self._jobs.values()):
            job.resume()

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
            if isinstance(message, protocol.Welcome):
                self.welcome = message
            job_id = getattr(message, "job_id", "")
            if job_id == self._asked_about and isinstance(message, self._awaited):
                self._answers.append(message)
            elif job_id in self._jobs:
                self._jobs[job_id].take(message, payloads)
        return n


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
