"""Who does what next: everything that can be handed out is handed out.

Runs after every event, on the state alone.

Suspects are tried in their job's turn and by a worker that has nothing else in hand, so that a
death says whose fault it is.  When it is their turn and no worker is idle, hands are kept free
until one is, and nobody whose turn is later goes first: busy workers would never be idle.
"""

from collections.abc import Iterator, Mapping
from itertools import islice, takewhile

from farm.books import MAX_OPEN_FRAMES, has_frames
from farm.commands import (
    Composite,
    Drained,
    EncodeSpan,
    ForgetFrames,
    GrantAudio,
    Lease,
    Run,
    RunBatch,
    SendFrames,
)
from farm.hands import LEASES_A_MESSAGE, Worker
from farm.jobs import MAX_CREDIT, NOBODY, FrameState, Job, JobState
from farm.placing import assign_places
from farm.state import FarmState
from farm.turns import Key, TurnQueue

SAMPLES_PER_FRAME = 640  # 16 kHz at 25 frames a second
AUDIO_AHEAD_FRAMES = 750  #: 30 s of speech may arrive before its frames leave: 1.9 MB a job
ALWAYS_OPEN_FRAMES = 8  #: of each job, however much its client's other jobs cost
HOLD_S = 0.05  #: a span takes 5 to 10 ms; an audio worker that hangs must not hold up the device
AUDIO_GRANT_SAMPLES = 16_000  #: a grant below this is not worth a message


def assign(state: FarmState) -> None:
    """Hand out spans, batches, slots and frames, as far as hands, windows and credits go."""
    _see_to_touched(state)
    assign_places(state)
    _assign_spans(state)
    _assign_batches(state)
    _assign_leases(state)
    if state.is_draining and not state.jobs:
        state.commands.append(Drained())


def _see_to_touched(state: FarmState) -> None:
    """What follows for the jobs that the event has changed, and for no others."""
    while state.touched:
        _, job = state.touched.popitem()
        _send(state, job)
        if not job.is_over:
            _listen(state, job)
            state.book(job)


def _send(state: FarmState, job: Job) -> None:
    """Hand over finished frames in order, as far as credit goes."""
    _drop_taken(state, job)
    begin = job.next_sent
    while _can_send(job):
        job.move_frame(job.next_sent, "send")
        job.next_sent += 1
        job.credit -= 1
    job.furthest_sent = max(job.furthest_sent, job.next_sent)
    if job.next_sent > begin:
        sent = range(begin, job.next_sent)
        state.commands.append(
            SendFrames(client=job.client, job_id=job.job_id, serial=job.serial, frames=sent)
        )
    if job.next_sent == job.total_frames:
        state.end(job, "finish")


def _can_send(job: Job) -> bool:
    is_finished = job.frames.get(job.next_sent) is FrameState.FINISHED
    n_outstanding = job.next_sent - job.n_taken
    return is_finished and job.credit > 0 and n_outstanding < MAX_CREDIT


def _drop_taken(state: FarmState, job: Job) -> None:
    """Its journal was behind its client: these were made once more, and nobody needs them."""
    begin = job.next_sent
    while job.next_sent < job.n_taken and job.frames.get(job.next_sent) is FrameState.FINISHED:
        job.drop_frame(job.next_sent)
        job.next_sent += 1
    if job.next_sent > begin:
        forget = ForgetFrames(job_id=job.job_id, serial=job.serial, before=job.next_sent)
        state.commands.append(forget)


def _listen(state: FarmState, job: Job) -> None:
    """Let its client send more speech, as far ahead of delivery as is useful."""
    wanted = (job.next_sent + AUDIO_AHEAD_FRAMES) * SAMPLES_PER_FRAME
    more = wanted - job.granted_samples
    is_listening = job.state is JobState.LISTENING and job.client != NOBODY
    if is_listening and more >= AUDIO_GRANT_SAMPLES:
        job.granted_samples = wanted
        state.commands.append(GrantAudio(client=job.client, job_id=job.job_id, n_samples=more))


def _assign_spans(state: FarmState) -> None:
    for worker in sorted(state.workers.values(), key=lambda worker: len(worker.spans)):
        while worker.can_take_span and (found := _next_span(state, worker)):
            job, span = found
            worker.spans[job.serial, span] = job.model
            state.book(job)
            state.commands.append(
                EncodeSpan(
                    worker=worker.identity,
                    job_id=job.job_id,
                    serial=job.serial,
                    model=job.model,
                    span=span,
                )
            )


def _next_span(state: FarmState, worker: Worker) -> tuple[Job, int] | None:
    if state.is_trying(worker):
        return None
    for job in _in_turn(state, state.books.spans, worker):
        if job.spans_again:  # suspects, all of them
            return (job, job.spans_again.pop(0)) if worker.is_idle else None
        is_enough = state.books.n_open[job.model] >= MAX_OPEN_FRAMES
        if not (is_enough and has_frames(job, state.window_frames)):
            job.next_span += 1
            return job, job.next_span - 1
    return None


