"""Which jobs are taken, and what is said to those that are not."""

from farm import attachment, model_events
from farm.commands import AcceptJob, Refuse
from farm.events import JobOpened
from farm.jobs import MAX_CREDIT, Job
from farm.state import FarmState


def admit(state: FarmState, event: JobOpened, now: float) -> None:
    if len(state.jobs) >= state.limits.max_jobs:
        attachment.make_room(state, now)
    refusal = _refusal(state, event)
    if refusal is not None:
        code, message, retryable = refusal
        state.commands.append(
            Refuse(
                client=event.client,
                job_id=event.job_id,
                code=code,
                message=message,
                retryable=retryable,
                position=len(state.jobs),
                retry_after_s=state.retry_after_s() if code == "BUSY" else 0.0,
            )
        )
        return
    state.n_serials += 1
    position = len(state.jobs)
    model_events.know(state, event.model, event.model_bytes)
    job = Job(
        job_id=event.job_id,
        serial=state.n_serials,
        client=event.client,
        avatar=event.avatar,
        model=event.model,
        priority=event.priority,
        deadline=event.deadline,
        credit=min(event.credit, MAX_CREDIT),
        last_heard=now,
        last_turn=state.n_turns,
        next_span=event.first_span,
        next_frame=event.first_frame,
        next_sent=event.first_frame,
        furthest_sent=event.first_frame,
        n_taken=event.first_frame,
        n_granted=event.first_frame,
    )
    state.add(job)
    state.commands.append(
        AcceptJob(
            client=event.client,
            job_id=event.job_id,
            serial=state.n_serials,
            model=event.model,
            position=position,
        )
    )


def _refusal(state: FarmState, event: JobOpened) -> tuple[str, str, bool] | None:
    """Why a job is not taken: code, message, and whether trying again later can help."""
    limits = state.limits
    if event.job_id in state.jobs:
        return "CONFLICT", "a job of this id is running", False
    if state.is_draining:
        return "DRAINING", "the farm is shutting down", True
    if len(state.jobs) >= limits.max_jobs:
        return "BUSY", f"the farm has {limits.max_jobs} jobs and takes no more", True
    if (model := state.models.get(event.model)) is not None and model.is_deadly:
        return "MODEL_FAILED", "loading its model kills workers; an operator must load it", False
    own = state.books.n_jobs_of_client[event.client]
    if own >= limits.max_jobs_per_client:
        return "BUSY", f"the farm takes {own} jobs from one client", True
    return None
