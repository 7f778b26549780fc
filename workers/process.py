"""What every worker process is: a socket to the broker, a heartbeat, and an end with its parent.

It outlives its broker.  The next one does not know it and answers its first words with ``Reset``:
the worker forgets what it was asked and introduces itself again.

Started by the supervisor, one task at a time, ended by SIGTERM, SIGKILL or the end of its parent.
Exit codes: 0 told to stop or the parent is gone, anything else is a crash.
"""

import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from workers import protocol, wire
from workers.transport import Endpoint, Frame, Waiter, dealer

PR_SET_PDEATHSIG = 1  # prctl(2)

#: Takes a message and its payloads.
Handler = Callable[[Any, list[bytes]], None]


class Background(Protocol):
    """Work that goes on behind the loop."""

    fd: int  #: to be read when ``collect`` has something to do

    @property
    def holds_beats(self) -> bool:
        """Whether it has said how long it may take, and a beat now would hide that it hangs."""

    def collect(self) -> None:
        """Answer for what is done."""


class WorkerProcess:
    """A worker's line to the broker."""

    def __init__(
        self,
        *,
        broker: str,
        role: str,
        name: str,
        life_fd: int,
        heartbeat_s: float,
        silent_s: float,
    ) -> None:
        self._endpoint: Endpoint = dealer(broker)
        self._life_fd = life_fd
        self._role, self._name = role, name
        self._tasks: deque[tuple[Any, list[bytes]]] = deque()
        self._heartbeat_s = heartbeat_s
        self._silent_s = silent_s
        self._last_beat = self._announced_until = 0.0
        die_with_parent()
        self._say_hello(epoch=0)

    def send(self, message: object, payloads: Sequence[Frame] = ()) -> None:
        self._endpoint.send([wire.encode(message, protocol.VERSION), *payloads])

    def announce(self, phase: str, silent_s: float) -> None:
        """Before a piece of work: nothing may be heard for so long.

        Said anew at half time, and when it is far less than was said before.
        """
        silent_s = max(silent_s, self._silent_s)
        left_s = self._announced_until - time.monotonic()
        if not silent_s / 2 <= left_s <= 2 * silent_s:
            self._beat(phase, silent_s)

    def _beat(self, phase: str, silent_s: float) -> None:
        self._last_beat = time.monotonic()
        self._announced_until = self._last_beat + silent_s
        self.send(protocol.Beat(phase=phase, silent_s=silent_s))

    def serve(
        self,
        handle: Handler,
        *,
        ready: Callable[[], protocol.Ready],
        reset: Callable[[], None] = lambda: None,
        tidy: Callable[[], None] = lambda: None,
        behind: Sequence[Background] = (),
    ) -> None:
        """Do what the broker asks, until the parent is gone; ``tidy`` up now and then.

        ``ready`` : gives what a new broker is told.
        ``reset`` : gives up what the broker before left here, and what is under way ``behind``.
        """
        waiter = Waiter(self._endpoint, self._life_fd, *(work.fd for work in behind))
        while True:
            self._receive(ready, reset)
            while self._tasks:
                handle(*self._tasks.popleft())
                self._receive(ready, reset)
            for work in behind:
                work.collect()
            may_beat = not any(work.holds_beats for work in behind)
            if may_beat and time.monotonic() - self._last_beat >= self._heartbeat_s:
                self._beat("idle", self._silent_s)
                tidy()
            if self._life_fd in waiter.wait(self._heartbeat_s):
                # The life pipe is never written to: something to read is its end.
                self._endpoint.close()
                sys.exit(0)
            if self._endpoint.has_reconnected():
                # Whoever is there now: we are here, and not for less than was said already.
                left_s = self._announced_until - time.monotonic()
                self._beat("reconnected", max(left_s, self._silent_s))

    def _receive(self, ready: Callable[[], protocol.Ready], reset: Callable[[], None]) -> None:
        """Queue what has arrived.  A reset overtakes the tasks before it: their broker is dead."""
        while (frames := self._endpoint.receive()) is not None:
            header, *payloads = frames
            message = wire.decode(header, protocol.FROM_BROKER, protocol.VERSION)
            if not isinstance(message, protocol.Reset):
                self._tasks.append((message, payloads))
                continue
            self._tasks.clear()
            reset()
            # The hello comes after every result of an old task: those are not heard.
            self._say_hello(epoch=message.epoch)
            self.send(ready())
            self._beat("idle", self._silent_s)

    def _say_hello(self, epoch: int) -> None:
        hello = protocol.Hello(role=self._role, name=self._name, pid=os.getpid(), epoch=epoch)
        self.send(hello)


def die_with_parent() -> None:
    """SIGKILL when the parent dies, also in the middle of a long task; deaf to Ctrl-C.

    The signal belongs to the parent's thread; the life pipe covers what it misses.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
