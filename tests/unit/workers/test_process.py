"""A worker and two brokers: what the dead one asked is not done for the living one."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from workers import process, protocol, wire
from workers.process import WorkerProcess
from workers.protocol import Beat, EncodeSpan, Hello, Ready, Reset

LIFE_FD = 99


class Line:
    """A socket whose other end has said all that it will ever say."""

    def __init__(self) -> None:
        self.arrived: deque[list[bytes]] = deque()
        self.sent: list[Any] = []
        self.is_new = False

    def receive(self) -> list[bytes] | None:
        return self.arrived.popleft() if self.arrived else None

    def send(self, frames: Sequence[bytes]) -> None:
        message = wire.decode(frames[0], protocol.FROM_WORKER, protocol.VERSION)
        self.sent.append(message)

    def has_reconnected(self) -> bool:
        was_new, self.is_new = self.is_new, False
        return was_new

    def close(self) -> None:
        pass

    def ask(self, *messages: object) -> None:
        for message in messages:
            self.arrived.append([wire.encode(message, protocol.VERSION)])


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line()
    monkeypatch.setattr(process, "dealer", lambda _url: line)
    monkeypatch.setattr(process, "die_with_parent", lambda: None)
    return line


def serve(_line: Line, monkeypatch: pytest.MonkeyPatch, n_turns: int = 1) -> list[int]:
    """The spans that a worker encodes until its parent is gone; a reset is noted as -1."""
    turns = [set[object]()] * (n_turns - 1) + [{LIFE_FD}]

    class Waits:
        def __init__(self, *_sources: object) -> None:
            pass

        def wait(self, _timeout_s: float) -> set[object]:
            return turns.pop(0)

    monkeypatch.setattr(process, "Waiter", Waits)
    done: list[int] = []
    worker = WorkerProcess(
        broker="", role="audio", name="audio-0", life_fd=LIFE_FD, heartbeat_s=1e6, silent_s=5
    )
    with pytest.raises(SystemExit):
        worker.serve(
            lambda task, _: done.append(task.span), ready=Ready, reset=lambda: done.append(-1)
        )
    return done


def span(index: int) -> EncodeSpan:
    return EncodeSpan(model="m", serial=1, span=index, first_sample=0, total_samples=None)


def test_a_reset_overtakes_what_was_asked_before_it(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.ask(span(1), span(2), Reset(epoch=9), span(3))

    assert serve(line, monkeypatch) == [-1, 3]


def test_after_a_reset_a_worker_introduces_itself_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.ask(Reset(epoch=9))
    serve(line, monkeypatch)

    first, _, hello, ready, beat = [m for m in line.sent if not isinstance(m, Beat)][:1] + line.sent
    assert isinstance(first, Hello)
    assert first.epoch == 0
    assert (hello.epoch, hello.role, hello.name) == (9, "audio", "audio-0")
    assert (ready, type(beat)) == (Ready(), Beat)


def test_a_worker_whose_line_is_new_speaks_at_once(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.is_new = True
    monkeypatch.setattr(process.time, "monotonic", lambda: 0.0)  # no heartbeat is due

    serve(line, monkeypatch, n_turns=2)

    assert [type(message) for message in line.sent] == [Hello, Beat]
