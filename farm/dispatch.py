"""Who does what next: everything that can be handed out is handed out.

Runs after every event, on the state alone.
"""

from farm.commands import Composite, Drained, EncodeSpan, GrantAudio, Run, RunBatch, SendFrames
from farm.hands import LEASES_A_MESSAGE, Worker
from farm.jobs import FrameState, Job, JobState
from farm.state import FarmState

SAMPLES_PER_FRAME = 640  # 16 kHz at 25 frames a second
FRAMES_PER_SPAN = 32  # windows of one encoder call, one a frame
AUDIO_AHEAD_FRAMES = 750  #: 30 s of speech may arrive before its frames leave: 1.9 MB a job
AUDIO_GRANT_SAMPLES = 16_000  #: a grant below this is not worth a message


def assign(state: FarmState) -> None:
    """Hand out spans, batches, slots and frames, as far as hands, windows and credits go."""
    _send(state)
    _listen(state)
    _assign_spans(state)
    _assign_batches(state)
    _assign_leases(state)
    if state.is_draining and not state.jobs:
        state.commands.append(Drained())


def _send(state: FarmState) -> None:
    """Hand over finished frames in order, as far as credit goes."""
    for job in list(state.jobs.values()):
        begin = job.next_sent
        while job.credit > 0 and job.frames.get(job.next_sent) is FrameState.FINISHED:
            del job.frames[job.next_sent]
            job.next_sent += 1
            job.credit -= 1
        if job.next_sent > begin:
            sent = range(begin, job.next_sent)
            state.commands.append(
                SendFrames(client=job.client, job_id=job.job_id, serial=job.serial, frames=sent)
            )
        if job.next_sent == job.total_frames:
            state.end(job, "finish")


def _listen(state: FarmState) -> None:
    """Let clients send more speech, as far ahead of delivery as is useful."""
    for job in state.jobs.values():
        wanted = (job.next_sent + AUDIO_AHEAD_FRAMES) * SAMPLES_PER_FRAME
        more = wanted - job.granted_samples
        if job.state is JobState.LISTENING and more >= AUDIO_GRANT_SAMPLES:
            job.granted_samples = wanted
            state.commands.append(GrantAudio(client=job.client, job_id=job.job_id, n_samples=more))


def _assign_spans(state: FarmState) -> None:
    for worker in state.workers.values():
        while worker.can_take_span and (found := _next_span(state)):
            job, span = found
            worker.spans.add((job.serial, span))
            state.commands.append(
                EncodeSpan(worker=worker.identity, job_id=job.job_id, serial=job.serial, span=span)
            )


def _next_span(state: FarmState) -> tuple[Job, int] | None:
    for job in _by_turn(state):
        if job.spans_again:
            return job, job.spans_again.pop(0)
        reach = job.next_sent + state.window_frames + 2 * FRAMES_PER_SPAN
        if job.next_span < job.n_ready_spans and job.next_span * FRAMES_PER_SPAN < reach:
            job.next_span += 1
            return job, job.next_span - 1
    return None


def _by_turn(state: FarmState) -> list[Job]:
    """Priority first, then the earliest deadline, then the client and job that waited longest."""
    never = float("inf")
    client_turns: dict[bytes, int] = {}
    for job in state.jobs.values():
        client_turns[job.client] = max(job.last_turn, client_turns.get(job.client, 0))
    return sorted(
        state.jobs.values(),
        key=lambda job: (
            -job.priority,
            never if job.deadline is None else job.deadline,
            client_turns[job.client],
            job.last_turn,
            job.serial,
        ),
    )


def _assign_batches(state: FarmState) -> None:
    idle_first = sorted(state.workers.values(), key=lambda worker: len(worker.batches))
    for worker in idle_first:
        while worker.can_take_batch and (runs := _form_batch(state, worker)):
            state.n_batches += 1
            worker.batches[state.n_batches] = runs
            state.commands.append(
                RunBatch(worker=worker.identity, batch=state.n_batches, runs=runs)
            )


def _form_batch(state: FarmState, worker: Worker) -> tuple[Run, ...]:
    """Fill a batch from all jobs in turn; a part-filled one only keeps an idle device busy."""
    room = worker.batch_size
    chosen: list[tuple[Job, list[range]]] = []
    for job in _by_turn(state):
        runs = _runs(state, job, room)
        if runs:
            chosen.append((job, runs))
            room -= sum(map(len, runs))
        if room == 0:
            break
    if room > 0 and worker.batches:
        return ()
    for job, runs in chosen:
        state.n_turns += 1
        job.last_turn = state.n_turns
        for frames in runs:
            for frame in frames:
                job.move_frame(frame, "dispatch")
            job.next_frame = max(job.next_frame, frames.stop)
    return tuple(
        Run(job_id=job.job_id, serial=job.serial, avatar=job.avatar, frames=frames)
        for job, runs in chosen
        for frames in runs
    )


def _runs(state: FarmState, job: Job, room: int) -> list[range]:
    """Frames of a job that can be dispatched now, lost ones first."""
    fresh = job.open_frames(state.window_frames)
    frames = [*job.lost_frames, *fresh][:room]
    runs: list[range] = []
    for frame in frames:
        if runs and runs[-1].stop == frame:
            runs[-1] = range(runs[-1].start, frame + 1)
        else:
            runs.append(range(frame, frame + 1))
    return runs


def _assign_leases(state: FarmState) -> None:
    while state.rendered:
        free = [worker for worker in state.workers.values() if worker.can_take_leases]
        if not free:
            return
        worker = min(free, key=lambda worker: len(worker.leases))
        # A share each while the pool is idle: eight slots for eight compositors are one each.
        n = min(LEASES_A_MESSAGE, -(-len(state.rendered) // len(free)))
        taken = [state.rendered.popleft() for _ in range(n)]
        for lease in taken:
            state.jobs[lease.job_id].move_frame(lease.frame, "lease")
            worker.leases[lease.slot] = lease
        state.commands.append(Composite(worker=worker.identity, leases=tuple(taken)))
