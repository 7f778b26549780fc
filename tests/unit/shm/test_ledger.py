from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shm.errors import IllegalTransition, RingFull, ShmError, StaleDescriptor
from shm.layout import RingLayout
from shm.ledger import TRANSITIONS, Ledger, SlotState

LAYOUT = RingLayout(n_blocks=3, slots_per_block=2, slot_bytes=64)


def seen(ledger: Ledger) -> list[tuple[SlotState, int]]:
    """All that a ledger tells of its slots."""
    return [(ledger.state(slot), ledger.generation(slot)) for slot in range(LAYOUT.n_slots)]


def lent() -> Ledger:
    """Block 0 published whole at generation 0, the others free."""
    ledger = Ledger(LAYOUT)
    ledger.publish(ledger.try_claim(), 2)
    return ledger


def writing() -> Ledger:
    """Block 0 claimed, the others free."""
    ledger = Ledger(LAYOUT)
    ledger.try_claim()
    return ledger


def test_claims_go_round() -> None:
    ledger = Ledger(LAYOUT)

    blocks = []
    for _ in range(5):
        blocks.append(ledger.try_claim())
        ledger.abandon(blocks[-1])

    assert blocks == [0, 1, 2, 0, 1]


def test_claims_skip_a_busy_block() -> None:
    ledger = Ledger(LAYOUT)
    busy = ledger.try_claim()
    for _ in range(2):
        ledger.abandon(ledger.try_claim())

    assert (busy, ledger.try_claim()) == (0, 1)


def test_with_every_block_busy_a_claim_raises_ring_full() -> None:
    ledger = Ledger(LAYOUT)
    for _ in range(3):
        ledger.try_claim()
    before = seen(ledger)

    with pytest.raises(RingFull, match="all 3 blocks"):
        ledger.try_claim()

    assert seen(ledger) == before


def test_padding_is_free_at_once_and_nobody_has_a_generation_of_it() -> None:
    ledger = Ledger(LAYOUT)

    generations = ledger.publish(ledger.try_claim(), 1)

    assert generations == [0]
    assert seen(ledger)[:2] == [(SlotState.LENT, 0), (SlotState.FREE, 0)]


def test_a_block_is_free_only_when_its_last_slot_is() -> None:
    ledger = lent()

    ledger.release(1, 0)
    assert ledger.n_free_blocks == 2

    ledger.release(0, 0)
    assert ledger.n_free_blocks == 3


def test_the_generation_grows_at_release() -> None:
    ledger = lent()

    assert ledger.release(0, 0) == 1
    assert (ledger.generation(0), ledger.generation(1)) == (1, 0)


def test_an_abandoned_block_keeps_its_generations_since_nobody_was_told() -> None:
    ledger = writing()

    ledger.abandon(0)

    assert seen(ledger) == seen(Ledger(LAYOUT))


@pytest.mark.parametrize(
    ("start", "move", "error"),
    [
        (Ledger, lambda ledger: ledger.publish(0, 1), IllegalTransition),
        (Ledger, lambda ledger: ledger.abandon(0), IllegalTransition),
        (Ledger, lambda ledger: ledger.release(0, 0), IllegalTransition),
        (Ledger, lambda ledger: ledger.require_writing(0), IllegalTransition),
        (writing, lambda ledger: ledger.release(0, 0), IllegalTransition),
        (writing, lambda ledger: ledger.publish(0, 0), ValueError),
        (writing, lambda ledger: ledger.publish(0, 3), ValueError),
        (writing, lambda ledger: ledger.publish(3, 1), IndexError),
        (writing, lambda ledger: ledger.abandon(-1), IndexError),
        (lent, lambda ledger: ledger.publish(0, 1), IllegalTransition),
        (lent, lambda ledger: ledger.abandon(0), IllegalTransition),
        (lent, lambda ledger: ledger.require_writing(0), IllegalTransition),
        (lent, lambda ledger: ledger.release(0, 1), StaleDescriptor),
        (lent, lambda ledger: ledger.release(0, -1), StaleDescriptor),
        (lent, lambda ledger: ledger.release(6, 0), StaleDescriptor),
        (lent, lambda ledger: ledger.release(-1, 0), StaleDescriptor),
    ],
)
def test_an_illegal_move_raises_and_changes_nothing(
    start: Callable[..., Ledger], move: Callable[[Ledger], object], error: type[Exception]
) -> None:
    ledger = start(LAYOUT) if start is Ledger else start()
    before = seen(ledger)

    with pytest.raises(error):
        move(ledger)

    assert seen(ledger) == before
    ledger.validate()


