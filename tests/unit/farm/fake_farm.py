"""A farm without processes: carries out the scheduler's commands when a test says so."""

from dataclasses import dataclass, field

from farm.commands import (
    AttachJob,
    Command,
    Composite,
    EncodeSpan,
    FinishJob,
    GrantAudio,
    KeepResult,
    Lease,
    LoadModel,
    RunBatch,
    SendFrames,
    UnloadModel,
)
from farm.events import (
    AudioArrived,
    AudioEnded,
    BatchRendered,
    ClientGone,
    CreditGranted,
    Event,
    FramesComposited,
    JobOpened,
    JobResumed,
    ModelLoaded,
    ModelNotLoaded,
    ModelUnloaded,
    Slot,
    SpanEncoded,
    Ticked,
    WorkerGone,
    WorkerReady,
)
from farm.places import Capacity
from farm.scheduler import Scheduler
from farm.state import Limits

SPAN_SAMPLES = 32 * 640

Task = EncodeSpan | RunBatch | Composite | LoadModel | UnloadModel


@dataclass
class FakeJob:
    """What a client wants and got."""

    client: bytes
    total_frames: int
    is_eager: bool = False  #: grants credit for every frame it gets
    is_cut: bool = False  #: its line is; it says nothing and hears nothing
    n_lines: int = 1
    n_pushed: int = 0
    granted: int = 0
    has_ended: bool = False
    spans: set[int] = field(default_factory=set)
    results: set[int] = field(default_factory=set)
    received: list[int] = field(default_factory=list)
    verdict: FinishJob | None = None

    @property
    def total_samples(self) -> int:
        return self.total_frames * 640

    @property
    def total_spans(self) -> int:
        return -(-(self.total_frames + 2) // 32)

    @property
    def n_ready_frames(self) -> int:
        joined = next(k for k in range(1 << 30) if k not in self.spans)
        if self.has_ended and joined >= self.total_spans:
            return self.total_frames
        return max(0, 32 * joined - 6)


class FakeFarm:
    """Keeps every task until a test finishes it; checks the invariants after every event."""

    def __init__(self, capacity: Capacity | None = None, **limits: int) -> None:
        self.capacity, self.limits = capacity or Capacity(), Limits(**limits)
        self.scheduler = Scheduler(self.limits, self.capacity)
        self.now = 0.0
        self.log: list[tuple[Event, float]] = []
        self.commands: list[Command] = []
        self.jobs: dict[str, FakeJob] = {}
        self.tasks: list[Task] = []
        self.model_bytes: dict[str, int] = {}  #: what a model takes once it is loaded; 100 MB
        self.broken_models: set[str] = set()
        self.n_loads = 0
        self.generations: dict[tuple[bytes, int], int] = {}
        self.n_workers = 0
        self.jpeg_bytes = 100_000

    def tell(self, event: Event) -> list[Command]:
        self.log.append((event, self.now))
        done = self.scheduler.handle(event, self.now)
        self.scheduler.state.validate()
        self.commands += done
        for command in done:
            self._carry_out(command)
        for command in done:
            if isinstance(command, SendFrames) and self.jobs[command.job_id].is_eager:
                self.grant(command.job_id, len(command.frames))
        return done

    def _carry_out(self, command: Command) -> None:
        match command:
            case EncodeSpan() | RunBatch() | Composite() | UnloadModel():
                self.tasks.append(command)
            case LoadModel():
                self.n_loads += 1
                self.tasks.append(command)
            case GrantAudio():
                self.jobs[command.job_id].granted += command.n_samples
            case KeepResult():
                assert command.frame not in self.jobs[command.job_id].results, "made twice"
                self.jobs[command.job_id].results.add(command.frame)
            case SendFrames():
                job = self.jobs[command.job_id]
                assert job.results >= set(command.frames), "sent before it was made"
                assert not job.is_cut, "sent to nobody"
                assert command.client == job.client, "sent to a dead line"
                assert command.frames.start <= len(job.received), "a gap"
                job.received += command.frames[len(job.received) - command.frames.start :]
            case AttachJob():
                job = self.jobs[command.job_id]
                job.granted = job.n_pushed
                assert command.first_frame == len(job.received)
            case FinishJob():
                self.jobs[command.job_id].verdict = command

    def add_worker(self, role: str, models: str = "m", **more: object) -> bytes:
        """``models`` : ids of one letter, in its memory from the first."""
        self.n_workers += 1
        identity = b"%s-%d" % (role.encode(), self.n_workers)
        held = tuple((model, self.size_of(model)) for model in models)
        self.tell(
            WorkerReady(
                worker=identity,
                role=role,
                pid=self.n_workers,
                models=() if role == "compositor" else held,
                **more,  # type: ignore[arg-type]
            )
        )
        return identity

    def size_of(self, model: str) -> int:
        return self.model_bytes.get(model, 100_000_000)

    def add_all_workers(self, n_compositors: int = 2, batch_size: int = 8) -> None:
        self.add_worker("audio")
        self.add_worker("inference", n_blocks=4, batch_size=batch_size)
        for _ in range(n_compositors):
            self.add_worker("compositor")

    def open(
        self,
        job_id: str,
        total_frames: int,
        credit: int = 1 << 40,
        client: bytes = b"",
        **more: object,
    ) -> None:
        """``client`` : empty for one of the job's own."""
        client = client or b"client of " + job_id.encode()
        self.jobs[job_id] = FakeJob(client, total_frames, is_eager=credit >= 1_000)
        fields = {"model": "m", "model_bytes": 1_000_000, **more}
        self.tell(JobOpened(client=client, job_id=job_id, avatar="a", credit=credit, **fields))  # type: ignore[arg-type]

    def push(self, job_id: str) -> bool:
        """Send one more second of speech, or its end; False when there is nothing to send."""
        job = self.jobs[job_id]
        if job.has_ended or job.verdict is not None or job.is_cut:
            return False
        n = min(16_000, job.total_samples - job.n_pushed, job.granted - job.n_pushed)
        if n > 0:
            job.n_pushed += n
            n_ready = job.n_pushed // (SPAN_SAMPLES + 4_000)
            self.tell(
                AudioArrived(client=job.client, job_id=job_id, n_samples=n, n_ready_spans=n_ready)
            )
        elif job.n_pushed == job.total_samples:
            job.has_ended = True
            self.tell(
                AudioEnded(
                    client=job.client,
                    job_id=job_id,
                    total_spans=job.total_spans,
                    total_frames=job.total_frames,
                )
            )
        return n > 0 or job.has_ended

    def grant(self, job_id: str, frames: int, *, says_what_it_has: bool = False) -> None:
        job = self.jobs[job_id]
        if not job.is_cut:
            taken = len(job.received) if says_what_it_has else None
            self.tell(
                CreditGranted(client=job.client, job_id=job_id, frames=frames, next_frame=taken)
            )

    def cut(self, job_id: str) -> None:
        """A client's line breaks."""
        self.jobs[job_id].is_cut = True
        self.tell(ClientGone(self.jobs[job_id].client))

    def resume(self, job_id: str, credit: int) -> None:
        """It comes back on another line, whether the old one is known to be cut or not."""
        job = self.jobs[job_id]
        job.is_cut, job.n_lines = False, job.n_lines + 1
        job.client = b"line %d of %s" % (job.n_lines, job_id.encode())
        job.is_eager = credit >= 1_000
        n = len(job.received)
        self.tell(JobResumed(client=job.client, job_id=job_id, next_frame=n, credit=credit))

    def finish(self, task: Task) -> None:
        """A worker finishes a task it was given."""
        self.tasks.remove(task)
        match task:
            case LoadModel(worker, model) if model in self.broken_models:
                self.tell(ModelNotLoaded(worker=worker, model=model, message="broken"))
            case LoadModel(worker, model):
                n_bytes = self.size_of(model)
                self.tell(ModelLoaded(worker=worker, model=model, n_bytes=n_bytes))
            case UnloadModel(worker, model):
                self.tell(ModelUnloaded(worker=worker, model=model))
            case EncodeSpan():
                job = self.jobs[task.job_id]
                job.spans.add(task.span)
                self.tell(
                    SpanEncoded(
                        worker=task.worker,
                        serial=task.serial,
                        span=task.span,
                        n_ready_frames=job.n_ready_frames,
                    )
                )
            case RunBatch():
                n = sum(len(run.frames) for run in task.runs)
                slots = tuple(self._fresh_slot(task.worker, task.batch, k) for k in range(n))
                self.tell(BatchRendered(worker=task.worker, batch=task.batch, slots=slots))
            case Composite():
                slots = tuple(lease.slot for lease in task.leases)
                n_bytes = tuple(self.jpeg_bytes for _ in slots)
                self.tell(FramesComposited(worker=task.worker, slots=slots, n_bytes=n_bytes))

    def _fresh_slot(self, worker: bytes, batch: int, k: int) -> Slot:
        return Slot(worker, k, batch)

    def kill(self, worker: bytes) -> None:
        """A worker dies; what it was doing is never heard of again."""
        self.tasks = [task for task in self.tasks if task.worker != worker]
        self.tell(WorkerGone(worker))

    def run(self) -> None:
        """Let everything happen, first come first served, until nothing does."""
        busy = True
        while busy:
            pushed = [self.push(job_id) for job_id in self.jobs]
            busy = any(pushed)
            while self.tasks:
                self.finish(self.tasks[0])
                busy = True
            busy = busy or self.wait_for_room()

    def wait_for_room(self) -> bool:
        """Let time pass while a job's model is nowhere; whether that led to something."""
        state = self.scheduler.state
        placed = {model for worker in state.workers.values() for model in worker.places}
        waiting = any(job.model not in placed for job in state.jobs.values())
        for _ in range(20 if waiting else 0):
            self.now += 1.0
            self.tell(Ticked())
            if self.tasks:
                return True
        return False

    def leases(self) -> list[Lease]:
        return [x for task in self.tasks if isinstance(task, Composite) for x in task.leases]
