"""What the farm knows at one moment.  Changed by ``scheduler`` and ``dispatch``, by nobody else."""

import sys
from collections import Counter, deque
from dataclasses import dataclass

from farm.books import Books
from farm.commands import Command, FinishJob, Lease, ReleaseSlots
from farm.events import Slot
from farm.hands import Worker
from farm.jobs import FrameState, Job
from farm.places import Capacity, Model, PlaceState
from farm.suspects import Suspects


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_jobs: int = 256
    max_jobs_per_client: int = 64
    window_frames: int = 64  #: frames a job may be worked ahead of what its client was sent
    client_silence_s: float = 30.0  #: a job without speech for so long, though it may, is given up
    detached_s: float = 60.0  #: so long a job waits for a client that is gone
    client_mb: int = 64  #: MB of frames for one client that it has not taken

    @property
    def client_bytes(self) -> int:
        return self.client_mb * 1_000_000


class FarmState:
    """Jobs, workers, and the slots between them.  Its attributes hang together."""

    def __init__(self, limits: Limits, capacity: Capacity) -> None:
        self.limits = limits
        self.capacity = capacity
        self.models: dict[str, Model] = {}  #: those that were ever asked for
        self.n_placed = 0  #: loads that were ordered; whose turn it is with "round-robin"
        self.jobs: dict[str, Job] = {}
        self.by_serial: dict[int, Job] = {}
        self.books = Books()
        self.touched: dict[int, Job] = {}  #: jobs that the event at hand has changed
        self.workers: dict[bytes, Worker] = {}
        self.rendered: deque[Lease] = deque()  #: in a slot, waiting for a compositor
        self.suspects = {  #: by their workers' role
            "audio": Suspects(max_group=1),
            "inference": Suspects(max_group=sys.maxsize),
            "compositor": Suspects(max_group=1),
        }
        self.is_draining = False
        self.window_frames = limits.window_frames  #: at least three batches: two at work, one done
        self.n_serials = 0
        self.n_batches = 0
        self.n_turns = 0
        self.now = 0.0  #: of the event at hand
        self.ended_at: deque[float] = deque(maxlen=16)  #: when the last jobs ended
        self.commands: list[Command] = []  #: what the event at hand leads to
        self.released: dict[bytes, list[Slot]] = {}  #: slots to give back, by their ring's owner

    def n_workers_by_role(self) -> Counter[str]:
        return Counter(worker.role for worker in self.workers.values())

    def add(self, job: Job) -> None:
        self.jobs[job.job_id] = self.by_serial[job.serial] = job
        self.touch(job)

    def touch(self, job: Job) -> Job:
        """It is about to change: what follows from that is seen to before the event is over."""
        self.touched[job.serial] = job
        return job

    def touched_job(self, serial: int) -> Job | None:
        """The job of that serial, which is about to change; None when it is over."""
        job = self.by_serial.get(serial)
        return self.touch(job) if job is not None else None

    def book(self, job: Job) -> None:
        self.books.book(job, self.window_frames)

    def widen(self, window_frames: int) -> None:
        """Jobs may be worked ahead further: all of them may have something to do."""
        if window_frames > self.window_frames:
            self.window_frames = window_frames
            self.touched |= self.by_serial

    def is_trying(self, worker: Worker) -> bool:
        """Whether a worker has suspects in hand: until it answers it gets nothing else."""
        suspects = self.suspects[worker.role]
        return bool(suspects) and any(item in suspects for item in worker.in_hand)

    def end(self, job: Job, event: str, code: str = "", message: str = "") -> None:
        """A job is over.  What workers hold of it comes back by itself and is then let go."""
        job.move(event)
        del self.jobs[job.job_id], self.by_serial[job.serial]
        self.touched.pop(job.serial, None)
        self.books.strike(job)
        self.models[job.model].last_used = self.now
        self.ended_at.append(self.now)
        kept = deque(lease for lease in self.rendered if lease.serial != job.serial)
        for lease in self.rendered:
            if lease.serial == job.serial:
                self.release(lease.slot)
        self.rendered = kept
        for suspects in self.suspects.values():
            suspects.forget(job.serial)
        self.commands.append(
            FinishJob(
                client=job.client,
                job_id=job.job_id,
                serial=job.serial,
                state=job.state.value,
                n_frames=job.next_sent,
                n_taken=job.n_taken,
                code=code,
                message=message,
            )
        )

    def is_full(self, client: bytes) -> bool:
        """Whether as many bytes of frames are held for it as one may cost."""
        return self.books.bytes_of_client[client] >= self.limits.client_bytes

    def retry_after_s(self) -> float:
        """When a place may be free: as long as the last jobs took to make one."""
        if not self.ended_at:
            return 5.0
        return min(max((self.now - self.ended_at[0]) / len(self.ended_at), 1.0), 60.0)

    def release(self, slot: Slot) -> None:
        owner = self.workers.get(slot.worker)
        if owner is not None:
            owner.release(slot)
            self.released.setdefault(slot.worker, []).append(slot)

    def take_commands(self) -> list[Command]:
        """What the event led to; slots go back in one message to each ring's owner."""
        released = [ReleaseSlots(worker=w, slots=tuple(s)) for w, s in self.released.items()]
        commands = [*released, *self.commands]
        self.commands, self.released = [], {}
        return commands

    def validate(self) -> None:
        """Assert what must hold between any two events."""
        by_serial = {job.serial: job for job in self.jobs.values()}
        assert by_serial == self.by_serial
        seen: dict[tuple[int, int], FrameState] = {}

        def see(serial: int, frame: int, state: FrameState) -> None:
            if serial in by_serial:
                assert (serial, frame) not in seen, "a frame is in two places"
                seen[serial, frame] = state

        for worker in self.workers.values():
            assert len(worker.batches) + len(worker.blocks) <= worker.n_blocks
            for run in (run for runs in worker.batches.values() for run in runs):
                for frame in run.frames:
                    see(run.serial, frame, FrameState.RUNNING)
            for lease in worker.leases.values():
                see(lease.serial, lease.frame, FrameState.LEASED)
                assert lease.slot.worker in self.workers, "a lease on a dead ring"
        for lease in self.rendered:
            assert lease.serial in by_serial, "a slot kept for a job that is over"
            see(lease.serial, lease.frame, FrameState.RENDERED)
        for job in self.jobs.values():
            assert not job.is_over
            assert job.next_frame - job.furthest_sent <= self.window_frames
            assert job.next_sent <= job.furthest_sent <= job.next_frame
            assert job.credit >= 0
            assert job.n_bytes == sum(job.frame_bytes.values())
            assert set(job.frame_bytes) <= set(job.frames)
            for frame, state in job.frames.items():
                if state is FrameState.SENT:
                    assert job.n_taken <= frame < job.next_sent
                    continue
                assert job.next_sent <= frame < job.next_frame
                if state not in (FrameState.WAITING, FrameState.FINISHED):
                    assert seen.pop((job.serial, frame), None) is state
        assert not seen, "workers hold frames that no job knows"
        self._validate_suspects()
        self._validate_places()
        self._validate_books()

    def _validate_books(self) -> None:
        """They are what booking all jobs anew gives."""
        assert not self.touched, "what follows from a change was not seen to"
        anew = Books()
        anew.client_turns.update(self.books.client_turns)
        for job in self.jobs.values():
            anew.book(job, self.window_frames)
        for name in ("n_jobs_of_client", "bytes_of_client", "n_wanting", "n_open", "client_turns"):
            assert getattr(anew, name) == getattr(self.books, name), name
        for ours, wanted in ((self.books.frames, anew.frames), (self.books.spans, anew.spans)):
            for model in {*ours, *wanted}:
                assert list(ours[model].serials()) == list(wanted[model].serials()), model

    def _validate_places(self) -> None:
        assert {job.model for job in self.jobs.values()} <= set(self.models)
        for worker in self.workers.values():
            assert set(worker.places) <= set(self.models)
            for place in worker.places.values():
                assert place.state is not PlaceState.ABSENT, "a place that is none"
            for model in (*worker.spans.values(), *_models_of(worker)):
                place = worker.places[model]
                assert place.state in (PlaceState.READY, PlaceState.LEAVING), "taken while in use"
        for runs in (runs for worker in self.workers.values() for runs in worker.batches.values()):
            assert len({run.model for run in runs}) == 1, "a batch of two models"

    def _validate_suspects(self) -> None:
        by_serial = self.by_serial
        for suspects in self.suspects.values():
            suspects.validate()
            assert {serial for serial, _ in suspects} <= set(by_serial), "a suspect of no job"
        for worker in self.workers.values():
            if self.is_trying(worker):
                group = self.suspects[worker.role].group(worker.in_hand[0])
                assert set(worker.in_hand) == set(group), "suspects are not apart"
        for serial, job in by_serial.items():
            again = {(serial, span) for span in job.spans_again}
            assert again <= set(self.suspects["audio"]), "a dead worker's span is not suspected"
        for serial, frame in self.suspects["inference"]:
            state = by_serial[serial].frames[frame]
            assert state in (FrameState.WAITING, FrameState.RUNNING), "a suspect was not cleared"


def _models_of(worker: Worker) -> set[str]:
    return {run.model for runs in worker.batches.values() for run in runs}
