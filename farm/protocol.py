"""What clients and the broker say to each other.  Version 1.

Each message is a ZeroMQ multipart message: a msgpack map with ``v`` (1), ``kind`` and the fields
below, then raw payload frames where a message says so.  Clients ignore kinds and fields they do
not know.  The broker answers what it cannot take with ``error`` or ``failed``: a stable ``code``,
a sentence for people, and whether trying again later can help.  See PROTOCOL.md.
"""

import re
from dataclasses import dataclass, field

from workers import wire

VERSION = 1

MAX_CHUNK_BYTES = 1 << 20  #: of one audio chunk: 16 s of float32
MAX_ID_CHARS = 128
JOB_ID = re.compile(r"[A-Za-z0-9 .:@_+-]{1,128}")  #: safe in logs and on terminals
MAX_MODELS_SHOWN = 512  #: ids in a list: a header has an end
MAX_CREDIT = 256  #: frames outstanding: what a client that does not read may cost; more is ignored


# Client to broker.
ENCODINGS = ("whole", "patch")  #: what frames may come as


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Is anybody there?  Answered by ``welcome``."""

    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A new job.  Answered by ``accepted`` or ``failed``.

    The same once more is harmless: it finds the job that runs, or ``done``.
    """

    job_id: str  #: the client's own; unique among the jobs that the farm remembers
    avatar: str  #: an id, never a path
    model: str = ""  #: an id; empty: the avatar's own, else the farm's default
    credit: int  #: frames that may be sent before more credit is given
    priority: int = 0
    deadline_s: float | None = None  #: from now
    sample_format: str = "f32le"  #: or "s16le"; mono, 16 kHz
    first_frame: int = 0  #: those before are not wanted
    attempt: int = 0  #: yours; comes back in ``accepted``
    quality: int | None = None  #: of the JPEGs, 1..95; None: the avatar's own, far quicker
    encoding: str = "whole"  #: or "patch": I join changes with templates that I have
    template_digest: str = ""  #: of the bundle whose templates I have
    known_templates: bytes = b""  #: which of them, as bits; see `farm.shelf`
    template_bytes: int = 0  #: of templates that I will keep besides


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Go on with a job of mine, on this connection.  Answered by ``accepted`` or ``failed``."""

    job_id: str
    next_frame: int  #: the first that I still need: those before are taken
    credit: int  #: frames that may be sent from there; replaces what was granted before
    attempt: int = 0  #: yours; comes back in ``accepted``
    encoding: str = "whole"  #: or "patch": I join changes with templates that I have
    template_digest: str = ""  #: of the bundle whose templates I have
    known_templates: bytes = b""  #: which of them, as bits; see `farm.shelf`
    template_bytes: int = 0  #: of templates that I will keep besides


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Payload: samples, at most ``max_chunk_bytes``, never beyond the samples granted."""

    job_id: str
    seq: int  #: 0, 1, 2, ... since the job was accepted last


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """No more audio."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Send so many frames more; those before ``next_frame`` are taken and may be forgotten."""

    job_id: str
    frames: int
    next_frame: int | None = None  #: None: as many are taken as were granted after the open


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Of a job, or of the farm when ``job_id`` is empty."""

    job_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    nonce: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModels:
    """Answered by ``model_list``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """Answered by ``model_report``, or ``model_answer`` when there is none."""

    model: str  #: empty: the default


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModel:
    """Have it in memory before a job needs it.  Answered by ``model_answer`` once it is."""

    model: str
    pin: bool = False  #: and never make room with it, until it is unloaded by name


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadModel:
    """Have its memory back; refused while a job uses it.  Answered by ``model_answer``."""

    model: str


FROM_CLIENT = wire.kinds(
    Hello,
    Open,
    Resume,
    Audio,
    End,
    Credit,
    Cancel,
    Status,
    Ping,
    ListModels,
    ModelStatus,
    LoadModel,
    UnloadModel,
)


