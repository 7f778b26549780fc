"""A thread of tasks."""

import itertools
import select
import threading
import time
from collections.abc import Iterator

import pytest

from workers import task_thread
from workers.task_thread import TaskThread


class Broken(Exception):
    pass


def squared(n: int) -> int:
    if n < 0:
        raise Broken
    return n * n


@pytest.fixture
def runner() -> Iterator[TaskThread[int, int]]:
    runner = TaskThread(squared, "test")
    yield runner
    runner.close()


def test_tasks_are_done_in_order_and_each_is_fetched_once(runner: TaskThread[int, int]) -> None:
    for n in range(20):
        runner.put(n, time.perf_counter())

    ran = runner.wait()

    assert [(one.task, one.outcome) for one in ran] == [(n, n * n) for n in range(20)]
    assert runner.done() == []
    assert not runner.is_busy


def test_the_descriptor_can_be_read_once_a_task_is_done(runner: TaskThread[int, int]) -> None:
    assert select.select([runner.fd], [], [], 0)[0] == []

    runner.put(3, time.perf_counter())

    assert select.select([runner.fd], [], [], 60)[0] == [runner.fd]
    (ran,) = runner.done()
    assert ran.outcome == 9
    assert select.select([runner.fd], [], [], 0)[0] == []


def test_what_it_raises_is_raised_where_it_is_fetched(runner: TaskThread[int, int]) -> None:
    runner.put(-1, time.perf_counter())

    with pytest.raises(Broken):
        runner.wait()

    runner.put(2, time.perf_counter())
    assert [one.outcome for one in runner.wait()] == [4]


def test_waiting_behind_another_task_is_no_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that goes on by one each time it is asked."""
    ticks = itertools.count(1)
    monkeypatch.setattr(task_thread.time, "perf_counter", lambda: float(next(ticks)))
    go = threading.Event()
    runner: TaskThread[int, bool] = TaskThread(lambda _n: go.wait(60), "test")
    runner.put(1, 0.0)
    runner.put(2, 0.0)
    go.set()

    first, second = runner.wait()
    runner.close()

    assert (first.idle_s, first.busy_s) == (1.0, 1.0)
    assert (second.idle_s, second.busy_s) == (1.0, 1.0), "not counted from its arrival at 0"
