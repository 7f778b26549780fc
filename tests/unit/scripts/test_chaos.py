import signal

import chaos
import pytest

KILL, STOP = signal.SIGKILL, signal.SIGSTOP


def test_a_pause_belongs_to_the_last_fault_before_it_began() -> None:
    tally = chaos.Tally(
        arrivals=[1.0, 2.0, 11.0, 13.5, 14.0, 21.0, 20.5],
        faults=[chaos.Fault("audio", KILL, 10.0), chaos.Fault("audio", STOP, 13.9)],
    )

    pauses = chaos.pauses_s(tally, first_fault_at=10.0)

    assert pauses["(no fault)", ""] == [1.0]
    assert pauses["audio", "SIGKILL"] == [2.5]
    assert pauses["audio", "SIGSTOP"] == [6.5]


def test_a_fault_after_the_last_frame_says_nothing() -> None:
    tally = chaos.Tally(arrivals=[1.0], faults=[chaos.Fault("audio", KILL, 10.0)])

    assert chaos.pauses_s(tally, first_fault_at=0.0) == {}


@pytest.mark.parametrize(
    ("index", "jpeg", "complaint"),
    [
        (0, b"a", None),
        (1, b"b", None),
        (2, b"b", None),
        (1, b"a", "doubled"),
        (1, b"c", "corrupt"),
        (3, b"c", "doubled"),
    ],
)
def test_every_frame_is_judged(index: int, jpeg: bytes, complaint: str | None) -> None:
    tally, wanted = chaos.Tally(), chaos.Wanted("anna", speech=[], frames=[b"a", b"b", b"b"])

    chaos.judge(jpeg, index, wanted, tally)

    assert dict(tally.counts) == ({complaint: 1} if complaint else {})
