"""What happens to the farm: the scheduler's input.  Past tense; frozen, so that a log replays."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOpened:
    client: bytes
    job_id: str
    avatar: str
    model: str
    model_bytes: int  #: of its files
    credit: int  #: frames the client takes before it grants more
    priority: int = 0
    deadline: float | None = None
    first_frame: int = 0  #: those before are not wanted
    first_span: int = 0  #: nor are these


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRestored:
    """A job that the broker before had accepted.  Its client will come back, or not."""

    job_id: str
    avatar: str
    model: str
    model_bytes: int  #: of its files
    priority: int
    deadline: float | None
    first_frame: int  #: those before were taken
    first_span: int  #: those before are not needed
    n_samples: int  #: of speech that is here
    n_ready_spans: int
    total_frames: int | None  #: once the speech has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResumed:
    """A client goes on with a job, its own or one that nobody has."""

    client: bytes
    job_id: str
    next_frame: int | None  #: the first it still needs; None: the first that nobody has taken
    credit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioArrived:
    client: bytes
    job_id: str
    n_samples: int  #: in this chunk
    n_ready_spans: int  #: so far


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioEnded:
    client: bytes
    job_id: str
    total_spans: int
    total_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGranted:
    client: bytes
    job_id: str
    frames: int
    next_frame: int | None = None  #: those before are taken; None: as many as were granted


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    client: bytes
    job_id: str


@dataclass(frozen=True, slots=True)
class ClientGone:
    """Its line is cut."""

    client: bytes


@dataclass(frozen=True, slots=True)
class DrainWanted:
    """Finish what runs, take nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReady:
    worker: bytes
    role: str  #: "audio", "inference" or "compositor"
    pid: int
    n_blocks: int = 0  #: of an inference worker's ring
    batch_size: int = 0  #: slots a block
    device: str = ""  #: of an inference worker
    device_bytes: int = 0  #: that it has; 0: nobody knows
    models: tuple[tuple[str, int], ...] = ()  #: in its memory, and the bytes each takes


@dataclass(frozen=True, slots=True)
class WorkerGone:
    worker: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBeat:
    """A worker lives, and says how long it may now be silent."""

    worker: bytes
    silent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWanted:
    """An operator asks for it in memory."""

    client: bytes
    model: str
    file_bytes: int
    is_pinned: bool  #: and wants it to stay


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUnwanted:
    """An operator asks for it out of memory."""

    client: bytes
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded:
    worker: bytes
    model: str
    n_bytes: int  #: that it takes there, as measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNotLoaded:
    worker: bytes
    model: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUnloaded:
    worker: bytes
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEncoded:
    worker: bytes
    serial: int  #: of the job
    span: int
    n_ready_frames: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A frame's place in a ring, as its descriptor names it."""

    worker: bytes  #: the inference worker that owns the ring
    slot: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRendered:
    worker: bytes
    batch: int
    slots: tuple[Slot, ...]  #: one for each frame of the batch, in its order
    model_bytes: int = 0  #: that its model takes now; 0: not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesComposited:
    worker: bytes
    slots: tuple[Slot, ...]
    n_bytes: tuple[int, ...] = ()  #: of each JPEG


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsUnreadable:
    """A compositor could not read its slots: their ring is gone, or about to be said to be."""

    worker: bytes
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFailed:
    """A worker lives but could not do its task: the task's fault, not the worker's.

    The task's ordinary end follows, so that the worker's hands are free again.
    """

    worker: bytes
    serial: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""


Event: TypeAlias = (
    JobOpened
    | JobRestored
    | JobResumed
    | AudioArrived
    | AudioEnded
    | CreditGranted
    | CancelWanted
    | ClientGone
    | DrainWanted
    | WorkerReady
    | WorkerGone
    | WorkerBeat
    | ModelWanted
    | ModelUnwanted
    | ModelLoaded
    | ModelNotLoaded
    | ModelUnloaded
    | SpanEncoded
    | BatchRendered
    | FramesComposited
    | SlotsUnreadable
    | WorkFailed
    | Ticked
)
