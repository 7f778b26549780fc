"""What follows from a worker's death: its work goes back to the others, and comes under suspicion.

The tables that say what each piece of work becomes are in ``jobs``, who is guilty in ``suspects``.
"""

from collections import deque

from farm.commands import Lease
from farm.hands import Worker
from farm.model_events import blame_loads
from farm.state import FarmState
from farm.suspects import MAX_DEATHS_ALONE

WORK = {"audio": "speech span", "inference": "frame", "compositor": "frame"}


def remove_worker(state: FarmState, identity: bytes) -> None:
    """Give what a dead worker held to the others."""
    worker = state.workers.pop(identity, None)
    if worker is None:
        return
    blame_loads(state, worker)
    for serial, span in sorted(worker.spans):
        if job := state.touched_job(serial):
            job.spans_again.append(span)
    for lease in reversed(worker.leases.values()):
        # Its slot is intact: the next compositor starts from there, not from inference.
        if job := state.touched_job(lease.serial):
            job.move_frame(lease.frame, "returned")
            state.rendered.appendleft(lease)
        else:
            state.release(lease.slot)
    if worker.role == "inference":
        _lose_ring(state, worker)
    _blame(state, worker)


def _lose_ring(state: FarmState, dead: Worker) -> None:
    """An inference worker died: its batches and everything in its ring are made again."""
    lost: list[Lease] = [x for x in state.rendered if x.slot.worker == dead.identity]
    state.rendered = deque(x for x in state.rendered if x.slot.worker != dead.identity)
    for worker in state.workers.values():
        lost += worker.withdraw(dead.identity)
    for lease in lost:
        if job := state.touched_job(lease.serial):
            job.move_frame(lease.frame, "lost")
    for run in (run for runs in dead.batches.values() for run in runs):
        if job := state.touched_job(run.serial):
            for frame in run.frames:
                job.move_frame(frame, "lost")


def _blame(state: FarmState, dead: Worker) -> None:
    """Suspect what it had in hand; fail the job of what has killed alone too often."""
    tasks = [[item for item in task if item[0] in state.by_serial] for task in dead.tasks]
    guilty = state.suspects[dead.role].blame(tasks)
    if guilty is not None:
        serial, index = guilty
        message = (
            f"{WORK[dead.role]} {index} killed {MAX_DEATHS_ALONE} {dead.role} workers "
            "that had nothing else in hand"
        )
        state.end(state.by_serial[serial], "fail", "POISON", message)
