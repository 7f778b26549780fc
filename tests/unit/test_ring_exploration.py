"""A ring and the leases on it: every order of steps and deaths in small farms, any in larger ones.

What must hold in each world, and at each end, is in `ring_world.Rules`: a slot has one owner, no
lease is stale, no picture is torn, no slot leaks, and each frame is delivered once, in order.
"""

import pickle
from collections import deque

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from farm.events import Slot
from shm.errors import StaleDescriptor
from shm.layout import RingLayout
from tests.unit.ring_world import Rules, World


def explore(rules: Rules) -> tuple[int, int]:
    """Visit all worlds, breadth first; gives how many there are, and how many are ends.

    A failed assertion is told with the shortest story that leads to it.
    """
    start = rules.start()
    seen = {start}
    queue = deque([start])
    came_from: dict[World, tuple[World, str]] = {}
    n_ends = 0
    while queue:
        world = queue.popleft()
        try:
            rules.check(world)
            after = list(rules.steps(world))
            if all(step.endswith("dies") for step, _ in after):
                rules.check_end(world)
                n_ends += 1
        except Exception as error:
            error.add_note(" / ".join(_story(world, came_from)))
            raise
        for step, next_world in after:
            if next_world not in seen:
                seen.add(next_world)
                came_from[next_world] = (world, step)
                queue.append(next_world)
    return len(seen), n_ends


def _story(world: World, came_from: dict[World, tuple[World, str]]) -> list[str]:
    steps: list[str] = []
    while world in came_from:
        world, step = came_from[world]
        steps.append(step)
    return steps[::-1]


@pytest.mark.parametrize(
    ("jobs", "slots_per_block", "max_deaths", "n_least"),
    [
        ({"a": 3}, 1, 1, 3_000),
        ({"a": 3}, 2, 1, 5_000),
        ({"a": 1, "b": 2}, 2, 1, 5_000),
        ({"a": 2}, 1, 2, 10_000),
        ({"a": 1, "b": 1}, 1, 2, 10_000),
    ],
)
def test_every_order_of_steps_and_deaths_delivers_every_frame_once(
    jobs: dict[str, int], slots_per_block: int, max_deaths: int, n_least: int
) -> None:
    layout = RingLayout(n_blocks=2, slots_per_block=slots_per_block, slot_bytes=64)
    rules = Rules(jobs=jobs, layout=layout, n_readers=2, max_deaths=max_deaths)

    n_worlds, n_ends = explore(rules)

    print(f"{n_worlds} worlds, {n_ends} ends")
    assert n_worlds > n_least, "the exploration stopped early"
    assert n_ends > 0


class AnyRing(RuleBasedStateMachine):
    """Larger farms in random order, with any number of deaths."""

    @initialize(
        lengths=st.lists(st.integers(1, 25), min_size=1, max_size=3),
        n_blocks=st.integers(1, 3),
        slots_per_block=st.integers(1, 4),
        n_readers=st.integers(1, 3),
    )
    def start(
        self, lengths: list[int], n_blocks: int, slots_per_block: int, n_readers: int
    ) -> None:
        layout = RingLayout(n_blocks=n_blocks, slots_per_block=slots_per_block, slot_bytes=64)
        jobs = {f"job {k}": length for k, length in enumerate(lengths)}
        self.rules = Rules(jobs=jobs, layout=layout, n_readers=n_readers, max_deaths=0)
        self.world = self.rules.start()
        self.lent: set[Slot] = set()
        self.ever_lent: set[Slot] = set()

    def go_to(self, world: World) -> None:
        self.world = world
        self.rules.check(world)
        lent = self.rules.lent(world)
        assert self.ever_lent.isdisjoint(lent - self.lent), "one slot and generation, lent twice"
        self.lent = lent
        self.ever_lent |= lent

    @rule(choice=st.data(), n=st.integers(1, 12))
    def steps(self, choice: st.DataObject, n: int) -> None:
        for _ in range(n):
            if possible := list(self.rules.steps(self.world)):
                self.go_to(choice.draw(st.sampled_from(possible))[1])

    @rule(choice=st.data())
    def dies(self, choice: st.DataObject) -> None:
        if possible := list(self.rules.deaths(self.world)):
            self.go_to(choice.draw(st.sampled_from(possible))[1])

    @rule()
    def no_late_release_is_taken(self) -> None:
        writer = self.world.writer
        ledger = self.rules.ledger(writer)
        before = pickle.dumps(ledger)

        for place in self.ever_lent - self.lent:
            if place.worker == writer.identity:
                with pytest.raises(StaleDescriptor):
                    ledger.release(place.slot, place.generation)

        assert pickle.dumps(ledger) == before

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        while possible := list(self.rules.steps(self.world)):
            self.go_to(possible[0][1])
        self.rules.check_end(self.world)


AnyRing.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAnyRing = AnyRing.TestCase