# Broker to client.


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    server: str
    epoch: int  #: another one means: the broker is new, and does not know who you are: resume
    max_chunk_bytes: int
    max_jobs_per_client: int
    encodings: list[str] = field(default_factory=lambda: list(ENCODINGS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The job is ours now.  All that was granted before is void: ``audio_credit`` follows."""

    job_id: str
    position: int  #: jobs ahead of it
    width_px: int
    height_px: int
    fps: int
    first_frame: int = 0  #: the first that will be sent
    next_sample: int = 0  #: of the speech: the first that is wanted
    has_ended: bool = False  #: the farm has all of the speech
    attempt: int = 0  #: of the ``open`` or ``resume`` that this answers
    quality: int = 0  #: of the JPEGs
    path: str = "spliced"  #: or "whole": each frame is encoded anew, many times slower
    encoding: str = "whole"  #: or "patch": what frames come as
    digest: str = ""  #: of the avatar's bundle
    n_templates: int = 1  #: frame i is painted on one of them, walking to and fro
    chroma: str = ""  #: of the JPEGs, and
    interval: int = 0  #: MCUs from one of their restart markers to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioKept:
    """So many samples of the job are on disk: they will not be asked for again."""

    job_id: str
    samples: int  #: in all


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioCredit:
    """So many samples more may be sent."""

    job_id: str
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Payloads: frames ``first``, ``first`` + 1, ..., JPEGs or what changes in their templates'."""

    job_id: str
    first: int
    is_change: list[bool] = field(default_factory=list)  #: of each payload; empty: none is


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Every frame was sent."""

    job_id: str
    frames: int
    elapsed_s: float
    stage_ms: dict[str, float] = field(default_factory=dict)  #: worker time, all frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job is over, or never began."""

    job_id: str
    code: str
    message: str
    retryable: bool
    frames: int = 0  #: sent before
    position: int = 0  #: BUSY: jobs ahead of this one, had it been taken
    retry_after_s: float = 0.0  #: BUSY, STORAGE: when to try again; 0: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """A message could not be taken; no job is touched by it."""

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    job_id: str
    state: str
    position: int
    frames_sent: int
    total_frames: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmReport:
    server: str
    epoch: int
    is_ready: bool
    is_draining: bool
    provider: str
    jobs: list[str]  #: the first few
    n_jobs: int
    workers: dict[str, int]  #: role -> ready ones
    frames_sent: int
    uptime_s: float
    #: Of compositing, by step, since the broker began: frames, mean_ms, p50_ms, p90_ms, p99_ms.
    steps: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    models: list[str]  #: ids, the default first
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """What a model has done since the broker began, and where it is."""

    model: str
    is_default: bool
    is_pinned: bool
    file_bytes: int
    places: dict[str, int]  #: loading, ready, leaving or unloading -> devices
    memory_bytes: dict[str, int]  #: device -> what it takes there, as measured
    provider: str  #: where it runs; empty: it was never loaded
    jobs: int  #: that use it now
    requests: int  #: jobs that were accepted for it
    batches: int
    frames: int  #: that it has painted, those that were painted twice included
    loads: int
    load_ms: float  #: the last one
    busy_s: float  #: of devices, in all
    idle_s: float  #: the same, standing still though a batch for this model was there
    frame_ms: float  #: of a device, on average
    batch_ms: float  #: the same of a batch, and its percentiles, within 19 %
    batch_p50_ms: float
    batch_p90_ms: float
    batch_p99_ms: float
    unused_s: float | None  #: since it was used last; None: it never was


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """It is done, or why not."""

    model: str
    code: str = ""  #: empty: it is done; else UNKNOWN_MODEL, MODEL_FAILED or IN_USE
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """To whoever cancelled somebody else's job; its owner hears ``failed``."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    nonce: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """Sent every other second to clients with jobs: silence means that the farm is gone."""


FROM_BROKER = wire.kinds(
    Welcome,
    Accepted,
    AudioCredit,
    AudioKept,
    Frames,
    Done,
    Failed,
    Error,
    JobReport,
    FarmReport,
    ModelList,
    ModelReport,
    ModelAnswer,
    Cancelled,
    Pong,
    KeepAlive,
)
