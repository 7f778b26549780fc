"""All decisions of the farm: ``handle(event, now) -> commands``.

Pure: no socket, no clock, no bytes.  The same events at the same times give the same commands, so
any run can be replayed from its log.  The broker is its hands.
"""

from farm import admission, attachment, model_events
from farm.commands import Command, KeepResult, KillWorker, Lease, Refuse
from farm.deaths import remove_worker
from farm.dispatch import assign
from farm.events import (
    AudioArrived,
    AudioEnded,
    BatchRendered,
    CancelWanted,
    ClientGone,
    CreditGranted,
    DrainWanted,
    Event,
    FramesComposited,
    JobOpened,
    JobRestored,
    JobResumed,
    ModelLoaded,
    ModelNotLoaded,
    ModelUnloaded,
    ModelUnwanted,
    ModelWanted,
    SlotsUnreadable,
    SpanEncoded,
    Ticked,
    WorkerBeat,
    WorkerGone,
    WorkerReady,
    WorkFailed,
)
from farm.hands import Worker
from farm.jobs import Job, JobState
from farm.places import Capacity
from farm.state import FarmState, Limits

MAX_UNREADABLE = (
    200  #: slots of a living worker: somebody removed its ring, and it must have another
)
FIRST_BEAT_S = 10.0  #: until a worker has said how often it will be heard: it does so at once


