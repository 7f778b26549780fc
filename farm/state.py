"""What the farm knows at one moment.  Changed by ``scheduler`` and ``dispatch``, by nobody else."""

from collections import Counter, deque
from dataclasses import dataclass

from farm.commands import Command, FinishJob, Lease, ReleaseSlots
from farm.events import Slot
from farm.hands import Worker
from farm.jobs import FrameState, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_jobs: int = 256
    max_jobs_per_client: int = 64
    window_frames: int = 64  #: frames a job may be worked ahead of what its client was sent
    client_silence_s: float = 30.0  #: a job without speech for so long, though it may, is given up


class FarmState:
    """Jobs, workers, and the slots between them.  Its attributes hang together."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.jobs: dict[str, Job] = {}
        self.workers: dict[bytes, Worker] = {}
        self.rendered: deque[Lease] = deque()  #: in a slot, waiting for a compositor
        self.is_draining = False
        self.window_frames = limits.window_frames  #: at least three batches: two at work, one done
        self.n_serials = 0
        self.n_batches = 0
        self.n_turns = 0
        self.commands: list[Command] = []  #: what the event at hand leads to
        self.released: dict[bytes, list[Slot]] = {}  #: slots to give back, by their ring's owner

    def n_workers_by_role(self) -> Counter[str]:
        return Counter(worker.role for worker in self.workers.values())

    def by_serial(self) -> dict[int, Job]:
        return {job.serial: job for job in self.jobs.values()}

    def end(self, job: Job, event: str, code: str = "", message: str = "") -> None:
        """A job is over.  What workers hold of it comes back by itself and is then let go."""
        job.move(event)
        del self.jobs[job.job_id]
        kept = deque(lease for lease in self.rendered if lease.serial != job.serial)
        for lease in self.rendered:
            if lease.serial == job.serial:
                self.release(lease.slot)
        self.rendered = kept
        self.commands.append(
            FinishJob(
                client=job.client,
                job_id=job.job_id,
                serial=job.serial,
                state=job.state.value,
                n_frames=job.next_sent,
                code=code,
                message=message,
            )
        )

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
            assert job.next_frame - job.next_sent <= self.window_frames
            assert job.credit >= 0
            for frame, state in job.frames.items():
                assert job.next_sent <= frame < job.next_frame
                if state not in (FrameState.WAITING, FrameState.FINISHED):
                    assert seen.pop((job.serial, frame), None) is state
        assert not seen, "workers hold frames that no job knows"
