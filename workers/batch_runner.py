"""A thread that runs batches, one after the other, while the worker gathers the next one.

onnxruntime lets go of the GIL while it computes, so the device is given its next batch in the
moment it is done with one: nothing is unpacked, gathered or handed over in between.
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

Batch = TypeVar("Batch")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Ran(Generic[Batch, Outcome]):
    """A batch that was run.  Times are the thread's own, in seconds."""

    batch: Batch
    outcome: Outcome
    busy_s: float
    idle_s: float  #: before it, though it had arrived already


class BatchRunner(Generic[Batch, Outcome]):
    """``fd`` can be read once a batch is done.  An exception of ``run`` is raised by ``done``."""

    def __init__(self, run: Callable[[Batch], Outcome]) -> None:
        self._run = run
        self._waiting: queue.SimpleQueue[tuple[Batch, float] | None] = queue.SimpleQueue()
        self._done: deque[Ran[Batch, Outcome] | BaseException] = deque()
        self._n_in_hand = 0
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether a batch is under way, or done and not fetched."""
        return self._n_in_hand > 0

    def put(self, batch: Batch, arrived: float) -> None:
        """``arrived`` : on `time.perf_counter`, when it could have been run at the earliest."""
        self._n_in_hand += 1
        self._waiting.put((batch, arrived))

    def done(self) -> list[Ran[Batch, Outcome]]:
        """What was run since this was asked last, in order."""
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

    def wait(self) -> list[Ran[Batch, Outcome]]:
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
            batch, arrived = item
            begin = time.perf_counter()
            idle_s = begin - max(ended, arrived)
            try:
                outcome = self._run(batch)
                ended = time.perf_counter()
                self._done.append(Ran(batch, outcome, ended - begin, idle_s))
            except BaseException as error:  # noqa: BLE001, raised where it is fetched
                self._done.append(error)
            os.eventfd_write(self.fd, 1)