class Scheduler:
    """Turns events into commands, one at a time."""

    def __init__(self, limits: Limits, capacity: Capacity) -> None:
        self.state = FarmState(limits, capacity)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; give what is to be done because of it, in order."""
        state = self.state
        state.now = now
        match event:
            case JobOpened():
                admission.admit(state, event, now)
            case JobRestored():
                attachment.restore(state, event, now)
            case JobResumed():
                attachment.resume(state, event, now)
            case AudioArrived():
                _hear(state, event, now)
            case AudioEnded():
                _end_audio(state, event)
            case CreditGranted():
                if job := _own_job(state, event):
                    attachment.grant(state, job, event)
            case CancelWanted():
                _cancel(state, event)
            case ClientGone(client):
                attachment.detach(state, client, now)
                model_events.forget_asker(state, client)
            case DrainWanted():
                state.is_draining = True
            case WorkerReady():
                _add_worker(state, event, now)
            case WorkerGone(identity):
                remove_worker(state, identity)
            case WorkerBeat():
                if worker := state.workers.get(event.worker):
                    worker.deadline = now + event.silent_s
                return []
            case ModelWanted():
                model_events.want(state, event)
            case ModelUnwanted():
                model_events.unwant(state, event)
            case ModelLoaded():
                model_events.loaded(state, event)
            case ModelNotLoaded():
                model_events.not_loaded(state, event)
            case ModelUnloaded():
                model_events.unloaded(state, event)
            case SpanEncoded():
                _take_features(state, event)
            case BatchRendered():
                _take_slots(state, event)
            case FramesComposited():
                _take_results(state, event)
            case SlotsUnreadable():
                _return_slots(state, event)
            case WorkFailed():
                if job := state.by_serial.get(event.serial):
                    state.end(job, "fail", event.code, event.message)
            case Ticked():
                _check_deadlines(state, now)
        assign(state)
        return state.take_commands()


# What clients want.


def _own_job(state: FarmState, event: AudioArrived | AudioEnded | CreditGranted) -> Job | None:
    """The job a client speaks of; None for late words about one that is over."""
    job = state.jobs.get(event.job_id)
    return state.touch(job) if job is not None and job.client == event.client else None


def _hear(state: FarmState, event: AudioArrived, now: float) -> None:
    job = _own_job(state, event)
    if job is None:
        return
    job.last_heard = now
    job.n_samples += event.n_samples
    job.n_ready_spans = max(job.n_ready_spans, event.n_ready_spans)
    if job.state is not JobState.LISTENING:
        state.end(job, "fail", "BAD_MESSAGE", "audio after its end")
    elif job.n_samples > job.granted_samples:
        state.end(job, "fail", "NO_CREDIT", "more audio than was granted")


def _end_audio(state: FarmState, event: AudioEnded) -> None:
    job = _own_job(state, event)
    if job is None:
        return
    if job.state is not JobState.LISTENING:
        state.end(job, "fail", "BAD_MESSAGE", "a second end of its audio")
    elif event.total_spans == 0:
        state.end(job, "fail", "BAD_AUDIO", "holds no sound (0 samples)")
    else:
        job.move("end")
        job.n_ready_spans = event.total_spans
        job.total_frames = event.total_frames


def _cancel(state: FarmState, event: CancelWanted) -> None:
    job = state.jobs.get(event.job_id)
    if job is not None:
        state.end(job, "cancel", "CANCELLED", "cancelled")
        return
    message = "no job of this id is running"
    state.commands.append(
        Refuse(client=event.client, job_id=event.job_id, code="UNKNOWN_JOB", message=message)
    )


# What workers bring.


def _add_worker(state: FarmState, event: WorkerReady, now: float) -> None:
    worker = state.workers[event.worker] = Worker(
        identity=event.worker,
        role=event.role,
        pid=event.pid,
        deadline=now + FIRST_BEAT_S,
        n_blocks=event.n_blocks,
        batch_size=event.batch_size,
        device=event.device,
        device_bytes=event.device_bytes,
    )
    model_events.found(state, worker, event.models)
    state.widen(3 * event.batch_size)


def _take_features(state: FarmState, event: SpanEncoded) -> None:
    worker = state.workers.get(event.worker)
    if worker is None or (event.serial, event.span) not in worker.spans:
        return
    del worker.spans[event.serial, event.span]
    state.suspects["audio"].clear((event.serial, event.span))
    if job := state.touched_job(event.serial):
        job.n_ready_frames = max(job.n_ready_frames, event.n_ready_frames)


def _take_slots(state: FarmState, event: BatchRendered) -> None:
    worker = state.workers.get(event.worker)
    if worker is None or event.batch not in worker.batches:
        return
    runs = worker.batches.pop(event.batch)
    model_events.grew(state, worker, runs[0].model, event.model_bytes)
    worker.blocks[event.batch] = set(event.slots)
    frames = [(run, frame) for run in runs for frame in run.frames]
    for (run, frame), slot in zip(frames, event.slots, strict=True):
        state.suspects["inference"].clear((run.serial, frame))
        if job := state.touched_job(run.serial):
            job.move_frame(frame, "rendered")
            state.rendered.append(Lease(run.job_id, run.serial, run.avatar, frame, slot))
        else:
            state.release(slot)


def _take_results(state: FarmState, event: FramesComposited) -> None:
    worker = state.workers.get(event.worker)
    if worker is None:
        return
    sizes = dict(zip(event.slots, event.n_bytes, strict=False))
    for slot in event.slots:
        lease = worker.take_back(slot)
        if lease is None:
            continue  # its ring died meanwhile, and the frame is made again
        state.suspects["compositor"].clear((lease.serial, lease.frame))
        if job := state.touched_job(lease.serial):
            job.move_frame(lease.frame, "composited")
            job.keep_bytes(lease.frame, sizes.get(slot, 0))
            state.commands.append(
                KeepResult(job_id=job.job_id, serial=job.serial, frame=lease.frame, slot=slot)
            )
        state.release(slot)


def _return_slots(state: FarmState, event: SlotsUnreadable) -> None:
    """Back to the queue: if their ring is really gone, they are lost when that is said."""
    worker = state.workers.get(event.worker)
    if worker is None:
        return
    for slot in event.slots:
        lease = worker.take_back(slot)
        if lease is None:
            continue
        if job := state.touched_job(lease.serial):
            job.move_frame(lease.frame, "returned")
            state.rendered.append(lease)
        else:
            state.release(slot)
        if (owner := state.workers.get(slot.worker)) is not None:
            owner.n_unreadable += 1
            if owner.n_unreadable == MAX_UNREADABLE:
                state.commands.append(KillWorker(worker=owner.identity, pid=owner.pid))


def _check_deadlines(state: FarmState, now: float) -> None:
    attachment.cancel_abandoned(state, now)
    model_events.check_time(state, now)
    for job in [j for j in state.jobs.values() if j.deadline is not None and now > j.deadline]:
        state.end(job, "fail", "DEADLINE", "its deadline has passed")
    silent_since = now - state.limits.client_silence_s
    for job in [j for j in state.jobs.values() if j.owes_speech and j.last_heard < silent_since]:
        state.end(job, "fail", "SILENT", "no speech came, though it was granted, for too long")
    for worker in state.workers.values():
        if now > worker.deadline:
            state.commands.append(KillWorker(worker=worker.identity, pid=worker.pid))
            worker.deadline = float("inf")  # its end is told by WorkerGone
