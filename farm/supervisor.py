"""Starts the farm's processes, sees them end, and carries out what `farm.restart` decides.

It imports no zmq, numpy or onnxruntime: whatever breaks in them, this process is there to clean
up.  Deaths arrive by pidfd, signals by the wakeup pipe, the broker's words by a socketpair, all in
one selector; nothing is polled.  Kill, reap, and only then retire what the dead one wrote.

`farm.daemon` runs it.  A stop, a drain, the parent's end or an error that no restart mends ends it.
"""

import json
import logging
import math
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from farm import restart
from farm.errors import FarmError, IllegalTransition
from farm.restart import ChildSpec, Incarnation, Orders, Phase
from shm.errors import NoRoom
from shm.fail_points import fail_point
from shm.segment import Segment, create, segment_name

BROKER = "broker"
MAX_LINE_BYTES = 65_536  #: far beyond any message of the control channel

AWAY_S = 1.0  #: a deadline is seen at once, unless we were not there to see it
NO_ROOM_WAIT_S = 1.0  #: workers let go of a dead ring within a heartbeat

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    n_starts: int = 0
    record: restart.Record = field(default_factory=restart.Record)
    popen: "subprocess.Popen[bytes] | None" = None
    pidfd: int | None = None
    ring: Segment | None = None
    restart_at: float = math.inf
    late_at: float = math.inf


