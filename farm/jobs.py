"""A job and its frames: their states, and the one place that changes them.

Both tables are complete: a move that is not in them is a bug, raises, and changes nothing.
"""

from bisect import insort
from dataclasses import dataclass, field
from enum import Enum

from farm.errors import IllegalTransition

MAX_CREDIT = 256  #: frames outstanding, whatever a client grants: what one that stops reading costs
NOBODY = b""  #: the client of a detached job


class JobState(Enum):
    LISTENING = "listening"  #: accepted; its speech is still arriving
    RENDERING = "rendering"  #: all of its speech is here
    DONE = "done"  #: every frame was handed to the client
    FAILED = "failed"  #: ended early, with a reason
    CANCELLED = "cancelled"  #: ended early, by the client's wish or because it never came back


JOB_MOVES = {
    (JobState.LISTENING, "end"): JobState.RENDERING,
    (JobState.RENDERING, "finish"): JobState.DONE,
    (JobState.LISTENING, "fail"): JobState.FAILED,
    (JobState.RENDERING, "fail"): JobState.FAILED,
    (JobState.LISTENING, "cancel"): JobState.CANCELLED,
    (JobState.RENDERING, "cancel"): JobState.CANCELLED,
}

OVER = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class FrameState(Enum):
    WAITING = "waiting"  #: for inference, for the first time or again
    RUNNING = "running"  #: in a batch at an inference worker
    RENDERED = "rendered"  #: in a slot of a ring
    LEASED = "leased"  #: a compositor is at work on that slot
    FINISHED = "finished"  #: its JPEG is here, waiting for its turn
    SENT = "sent"  #: its JPEG is still here: the client has not said that it has it


FRAME_MOVES = {
    (FrameState.WAITING, "dispatch"): FrameState.RUNNING,
    (FrameState.RUNNING, "rendered"): FrameState.RENDERED,
    (FrameState.RUNNING, "lost"): FrameState.WAITING,
    (FrameState.RENDERED, "lease"): FrameState.LEASED,
    (FrameState.RENDERED, "lost"): FrameState.WAITING,
    (FrameState.LEASED, "composited"): FrameState.FINISHED,
    (FrameState.LEASED, "returned"): FrameState.RENDERED,  # the compositor died, the slot is intact
    (FrameState.LEASED, "lost"): FrameState.WAITING,  # the ring died under it
    (FrameState.FINISHED, "send"): FrameState.SENT,
    (FrameState.SENT, "again"): FrameState.FINISHED,  # the client came back on another line
}


@dataclass(slots=True, kw_only=True)
class Job:
    """What the scheduler knows of one job.  It holds no samples, features or pixels."""

    job_id: str
    serial: int  #: an id may be used again once a job is over, a serial never is
    client: bytes  #: NOBODY while the job is detached
    avatar: str
    model: str
    priority: int  #: higher goes first
    deadline: float | None  #: on the scheduler's clock

    state: JobState = JobState.LISTENING
    n_samples: int = 0  #: of speech received
    last_heard: float = 0.0  #: when speech last came, on the scheduler's clock
    detached_since: float | None = None
    is_restored: bool = False  #: its client lost it by the farm's fault, and is not back yet
    granted_samples: int = 0  #: the client may send this many in all
    total_frames: int | None = None  #: known once the speech has ended

    n_ready_spans: int = 0  #: spans 0 .. n - 1 can be encoded
    next_span: int = 0  #: never handed out yet
    spans_again: list[int] = field(default_factory=list)  #: handed out to a worker that died

    n_ready_frames: int = 0  #: frames 0 .. n - 1 have all their feature rows
    next_frame: int = 0  #: never dispatched yet
    frames: dict[int, FrameState] = field(default_factory=dict)  #: dispatched, not taken yet
    frame_bytes: dict[int, int] = field(default_factory=dict)  #: of the JPEGs that are here
    n_bytes: int = 0  #: their sum
    lost_frames: list[int] = field(default_factory=list)  #: dispatched in vain, in order
    next_sent: int = 0  #: frames 0 .. n - 1 were handed to the client; goes back when it resumes
    furthest_sent: int = 0  #: the same, and never goes back
    n_taken: int = 0  #: the client has frames 0 .. n - 1 for good
    credit: int = 0  #: frames the client still wants to be sent
    n_granted: int = 0  #: frames granted since the job was opened or resumed, from its first on
    last_turn: int = 0  #: when it last got a place in a batch; the longest ago goes first

    def move(self, event: str) -> None:
        """Raises IllegalTransition, and changes nothing, for a move not in the table."""
        target = JOB_MOVES.get((self.state, event))
        if target is None:
            raise IllegalTransition(f"job {self.job_id}", self.state.value, event)
        self.state = target

    def move_frame(self, frame: int, event: str) -> None:
        """The same for a frame that was dispatched."""
        state = self.frames.get(frame, FrameState.WAITING)
        target = FRAME_MOVES.get((state, event))
        if target is None:
            raise IllegalTransition(f"frame {frame} of {self.job_id}", state.value, event)
        self.frames[frame] = target
        if target is FrameState.WAITING:
            insort(self.lost_frames, frame)
        elif frame in self.lost_frames:
            self.lost_frames.remove(frame)

    def keep_bytes(self, frame: int, n_bytes: int) -> None:
        """A frame's JPEG has come."""
        self.frame_bytes[frame] = n_bytes
        self.n_bytes += n_bytes

    def drop_frame(self, frame: int) -> None:
        """A frame that is of no more use to anybody."""
        self.frames.pop(frame, None)
        self.n_bytes -= self.frame_bytes.pop(frame, 0)

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def owes_speech(self) -> bool:
        """Whether its client could send speech and has not said that there is no more."""
        is_listening = self.state is JobState.LISTENING and self.client != NOBODY
        return is_listening and self.n_samples < self.granted_samples

    @property
    def n_waiting_to_leave(self) -> int:
        """Frames under way or finished, and not sent."""
        return self.next_frame - self.furthest_sent

    def open_frames(self, window_frames: int) -> range:
        """Frames that may be dispatched now for the first time."""
        end = min(self.n_ready_frames, self.next_sent + window_frames)
        if self.total_frames is not None:
            end = min(end, self.total_frames)
        return range(self.next_frame, max(self.next_frame, end))