def _in_turn(state: FarmState, queues: Mapping[str, TurnQueue], worker: Worker) -> Iterator[Job]:
    """The jobs of one of its models that have something to do: the model whose turn it is."""
    ready = [queues[model] for model in worker.places if worker.is_ready_for(model)]
    first = min((queue for queue in ready if queue), key=_first_key, default=None)
    return (state.by_serial[serial] for serial in first.serials()) if first else iter(())


def _first_key(queue: TurnQueue) -> Key:
    key = queue.first_key()
    assert key is not None, "a queue that is not empty"
    return key


def _assign_batches(state: FarmState) -> None:
    idle_first = sorted(state.workers.values(), key=lambda worker: len(worker.batches))
    for worker in idle_first:
        while worker.can_take_batch and (runs := _form_batch(state, worker)):
            state.n_batches += 1
            worker.batches[state.n_batches] = runs
            worker.held_since = None
            model = state.models[runs[0].model]
            model.n_frames += sum(len(run.frames) for run in runs)
            model.last_used = state.now
            state.commands.append(
                RunBatch(
                    worker=worker.identity, batch=state.n_batches, model=model.model, runs=runs
                )
            )


def _form_batch(state: FarmState, worker: Worker) -> tuple[Run, ...]:
    """Suspects of the job whose turn it is, or frames of all jobs of one model in turn."""
    if state.is_trying(worker):
        return ()
    room = worker.batch_size
    chosen: list[tuple[Job, list[int]]] = []
    for job in _in_turn(state, state.books.frames, worker):
        if suspects := _waiting_suspects(state, job):
            if not chosen:
                return _dispatch(state, [(job, suspects)]) if worker.is_idle else ()
            break
        is_full = state.is_full(job.client) and job.n_waiting_to_leave >= ALWAYS_OPEN_FRAMES
        fresh = () if is_full else job.open_frames(state.window_frames)
        if frames := [*job.lost_frames, *fresh][:room]:
            chosen.append((job, frames))
            room -= len(frames)
        if room == 0:
            break
    if room > 0 and (worker.batches or _is_held(state, worker, chosen)):
        return ()  # a part-filled batch only keeps an idle device busy
    return _dispatch(state, chosen)


def _is_held(state: FarmState, worker: Worker, chosen: list[tuple[Job, list[int]]]) -> bool:
    """Whether a batch that is not full waits a moment: speech is being encoded that may fill it."""
    if not chosen:
        return False
    model = chosen[0][0].model
    if not any(model in other.spans.values() for other in state.workers.values()):
        return False
    if worker.held_since is None:
        worker.held_since = state.now
    return state.now - worker.held_since < HOLD_S


def _waiting_suspects(state: FarmState, job: Job) -> list[int]:
    """The first group of a job's suspects that is to be tried."""
    suspects = state.suspects["inference"]
    first = next((item for f in job.lost_frames if (item := (job.serial, f)) in suspects), None)
    return [frame for _, frame in suspects.group(first)] if first is not None else []


def _dispatch(state: FarmState, chosen: list[tuple[Job, list[int]]]) -> tuple[Run, ...]:
    for job, frames in chosen:
        state.n_turns += 1
        job.last_turn = state.n_turns
        for frame in frames:
            job.move_frame(frame, "dispatch")
        job.next_frame = max(job.next_frame, frames[-1] + 1)
        state.book(job)
    return tuple(
        Run(job_id=job.job_id, serial=job.serial, avatar=job.avatar, model=job.model, frames=run)
        for job, frames in chosen
        for run in _runs(frames)
    )


def _runs(frames: list[int]) -> list[range]:
    """The frames as runs of consecutive ones, in their order."""
    runs: list[range] = []
    for frame in frames:
        if runs and runs[-1].stop == frame:
            runs[-1] = range(runs[-1].start, frame + 1)
        else:
            runs.append(range(frame, frame + 1))
    return runs


def _assign_leases(state: FarmState) -> None:
    while state.rendered:
        is_trial = _is_suspect(state, state.rendered[0])
        free = [
            worker
            for worker in state.workers.values()
            if worker.can_take_leases
            and not state.is_trying(worker)
            and (worker.is_idle or not is_trial)
        ]
        if not free:
            return
        worker = min(free, key=lambda worker: len(worker.leases))
        # A share each while the pool is idle: eight slots for eight compositors are one each.
        n = 1 if is_trial else min(LEASES_A_MESSAGE, -(-len(state.rendered) // len(free)))
        taken = _take_leases(state, n)
        for lease in taken:
            state.jobs[lease.job_id].move_frame(lease.frame, "lease")
            worker.leases[lease.slot] = lease
        state.commands.append(Composite(worker=worker.identity, leases=tuple(taken)))


def _take_leases(state: FarmState, n: int) -> list[Lease]:
    """The first of the queue, and those behind it up to ``n`` or a suspect."""
    first = state.rendered.popleft()
    more = list(takewhile(lambda x: not _is_suspect(state, x), islice(state.rendered, n - 1)))
    for _ in more:
        state.rendered.popleft()
    return [first, *more]


def _is_suspect(state: FarmState, lease: Lease) -> bool:
    return (lease.serial, lease.frame) in state.suspects["compositor"]