def test_a_half_read_block_is_not_published_again_even_in_part() -> None:
    ledger = lent()
    ledger.release(0, 0)
    before = seen(ledger)

    with pytest.raises(IllegalTransition):
        ledger.publish(0, 2)

    assert seen(ledger) == before


def test_a_second_release_of_one_lending_is_stale() -> None:
    ledger = lent()
    ledger.release(0, 0)

    with pytest.raises(StaleDescriptor, match="slot 0, generation 0: it is at 1"):
        ledger.release(0, 0)


def test_an_illegal_transition_says_who_where_and_what() -> None:
    with pytest.raises(
        IllegalTransition, match=r"^slot 0 is FREE: abandon is not legal$"
    ) as caught:
        Ledger(LAYOUT).abandon(0)

    error = caught.value
    assert (error.subject, error.state, error.event) == ("slot 0", SlotState.FREE, "abandon")


def test_every_state_can_be_entered_and_left() -> None:
    assert {state for state, _ in TRANSITIONS} == set(SlotState)
    assert set(TRANSITIONS.values()) == set(SlotState)


class LedgerMachine(RuleBasedStateMachine):
    """Random moves, legal and not, against a model of a few plain collections."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(LAYOUT)
        self.claimed: set[int] = set()
        self.lent: dict[int, int] = {}
        self.ever_lent: set[tuple[int, int]] = set()

    @rule()
    def claim(self) -> None:
        lent_blocks = {slot // LAYOUT.slots_per_block for slot in self.lent}
        busy = self.claimed | lent_blocks
        if len(busy) == LAYOUT.n_blocks:
            with pytest.raises(RingFull):
                self.ledger.try_claim()
            return
        block = self.ledger.try_claim()
        assert block not in busy
        self.claimed.add(block)

    @precondition(lambda self: self.claimed)
    @rule(choice=st.data(), n_used=st.integers(1, LAYOUT.slots_per_block))
    def publish(self, choice: st.DataObject, n_used: int) -> None:
        block = choice.draw(st.sampled_from(sorted(self.claimed)))
        generations = self.ledger.publish(block, n_used)
        handed_out = list(zip(LAYOUT.block_slots(block), generations, strict=False))
        assert len(handed_out) == n_used
        assert self.ever_lent.isdisjoint(handed_out), "one slot and generation, lent twice"
        self.ever_lent.update(handed_out)
        self.lent.update(handed_out)
        self.claimed.remove(block)

    @precondition(lambda self: self.claimed)
    @rule(choice=st.data())
    def abandon(self, choice: st.DataObject) -> None:
        block = choice.draw(st.sampled_from(sorted(self.claimed)))
        self.ledger.abandon(block)
        self.claimed.remove(block)

    @precondition(lambda self: self.lent)
    @rule(choice=st.data())
    def release(self, choice: st.DataObject) -> None:
        slot = choice.draw(st.sampled_from(sorted(self.lent)))
        assert self.ledger.release(slot, self.lent.pop(slot)) > 0

    @rule(slot=st.integers(-1, LAYOUT.n_slots), generation=st.integers(-1, 4))
    def release_what_is_not_lent(self, slot: int, generation: int) -> None:
        if self.lent.get(slot) != generation:
            self.refuses(lambda: self.ledger.release(slot, generation))

    @rule(block=st.integers(0, LAYOUT.n_blocks - 1))
    def publish_or_abandon_what_is_not_claimed(self, block: int) -> None:
        if block not in self.claimed:
            self.refuses(lambda: self.ledger.publish(block, 1))
            self.refuses(lambda: self.ledger.abandon(block))

    def refuses(self, move: Callable[[], object]) -> None:
        before = seen(self.ledger)
        with pytest.raises(ShmError):
            move()
        assert seen(self.ledger) == before

    @invariant()
    def the_ledger_agrees_with_the_model(self) -> None:
        self.ledger.validate()
        for block, step in product(range(LAYOUT.n_blocks), range(LAYOUT.slots_per_block)):
            slot = LAYOUT.block_slots(block)[step]
            expected = (
                SlotState.WRITING
                if block in self.claimed
                else SlotState.LENT
                if slot in self.lent
                else SlotState.FREE
            )
            assert self.ledger.state(slot) is expected


TestLedgerMachine = LedgerMachine.TestCase
