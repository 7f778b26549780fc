"""Jobs and the clients they belong to: lost, found again, and how far they have come.

A job whose client is gone is detached: what workers have in hand of it is finished, and the rest
waits until the client resumes it, its time is up, or its place is needed.  Frames that were sent
stay until the client has taken them, so that a line that breaks costs nothing.  A restored job is
detached too, but its client went away by the farm's fault: it keeps its place, and is worked on.
"""

from farm.commands import AcceptJob, AttachJob, ForgetFrames, Refuse
from farm.events import CreditGranted, JobRestored, JobResumed
from farm.jobs import MAX_CREDIT, NOBODY, Job
from farm.model_events import know
from farm.state import FarmState

RETURN_S = 5.0  #: a client whose line broke is back by then: until then its place is its own


def detach(state: FarmState, client: bytes, now: float) -> None:
    """A client is gone; its jobs wait for it."""
    for job in state.jobs.values():
        if job.client == client:
            state.touch(job)
            job.client, job.detached_since, job.credit = NOBODY, now, 0


def cancel_abandoned(state: FarmState, now: float) -> None:
    """Nobody came back for these, or together they cost more than one client may.

    Restored ones are not given up for their bytes: full windows bound those.
    """
    waiting = _longest_away_first(state)
    n_bytes = sum(job.n_bytes for _, job in waiting if not job.is_restored)
    for since, job in waiting:
        is_too_much = n_bytes > state.limits.client_bytes and not job.is_restored
        if since < now - state.limits.detached_s or is_too_much:
            n_bytes -= job.n_bytes
            state.end(job, "cancel", "CANCELLED", "its client is gone")


def make_room(state: FarmState, now: float) -> None:
    """The farm is full, and somebody is there: the job that waited longest for nobody gives way."""
    for since, job in _longest_away_first(state)[:1]:
        if since < now - RETURN_S and not job.is_restored:
            state.end(job, "cancel", "CANCELLED", "its client is gone, and its place was needed")


def _longest_away_first(state: FarmState) -> list[tuple[float, Job]]:
    away = [(job.detached_since, job) for job in state.jobs.values()]
    return sorted(
        ((since, job) for since, job in away if since is not None),
        key=lambda waiting: (waiting[1].is_restored, waiting[0]),
    )


def restore(state: FarmState, event: JobRestored, now: float) -> None:
    """A job of the broker before: accepted once, so no limit refuses it now."""
    state.n_serials += 1
    know(state, event.model, event.model_bytes)
    job = Job(
        job_id=event.job_id,
        serial=state.n_serials,
        client=NOBODY,
        avatar=event.avatar,
        model=event.model,
        priority=event.priority,
        deadline=event.deadline,
        detached_since=now,
        is_restored=True,
        last_heard=now,
        last_turn=state.n_turns,
        n_samples=event.n_samples,
        granted_samples=event.n_samples,
        n_ready_spans=event.n_ready_spans,
        next_span=event.first_span,
    )
    _begin_at(job, event.first_frame)
    if event.total_frames is not None:
        job.move("end")
        job.total_frames = event.total_frames
    position = len(state.jobs)
    state.add(job)
    state.commands.append(
        AcceptJob(
            client=NOBODY,
            job_id=job.job_id,
            serial=job.serial,
            model=job.model,
            position=position,
        )
    )


def resume(state: FarmState, event: JobResumed, now: float) -> None:
    """A client wants to go on with a job; whoever had it before has it no more."""
    job = state.jobs.get(event.job_id)
    if job is None:
        _refuse(state, event, "UNKNOWN_JOB", "no job of this id is running")
        return
    wanted = job.n_taken if event.next_frame is None else event.next_frame
    if wanted < job.n_taken:
        _refuse(state, event, "BAD_MESSAGE", f"frames before {job.n_taken} were taken and are gone")
        return
    if job.total_frames is not None and wanted > job.total_frames:
        _refuse(state, event, "BAD_MESSAGE", f"frame {wanted} of {job.total_frames}")
        return
    state.touch(job)
    job.client, job.detached_since, job.last_heard = event.client, None, now
    job.is_restored = False
    job.granted_samples = job.n_samples
    _send_again_from(state, job, wanted)
    job.credit = min(event.credit, MAX_CREDIT)
    job.n_granted = wanted
    position = list(state.jobs).index(job.job_id)
    state.commands.append(
        AttachJob(
            client=job.client,
            job_id=job.job_id,
            serial=job.serial,
            position=position,
            first_frame=wanted,
        )
    )


def _refuse(state: FarmState, event: JobResumed, code: str, message: str) -> None:
    state.commands.append(
        Refuse(client=event.client, job_id=event.job_id, code=code, message=message)
    )


def _begin_at(job: Job, frame: int) -> None:
    """Nothing before this frame is ever made."""
    job.next_sent = job.furthest_sent = job.next_frame = job.n_taken = frame
    job.n_granted = frame


def _send_again_from(state: FarmState, job: Job, frame: int) -> None:
    if frame > job.next_sent and not job.frames:
        _begin_at(job, frame)  # its journal was a little behind its client
        return
    _take(state, job, frame)
    for sent in range(frame, job.next_sent):
        job.move_frame(sent, "again")
    job.next_sent = min(job.next_sent, frame)


def grant(state: FarmState, job: Job, event: CreditGranted) -> None:
    """More frames are wanted, and some were taken."""
    job.credit = min(job.credit + event.frames, MAX_CREDIT)
    job.n_granted += event.frames
    taken = min(job.n_granted, job.next_sent) if event.next_frame is None else event.next_frame
    if taken > job.next_sent:
        state.end(job, "fail", "BAD_MESSAGE", f"frame {taken} was not sent yet")
    elif taken > job.n_taken:
        _take(state, job, taken)


def _take(state: FarmState, job: Job, n_taken: int) -> None:
    if n_taken <= job.n_taken:
        return
    for frame in range(job.n_taken, min(n_taken, job.next_sent)):
        job.drop_frame(frame)
    job.n_taken = n_taken
    state.commands.append(ForgetFrames(job_id=job.job_id, serial=job.serial, before=n_taken))
