"""What every worker process is: a socket to the broker, a heartbeat, and an end with its parent.

Started by the supervisor, one task at a time, ended by SIGTERM, SIGKILL or the end of its parent.
Exit codes: 0 told to stop or the parent is gone, anything else is a crash.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from workers import protocol, wire
from workers.transport import Endpoint, Frame, Waiter, dealer

PR_SET_PDEATHSIG = 1  # prctl(2)

#: Takes a message and its payloads.
Handler = Callable[[Any, list[bytes]], None]


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
        self._waiter = Waiter(self._endpoint, life_fd)
        self._life_fd = life_fd
        self._heartbeat_s = heartbeat_s
        self._silent_s = silent_s
        self._last_beat = self._announced_until = 0.0
        die_with_parent()
        self.send(protocol.Hello(role=role, name=name, pid=os.getpid()))

    def send(self, message: object, payloads: Sequence[Frame] = ()) -> None:
        self._endpoint.send([wire.encode(message, protocol.VERSION), *payloads])

    def announce(self, phase: str, silent_s: float) -> None:
        """Before a piece of work: nothing may be heard for so long.  Said anew at half time."""
        now = time.monotonic()
        if now + silent_s / 2 > self._announced_until:
            self._beat(phase, max(silent_s, self._silent_s))

    def _beat(self, phase: str, silent_s: float) -> None:
        self._last_beat = time.monotonic()
        self._announced_until = self._last_beat + silent_s
        self.send(protocol.Beat(phase=phase, silent_s=silent_s))

    def serve(self, handle: Handler, tidy: Callable[[], None] = lambda: None) -> None:
        """Do what the broker asks, until the parent is gone; ``tidy`` up now and then."""
        while True:
            while (frames := self._endpoint.receive()) is not None:
                header, *payloads = frames
                handle(wire.decode(header, protocol.FROM_BROKER, protocol.VERSION), payloads)
            if time.monotonic() - self._last_beat >= self._heartbeat_s:
                self._beat("idle", self._silent_s)
                tidy()
            if self._life_fd in self._waiter.wait(self._heartbeat_s):
                # The life pipe is never written to: something to read is its end.
                self._endpoint.close()
                sys.exit(0)


def die_with_parent() -> None:
    """SIGKILL when the parent dies, also in the middle of a long task; deaf to Ctrl-C.

    The signal belongs to the parent's thread; the life pipe covers what it misses.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