class Supervisor:
    """Keeps the children alive until `run` returns; the first of them is the broker."""

    def __init__(self, specs: Sequence[ChildSpec], orders: Orders) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._orders = orders
        self._phase = Phase.STARTING
        self._stop_at = math.inf  #: the drain's end
        self._kill_at = math.inf
        self._failure: FarmError | None = None
        self._exit_code = 0
        self._control: socket.socket | None = None
        self._heard = b""  #: of the broker, up to an unfinished line

    def run(self) -> int:
        """Keep the farm alive; 0 after a drain or the parent's end, 128 + n if signal n cut it.

        Raises the FarmError that ended it.  Either way no child and no segment is left.
        """
        with ExitStack() as stack:
            self._open(stack)
            stack.callback(self._bury_rest)
            for child in self._children:
                self._start(child)
            while self._phase is not Phase.STOPPING or any(self._running()):
                self._turn()
        if self._failure is not None:
            raise self._failure
        return self._exit_code

    def _open(self, stack: ExitStack) -> None:
        self._selector = stack.enter_context(selectors.DefaultSelector())
        # Only this process has the writing end: the kernel closes it, however we end.
        self._life_fd, life_held_fd = os.pipe()
        for fd in (self._life_fd, life_held_fd):
            stack.callback(os.close, fd)
        self._listen(self._orders.signals_fd, self._read_signals)
        if self._orders.parent_life_fd is not None:
            self._listen(self._orders.parent_life_fd, self._read_parent)

    def _listen(self, fd: int, action: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, action)

    def _turn(self) -> None:
        next_at = min((at for at, _ in self._deadlines()), default=math.inf)
        wait_s = None if next_at == math.inf else max(0.0, next_at - time.monotonic())
        for key, _ in self._selector.select(wait_s):
            key.data()
        now = time.monotonic()
        for at, action in self._deadlines():
            if at <= now:
                action()
                break  # it may have moved the others

    def _deadlines(self) -> Iterator[tuple[float, Callable[[], None]]]:
        yield self._stop_at, partial(self._fail, restart.DrainTooLong(self._orders.drain_s))
        yield self._kill_at, self._kill_rest
        for child in self._children:
            yield child.restart_at, partial(self._start_again, child)
            yield child.late_at, partial(self._kill_late, child)

    def _read_signals(self) -> None:
        for number in os.read(self._orders.signals_fd, 512):
            if number in restart.END_SIGNALS:  # the process may have other handlers
                if self._phase is Phase.DRAINING:
                    self._exit_code = 128 + number
                self._move("signal")

    def _read_parent(self) -> None:
        fd = self._orders.parent_life_fd
        if fd is not None and not os.read(fd, 512):
            self._selector.unregister(fd)
            self._move("orphaned")

    # The children

    def _running(self) -> Iterator[tuple[_Child, "subprocess.Popen[bytes]"]]:
        return ((child, child.popen) for child in self._children if child.popen is not None)

    def _start(self, child: _Child) -> None:
        spec = child.spec
        child.restart_at = math.inf
        child.n_starts += 1
        if spec.makes_ring is not None:
            name = segment_name(farm=self._orders.farm_id, what=spec.name, counter=child.n_starts)
            child.ring = create(name, spec.makes_ring.total_bytes)
            fail_point("supervisor.ring_made")
        with ExitStack() as stack:
            control = stack.enter_context(self._new_control()) if spec.role == BROKER else None
            fds = [self._life_fd, *([control.fileno()] if control else [])]
            incarnation = Incarnation(
                number=child.n_starts,
                life_fd=self._life_fd,
                control_fd=control.fileno() if control else None,
                ring=child.ring.name if child.ring else None,
            )
            child.popen = subprocess.Popen(
                spec.command(incarnation),
                env={**self._orders.environment, **spec.environment},
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,  # the terminal's Ctrl-C is the supervisor's alone
            )
        fail_point("supervisor.child_started")
        child.pidfd = os.pidfd_open(child.popen.pid)
        self._listen(child.pidfd, partial(self._reap, child))
        if spec.role == BROKER:
            self._introduce(child)
        else:
            child.late_at = time.monotonic() + self._orders.start_s
        _log.info("child started", extra={"child": spec.name, "pid": child.popen.pid})

    def _introduce(self, broker: _Child) -> None:
        """A new broker knows nobody, and nothing: whoever lives must tell it so in time."""
        now = time.monotonic()
        broker.late_at = now + self._orders.broker_start_s
        for child, _ in self._running():
            if child is not broker:
                child.late_at = now + self._orders.start_s
        if self._phase is Phase.DRAINING:
            self._say("drain")

    def _start_again(self, child: _Child) -> None:
        """The memory of the ring before may not be free yet: whoever maps it must let go first."""
        try:
            self._start(child)
        except NoRoom as error:
            _log.warning("no room yet", extra={"child": child.spec.name, "error": str(error)})
            child.restart_at = time.monotonic() + NO_ROOM_WAIT_S

    def _reap(self, child: _Child) -> None:
        if child.spec.role == BROKER:
            self._read_control()  # its last words came before its end
        pid, status = self._bury(child)
        how = restart.how_it_ended(status)
        _log.info("child ended", extra={"child": child.spec.name, "pid": pid, "how": how})
        if child.spec.role == BROKER:
            self._close_control()
        if self._phase is Phase.STOPPING:
            return
        child.record = restart.after_death(child.record)
        n_deaths = child.record.n_fruitless_deaths
        match restart.decide(self._orders.policy, n_deaths, time.monotonic()):
            case restart.Restart(at):
                child.restart_at = at
            case restart.GiveUp():
                self._fail(restart.CrashLoop(child.spec.name, n_deaths, how))
        if child.spec.role != BROKER:
            self._say("gone", pid=pid, role=child.spec.role, name=child.spec.name)

    def _bury(self, child: _Child) -> tuple[int, int]:
        """Reap a child that has ended or will at once, then retire its ring; pid and status."""
        pid, status = 0, 0
        if child.popen is not None:
            pid, status = child.popen.pid, child.popen.wait()
            fail_point("supervisor.child_reaped")
            child.popen = None
        if child.pidfd is not None:
            self._selector.unregister(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = None
        if child.ring is not None:
            child.ring.close()
            fail_point("supervisor.ring_retired")
            child.ring = None
        child.late_at = math.inf
        return pid, status

    def _bury_rest(self) -> None:
        """Nobody outlives `run`, not even when we are wrong."""
        self._kill_rest()
        for child in self._children:
            self._bury(child)
        self._close_control()

    def _kill_rest(self) -> None:
        self._kill_at = math.inf
        for _, popen in self._running():
            popen.kill()

    def _kill_late(self, child: _Child) -> None:
        # If we were stopped ourselves, its words wait to be read, or it was stopped with us.
        self._read_control()
        now = time.monotonic()
        if now - child.late_at > AWAY_S:
            child.late_at = now + self._orders.broker_silent_s
        elif now >= child.late_at:
            self._kill(child, "child is late")

    def _kill(self, child: _Child, why: str) -> None:
        child.late_at = math.inf
        _log.warning(why, extra={"child": child.spec.name})
        if child.popen is not None:
            child.popen.kill()

    def _with_pid(self, pid: int) -> Iterator[_Child]:
        """The child of that pid, if it still runs: a word about a reaped one is merely old."""
        return (child for child, popen in self._running() if popen.pid == pid)

    # The broker's words, and ours to it

    def _new_control(self) -> socket.socket:
        """Open the channel; gives the broker's end, which we close once the broker has it."""
        self._heard = b""
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._listen(self._control.fileno(), self._read_control)
        return theirs

    def _close_control(self) -> None:
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None

    def _say(self, kind: str, **content: object) -> None:
        if self._control is None:
            return
        line = json.dumps({"kind": kind, **content}).encode() + b"\n"
        try:
            n_sent = self._control.send(line)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            return  # it is dying: its pidfd will tell
        if n_sent < len(line):
            self._kill(self._children[0], "the broker stopped listening")

    def _read_control(self) -> None:
        while self._control is not None:
            try:
                heard = self._control.recv(MAX_LINE_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                heard = b""
            if not heard:
                self._close_control()
                self._expect_end_of_broker()
                return
            *lines, self._heard = (self._heard + heard).split(b"\n")
            for line in lines:
                self._obey(line)
            if len(self._heard) > MAX_LINE_BYTES:
                self._fail(restart.BrokerLost("the broker says an endless line: a bug"))

    def _expect_end_of_broker(self) -> None:
        """It hung up, so it is about to end; if it does not, another one must take its place."""
        if self._phase is not Phase.STOPPING:
            self._children[0].late_at = time.monotonic() + self._orders.stop_s

    def _obey(self, line: bytes) -> None:
        try:
            match restart.parse(line):
                case "beat", _:
                    self._children[0].late_at = time.monotonic() + self._orders.broker_silent_s
                case "progress", pid:
                    # The broker's own progress is that it has taken in a worker.
                    for child in (self._children[0], *self._with_pid(pid)):
                        child.record = restart.after_progress(child.record)
                    for child in self._with_pid(pid):
                        child.late_at = math.inf
                case "kill", pid:
                    for child in self._with_pid(pid):
                        self._kill(child, "child is late")
                case event, _:
                    self._move(event)
        except (ValueError, IllegalTransition) as error:
            self._fail(restart.BrokerLost(f"the broker said {line[:80]!r}, a bug: {error}"))

    # The farm's phases

    def _move(self, event: str) -> None:
        before, self._phase = self._phase, restart.next_phase(self._phase, event)
        if self._phase is before:
            return
        if self._phase is Phase.DRAINING:
            self._stop_at = time.monotonic() + self._orders.drain_s
            self._say("drain")
        elif self._phase is Phase.STOPPING:
            self._stop_at = math.inf
            self._kill_at = time.monotonic() + self._orders.stop_s
            for child in self._children:
                child.restart_at = child.late_at = math.inf
            for _, popen in self._running():
                popen.terminate()
        self._orders.on_phase(self._phase)

    def _fail(self, failure: FarmError) -> None:
        if self._phase is not Phase.STOPPING:
            self._failure = failure
            self._move("failed")
