"""What the scheduler wants done: its output.  Imperative; the broker carries them out in order."""

from dataclasses import dataclass
from typing import TypeAlias

from farm.events import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptJob:
    client: bytes
    job_id: str
    serial: int
    model: str
    position: int  #: jobs ahead of it


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachJob:
    """A client goes on with a job: tell it where."""

    client: bytes
    job_id: str
    serial: int
    position: int  #: jobs ahead of it
    first_frame: int  #: the first that will be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer a request that changes nothing."""

    client: bytes
    job_id: str
    code: str
    message: str
    retryable: bool = False
    position: int = 0  #: jobs ahead of it, had it been taken
    retry_after_s: float = 0.0  #: 0: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantAudio:
    client: bytes
    job_id: str
    n_samples: int  #: more than before


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSpan:
    worker: bytes
    job_id: str
    serial: int
    model: str
    span: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive frames of one job in a batch."""

    job_id: str
    serial: int  #: of the job: an id may be used again, a serial never is
    avatar: str
    model: str
    frames: range


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBatch:
    worker: bytes
    batch: int
    model: str  #: of all its runs
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """One slot for one compositor."""

    job_id: str
    serial: int
    avatar: str
    frame: int
    slot: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    worker: bytes
    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepResult:
    """The JPEG that came with slot ``slot`` is the result of this frame."""

    job_id: str
    serial: int
    frame: int
    slot: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSlots:
    worker: bytes
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFrames:
    client: bytes
    job_id: str
    serial: int
    frames: range


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetFrames:
    """The client has the frames before this one for good."""

    job_id: str
    serial: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishJob:
    """Tell the client that the job is over, and forget all but the frames it has not taken."""

    client: bytes
    job_id: str
    serial: int
    state: str  #: "done", "failed" or "cancelled"
    n_frames: int
    n_taken: int = 0  #: frames that the client has for good
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class LoadModel:
    worker: bytes
    model: str


@dataclass(frozen=True, slots=True)
class UnloadModel:
    worker: bytes
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerModel:
    """To who wanted a model in memory, or out of it."""

    client: bytes
    model: str
    code: str = ""  #: empty: it is done
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillWorker:
    """It was silent for longer than it said it would be."""

    worker: bytes
    pid: int


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is left to do, and nothing new is taken."""


Command: TypeAlias = (
    AcceptJob
    | AttachJob
    | Refuse
    | GrantAudio
    | EncodeSpan
    | RunBatch
    | Composite
    | KeepResult
    | ReleaseSlots
    | SendFrames
    | ForgetFrames
    | FinishJob
    | LoadModel
    | UnloadModel
    | AnswerModel
    | KillWorker
    | Drained
)
