"""A thread that does tasks, one after the other, while the worker's loop goes on.

onnxruntime lets go of the GIL while it computes, and while it loads a model: a device is given its
next batch in the moment it is done with one, and a model is loaded while others run.
"""

import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Ran(Generic[Task, Outcome]):
    """A task that was done.  Times are the thread's own, in seconds."""

    task: Task
    outcome: Outcome
    busy_s: float
    idle_s: float  #: before it, though it had arrived already


class TaskThread(Generic[Task, Outcome]):
    """``fd`` can be read once a task is done.  An exception of ``do`` is raised by ``done``."""

    def __init__(self, do: Callable[[Task], Outcome], name: str) -> None:
        self._do = do
        self._waiting: queue.SimpleQueue[tuple[Task, float] | None] = queue.SimpleQueue()
        self._done: deque[Ran[Task, Outcome] | BaseException] = deque()
        self._n_in_hand = 0
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether a task is under way, or done and not fetched."""
        return self._n_in_hand > 0

    def put(self, task: Task, arrived: float) -> None:
        """``arrived`` : on `time.perf_counter`, when it could have been done at the earliest."""
        self._n_in_hand += 1
        self._waiting.put((task, arrived))

    def done(self) -> list[Ran[Task, Outcome]]:
        """What was done since this was asked last, in order."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        ran = []
        while self._done:
            one = self._done.popleft()
            self._n_in_hand -= 1
            if isinstance(one, BaseException):
                raise one
            ran.append(one)
        return ran

    def wait(self) -> list[Ran[Task, Outcome]]:
        """Until nothing is under way."""
        ran = self.done()
        while self.is_busy:
            select.select([self.fd], [], [])
            ran += self.done()
        return ran

    def close(self) -> None:
        """Wait for what is under way, and forget it."""
        self._waiting.put(None)
        self._thread.join()
        os.close(self.fd)

    def _work(self) -> None:
        ended = 0.0
        while (item := self._waiting.get()) is not None:
            task, arrived = item
            begin = time.perf_counter()
            idle_s = begin - max(ended, arrived)
            try:
                outcome = self._do(task)
                ended = time.perf_counter()
                self._done.append(Ran(task, outcome, ended - begin, idle_s))
            except BaseException as error:  # noqa: BLE001, raised where it is fetched
                self._done.append(error)
            # What a task held is free once it was fetched, and not only with the next task.
            del item, task
            os.eventfd_write(self.fd, 1)
