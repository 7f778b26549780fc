"""How much that leads nowhere the broker hears."""

import pytest

from farm import protocol
from farm.allowance import BURST, CREDIT_COST, RATE_HZ, Allowance, cost


def test_what_is_allowed_is_heard_at_once() -> None:
    allowance = Allowance(0.0, rate_hz=10.0, burst=3.0)

    for _ in range(3):
        assert allowance.wait_s(0.0) == 0
        allowance.spend(1.0, 0.0)

    assert allowance.wait_s(0.0) == pytest.approx(0.1)
    assert allowance.wait_s(0.05) == pytest.approx(0.05)
    assert allowance.wait_s(0.1) == 0


def test_it_does_not_grow_beyond_its_burst() -> None:
    allowance = Allowance(0.0, rate_hz=10.0, burst=3.0)

    allowance.spend(3.0, 1_000.0)

    assert allowance.wait_s(1_000.0) == pytest.approx(0.1)


def test_what_costs_more_than_is_left_is_heard_and_paid_for_later() -> None:
    allowance = Allowance(0.0, rate_hz=10.0, burst=3.0)

    allowance.spend(5.0, 0.0)

    assert allowance.wait_s(0.0) == pytest.approx(0.3)


def test_a_flood_is_heard_at_its_rate() -> None:
    allowance, n, now = Allowance(0.0), 0, 0.0
    while now < 10.0:
        if allowance.wait_s(now) == 0:
            allowance.spend(1.0, now)
            n += 1
            assert n < 2 * (BURST + 10 * RATE_HZ), "there is no end to it"
        else:
            now += 1e-3

    assert n == pytest.approx(BURST + 10 * RATE_HZ, rel=0.01)


@pytest.mark.parametrize(
    ("message", "is_at_work", "n_payload_bytes", "expected"),
    [
        (protocol.Audio(job_id="j", seq=0), True, 4, 0.0),
        (protocol.Audio(job_id="j", seq=0), True, 0, 1.0),  # nothing bounds these
        (protocol.Audio(job_id="j", seq=0), False, 4, 1.0),
        (protocol.End(job_id="j"), True, 0, 0.0),
        (protocol.Credit(job_id="j", frames=1), True, 0, CREDIT_COST),
        (protocol.Credit(job_id="j", frames=1), False, 0, 1.0),
        (protocol.Ping(nonce=0), False, 0, 1.0),
        (None, False, 100, 1.0),  # what was no message
    ],
)
def test_only_what_gets_a_job_on_is_free(
    message: object, is_at_work: bool, n_payload_bytes: int, expected: float
) -> None:
    assert cost(message, is_at_work=is_at_work, n_payload_bytes=n_payload_bytes) == expected
