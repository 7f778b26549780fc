"""Speech on its way: sent again from where the farm says, or from further on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import outgoing
from farm.outgoing import Outgoing, SpeechGone
from workers.arrays import F32


def speech(n: int) -> F32:
    return np.arange(n, dtype=np.float32)


def pieces(n: int, size: int) -> Outgoing:
    whole = speech(n)
    return Outgoing(iter([whole[k : k + size] for k in range(0, n, size)]))


def rest(sent: Outgoing, most: int = 7) -> list[float]:
    taken: list[float] = []
    while (chunk := sent.take(most)) is not None:
        assert 0 < len(chunk) <= most
        taken += chunk.tolist()
    return taken


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 60), st.integers(0, 80))
def test_from_wherever_it_goes_on_it_is_the_same_speech(
    n: int, size: int, n_before: int, sample: int
) -> None:
    sent = pieces(n, size)
    while sent.n_sent < min(n_before, n):
        sent.take(5)

    sent.go_to(sample)

    assert rest(sent) == speech(n)[sample:].tolist()


@given(st.integers(0, 40), st.integers(0, 40))
def test_what_the_farm_has_for_good_is_kept_no_longer(kept: int, sample: int) -> None:
    sent = pieces(40, 10)
    rest(sent, 10)
    sent.forget_before(kept)

    assert sent.is_whole == (kept < 10)
    if sample < kept // 10 * 10:
        with pytest.raises(SpeechGone):
            sent.go_to(sample)
        assert rest(sent) == []
    else:
        sent.go_to(sample)
        assert rest(sent) == speech(40)[sample:].tolist()


def test_a_farm_that_confirms_nothing_cannot_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "KEPT_SAMPLES", 25)
    sent = pieces(100, 10)
    rest(sent, 10)

    assert not sent.is_whole
    with pytest.raises(SpeechGone):
        sent.go_to(79)
    sent.go_to(80)
    assert rest(sent) == speech(100)[80:].tolist()


def test_empty_pieces_are_passed_over() -> None:
    sent = Outgoing(iter([speech(0), speech(3), speech(0)]))

    assert rest(sent) == [0, 1, 2]
