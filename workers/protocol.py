"""What the broker and its workers say to each other.  Version 1.

Both ends come from one installation and trust each other; types are checked all the same, so that
a mistake is named where it is made.  Payloads follow the header as raw frames.
"""

from dataclasses import dataclass, field

from workers import wire

VERSION = 1


# Worker to broker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First words; the worker loads and warms up after them.  Said again after a ``reset``."""

    role: str  #: audio, inference or compositor
    name: str
    pid: int
    epoch: int = 0  #: of the broker whose ``reset`` it obeyed; 0: it never had a task


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Warm: send work."""

    device: str = ""  #: of an inference worker
    device_bytes: int = 0  #: that it has; 0: nobody knows
    provider: str = ""  #: where inference runs; empty while it has no model
    models: dict[str, int] = field(default_factory=dict)  #: that are loaded: id -> bytes
    n_blocks: int = 0  #: of an inference worker's ring
    batch_size: int = 0
    ring: str = ""
    ring_epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """I live, and may be silent for ``silent_s`` now, because of ``phase``."""

    phase: str
    silent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded:
    """Send work for it."""

    model: str
    provider: str
    memory_bytes: int  #: that it takes, as measured
    load_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNotLoaded:
    """Its files are at fault, or there is no room for it."""

    model: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUnloaded:
    """Its memory is free."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanDone:
    """Payload: features, float32 (n, 512); none when the task failed."""

    serial: int
    span: int
    busy_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDone:
    """The batch's frames are in these slots of the worker's ring, in their order."""

    batch: int
    slots: list[int] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)
    busy_ms: float = 0.0  #: of the device
    idle_ms: float = 0.0  #: of the device before it, though this batch had arrived
    memory_bytes: int = 0  #: that its model takes now


@dataclass(frozen=True, slots=True, kw_only=True)
class PasteDone:
    """Payloads: a JPEG or a change for each slot of the ticket, empty where its task failed."""

    ticket: int
    is_change: list[bool]  #: of each slot
    step_ms: dict[str, float] = field(default_factory=dict)  #: by step, of the whole ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a compositor's frames took since it said so last; once a second at most.

    Only the new ones: a broker adds them up, and a worker that dies takes none back.
    """

    steps: dict[str, list[int]]  #: step -> a histogram of frames, as `workers.histogram` lists it


@dataclass(frozen=True, slots=True, kw_only=True)
class PasteLost:
    """The slots of a ticket cannot be read: their ring is gone, or is going.  Nobody's fault."""

    ticket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed:
    """A job's data or model is at fault.  The task's ordinary end follows."""

    serial: int
    code: str
    message: str


FROM_WORKER = wire.kinds(
    Hello,
    Ready,
    Beat,
    ModelLoaded,
    ModelNotLoaded,
    ModelUnloaded,
    SpanDone,
    BatchDone,
    PasteDone,
    Times,
    PasteLost,
    TaskFailed,
)


# Broker to worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModel:
    """Answered by ``model_loaded`` or ``model_not_loaded``; other work goes on meanwhile."""

    model: str  #: id
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadModel:
    """Nothing of it is under way.  Answered by ``model_unloaded``."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSpan:
    """Payload: samples, float32 (n,)."""

    model: str  #: that is loaded
    serial: int
    span: int
    first_sample: int
    total_samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBatch:
    """Payloads: for each run, its feature rows, float32 (n + 15, 512)."""

    batch: int
    model: str  #: that is loaded
    serials: list[int]
    bundles: list[str]  #: directories
    digests: list[str]  #: of the bundles: one may be replaced while the farm runs
    first_frames: list[int]
    counts: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSlots:
    slots: list[int]
    generations: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paste:
    """Take these slots of one or several rings, give a JPEG for each."""

    ticket: int
    serials: list[int]
    bundles: list[str]
    digests: list[str]
    qualities: list[int]  #: of the JPEGs; 0: what the bundle was compiled with
    wants_change: list[bool]  #: only what tells a frame from its template, where it is spliced
    frames: list[int]
    rings: list[str]
    ring_epochs: list[int]
    slots: list[int]
    generations: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """I do not know you: drop every task, free every slot, then ``hello`` and ``ready`` again.

    Sent once to whoever speaks without a ``hello``: a worker that outlived its broker.  What it was
    asked before this is another broker's; what it says before its next ``hello`` is not heard.
    """

    epoch: int


FROM_BROKER = wire.kinds(LoadModel, UnloadModel, EncodeSpan, RunBatch, ReleaseSlots, Paste, Reset)
