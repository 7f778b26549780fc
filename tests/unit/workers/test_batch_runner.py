"""The thread that runs batches."""

import select
import threading
import time
from collections.abc import Iterator

import pytest

from workers.batch_runner import BatchRunner


class Broken(Exception):
    pass


def squared(n: int) -> int:
    if n < 0:
        raise Broken
    return n * n


@pytest.fixture
def runner() -> Iterator[BatchRunner[int, int]]:
    runner = BatchRunner(squared)
    yield runner
    runner.close()


def test_batches_are_run_in_order_and_each_is_fetched_once(runner: BatchRunner[int, int]) -> None:
    for n in range(20):
        runner.put(n, time.perf_counter())

    ran = runner.wait()

    assert [(one.batch, one.outcome) for one in ran] == [(n, n * n) for n in range(20)]
    assert runner.done() == []
    assert not runner.is_busy


def test_the_descriptor_can_be_read_once_a_batch_is_done(runner: BatchRunner[int, int]) -> None:
    assert select.select([runner.fd], [], [], 0)[0] == []

    runner.put(3, time.perf_counter())

    assert select.select([runner.fd], [], [], 60)[0] == [runner.fd]
    (ran,) = runner.done()
    assert ran.outcome == 9
    assert select.select([runner.fd], [], [], 0)[0] == []


def test_what_it_raises_is_raised_where_it_is_fetched(runner: BatchRunner[int, int]) -> None:
    runner.put(-1, time.perf_counter())

    with pytest.raises(Broken):
        runner.wait()

    runner.put(2, time.perf_counter())
    assert [one.outcome for one in runner.wait()] == [4]


def test_waiting_behind_another_batch_is_no_idle_time() -> None:
    go = threading.Event()
    runner: BatchRunner[int, bool] = BatchRunner(lambda _n: go.wait(60))
    begin = time.perf_counter()
    runner.put(1, begin)
    runner.put(2, begin)
    time.sleep(0.05)
    go.set()

    first, second = runner.wait()
    runner.close()

    assert first.busy_s >= 0.05
    assert second.idle_s < first.busy_s
