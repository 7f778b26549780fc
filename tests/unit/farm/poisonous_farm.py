"""A farm whose workers die, by accident or of what they are given, and a judge of who is blamed."""

from collections import Counter
from dataclasses import dataclass
from math import log2

from farm.commands import Composite, EncodeSpan, RunBatch
from farm.hands import Worker
from farm.places import Capacity
from tests.unit.farm.fake_farm import FakeFarm, Task

Piece = tuple[str, str, int]  #: role of the worker, job, and its frame or span

MOST_DEATHS = log2(64) + 3  #: of one piece of poison, in the largest batch


def pieces(task: Task) -> list[Piece]:
    match task:
        case EncodeSpan():
            return [("audio", task.job_id, task.span)]
        case RunBatch():
            return [("inference", run.job_id, frame) for run in task.runs for frame in run.frames]
        case Composite():
            return [("compositor", lease.job_id, lease.frame) for lease in task.leases]
    return []


@dataclass
class Deaths:
    """What a piece of work was seen to do since it was last done."""

    n_in_hand: int = 0  #: its worker died
    n_alone: int = 0  #: and had nothing else in hand, though that was not the first time


class PoisonousFarm(FakeFarm):
    """Workers do their tasks in the order given, and die at one that holds poison."""

    def __init__(self, *poison: Piece, capacity: Capacity | None = None, **limits: int) -> None:
        super().__init__(capacity, **limits)
        self.poison = set(poison)
        self.deaths: dict[Piece, Deaths] = {}
        self.n_deaths: Counter[str] = Counter()
        self.n_poisoned = 0  #: of them, of what they were given

    def do_next(self, identity: bytes) -> None:
        """A worker takes up the oldest task it has: it is done, or it is the worker's end."""
        task = next(task for task in self.tasks if task.worker == identity)
        if self.poison.isdisjoint(pieces(task)):
            self.finish(task)
        else:
            self.kill_and_replace(identity)
            self.n_poisoned += 1
            most = MOST_DEATHS * len(self.poison)
            assert self.n_poisoned <= most, "nobody is blamed: it goes on for ever"

    def run(self) -> None:
        """Each worker in turn does a task, until there are none."""
        busy = True
        while busy:
            busy = self._push_all()
            while self.tasks:
                for identity in dict.fromkeys(task.worker for task in self.tasks):
                    if any(task.worker == identity for task in self.tasks):
                        self.do_next(identity)
                busy = True
            busy = busy or self.wait_for_room()

    def encode_everything(self) -> None:
        """Let all speech arrive and become features."""
        while self._push_all() or self._spans():
            for task in self._spans():
                self.finish(task)

    def _push_all(self) -> bool:
        return sum(self.push(job_id) for job_id in self.jobs) > 0

    def _spans(self) -> list[EncodeSpan]:
        return [task for task in self.tasks if isinstance(task, EncodeSpan)]

    def kill_and_replace(self, identity: bytes) -> None:
        worker = self.scheduler.state.workers[identity]
        self.kill(identity)
        if worker.role == "inference":
            self.add_worker(worker.role, n_blocks=worker.n_blocks, batch_size=worker.batch_size)
        else:
            self.add_worker(worker.role)

    def finish(self, task: Task) -> None:
        worker = self.scheduler.state.workers[task.worker]
        for piece in pieces(task):
            if not _is_withdrawn(worker, task):
                self.deaths.pop(piece, None)
        super().finish(task)

    def kill(self, identity: bytes) -> None:
        worker = self.scheduler.state.workers[identity]
        in_hand = [piece for t in self.tasks if t.worker == identity for piece in pieces(t)]
        for piece in in_hand:
            deaths = self.deaths.setdefault(piece, Deaths())
            deaths.n_alone += len(in_hand) == 1 and deaths.n_in_hand > 0
            deaths.n_in_hand += 1
        self.n_deaths[worker.role] += 1
        failed_before = self.poisoned()
        super().kill(identity)
        for job_id in self.poisoned() - failed_before:
            own = [deaths for (_, job, _), deaths in self.deaths.items() if job == job_id]
            assert any(d.n_alone >= 2 for d in own), "blamed without two deaths while alone"

    def poisoned(self) -> set[str]:
        verdicts = {name: job.verdict for name, job in self.jobs.items()}
        return {name for name, verdict in verdicts.items() if verdict and verdict.code == "POISON"}


def _is_withdrawn(worker: Worker, task: Task) -> bool:
    """Whether a ticket's ring died: that it was done all the same is nobody's business."""
    return isinstance(task, Composite) and task.leases[0].slot not in worker.leases
