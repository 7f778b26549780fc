import itertools
import signal

import pytest

from farm.errors import IllegalTransition
from farm.restart import (
    PHASES,
    GiveUp,
    Phase,
    Record,
    Restart,
    RestartPolicy,
    after_death,
    after_progress,
    backoff_s,
    decide,
    how_it_ended,
    next_phase,
    parse,
)

POLICY = RestartPolicy()


def test_the_back_off_doubles_and_ends_at_its_cap() -> None:
    delays_s = [backoff_s(POLICY, n) for n in (0, 1, 2, 3, 6, 7, 10_000)]

    assert delays_s == [0.1, 0.1, 0.2, 0.4, 3.2, 5.0, 5.0]


def test_a_child_is_restarted_after_the_back_off() -> None:
    assert decide(POLICY, 2, now=100.0) == Restart(at=100.2)


def test_the_fifth_death_without_progress_is_the_last() -> None:
    record = Record()
    decisions = []

    for _ in range(5):
        record = after_death(record)
        decisions.append(decide(POLICY, record.n_fruitless_deaths, now=0.0))

    assert decisions[:4] == [Restart(0.1), Restart(0.2), Restart(0.4), Restart(0.8)]
    assert decisions[4] == GiveUp(5)


def test_a_child_that_works_between_its_deaths_is_restarted_for_ever() -> None:
    record = Record()

    for _ in range(100):
        record = after_death(after_progress(record))
        assert decide(POLICY, record.n_fruitless_deaths, now=0.0) == Restart(0.1)


def test_progress_forgives_the_deaths_before_it_and_its_own() -> None:
    record = Record()
    for _ in range(4):
        record = after_death(record)

    record = after_death(after_progress(record))

    assert record == Record()
    assert after_death(record).n_fruitless_deaths == 1


def test_every_phase_knows_every_event_or_refuses_it() -> None:
    events = {event for _, event in PHASES}
    refused = set()

    for phase, event in itertools.product(Phase, events):
        try:
            next_phase(phase, event)
        except IllegalTransition:
            refused.add((phase, event))

    # Nobody asked it to drain.
    assert refused == {(Phase.STARTING, "drained"), (Phase.SERVING, "drained")}


def test_the_first_signal_drains_and_the_second_stops() -> None:
    draining = next_phase(Phase.SERVING, "signal")

    assert draining is Phase.DRAINING
    assert next_phase(draining, "signal") is Phase.STOPPING


@pytest.mark.parametrize(
    ("line", "means"),
    [
        (b'{"kind":"ready"}', ("ready", 0)),
        (b'{"kind":"drained"}', ("drained", 0)),
        (b'{"kind":"kill","pid":7}', ("kill", 7)),
        (b'{"kind":"progress","pid":7}', ("progress", 7)),
    ],
)
def test_the_broker_says_four_things(line: bytes, means: tuple[str, int]) -> None:
    assert parse(line) == means


@pytest.mark.parametrize(
    "line",
    [b"", b"ready", b"[]", b'{"kind":"kill"}', b'{"kind":"kill","pid":"7"}', b'{"kind":"stop"}',
     b'{"kind":["ready"]}', b'{"pid":7}', b"\xff"],
)  # fmt: skip
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a message we know"):
        parse(line)


def test_an_end_is_told_in_words() -> None:
    assert how_it_ended(3) == "exit code 3"
    assert how_it_ended(-signal.SIGKILL) == "SIGKILL"
    assert how_it_ended(-40) == "signal 40"
