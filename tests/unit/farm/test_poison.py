"""Work that kills its workers: who is tried, who fails, and what it costs the others."""

from math import log2
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm.commands import Composite, EncodeSpan, RunBatch
from farm.suspects import Suspects
from tests.unit.farm.poisonous_farm import PoisonousFarm, pieces

BATCH_SIZES = [1, 2, 8, 25, 32, 64]


def farm_of(
    batch_size: int, *poison: tuple[str, str, int], n_compositors: int = 2
) -> PoisonousFarm:
    farm = PoisonousFarm(*poison)
    farm.add_all_workers(n_compositors, batch_size)
    return farm


def verdict(farm: PoisonousFarm, job_id: str) -> str:
    found = farm.jobs[job_id].verdict
    assert found is not None, f"{job_id} was forgotten"
    return found.code or found.state


def batches(farm: PoisonousFarm) -> list[RunBatch]:
    return [task for task in farm.tasks if isinstance(task, RunBatch)]


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_a_poisonous_frame_costs_few_workers_and_only_its_own_job(batch_size: int) -> None:
    for frame in range(batch_size):
        farm = farm_of(batch_size, ("inference", "bad", frame))
        farm.open("bad", 3 * batch_size)
        farm.open("good", 3 * batch_size)

        farm.run()

        assert farm.n_deaths["inference"] <= log2(batch_size) + 3
        assert (verdict(farm, "bad"), verdict(farm, "good")) == ("POISON", "done")


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("bad_share", ["small", "large"])
def test_a_batch_shared_by_three_jobs_costs_no_more(batch_size: int, bad_share: str) -> None:
    small = max(1, batch_size // 8 if bad_share == "large" else batch_size // 3)
    n_bad = max(1, batch_size - 2 * small)
    for frame in range(n_bad):
        farm = PoisonousFarm(("inference", "bad", frame))
        for role in ("audio", "compositor"):
            farm.add_worker(role)
        for name, n_frames in (("first", small), ("bad", n_bad), ("last", small)):
            farm.open(name, n_frames)
        farm.encode_everything()
        farm.add_worker("inference", n_blocks=4, batch_size=batch_size)
        if batch_size > 2:
            assert len({run.job_id for run in batches(farm)[0].runs}) == 3

        farm.run()

        assert farm.n_deaths["inference"] <= log2(batch_size) + 3
        verdicts = [verdict(farm, name) for name in ("first", "bad", "last")]
        assert verdicts == ["done", "POISON", "done"]


@pytest.mark.parametrize(("role", "index"), [("audio", 0), ("audio", 2), ("compositor", 11)])
def test_other_poison_costs_three_workers_and_only_its_own_job(role: str, index: int) -> None:
    farm = farm_of(8, (role, "bad", index))
    farm.open("bad", 120)
    farm.open("good", 120)

    farm.run()

    assert farm.n_deaths == {role: 3}
    assert (verdict(farm, "bad"), verdict(farm, "good")) == ("POISON", "done")


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("audio", "speech span 3 killed 2 audio workers that had nothing else in hand"),
        ("inference", "frame 3 killed 2 inference workers that had nothing else in hand"),
        ("compositor", "frame 3 killed 2 compositor workers that had nothing else in hand"),
    ],
)
def test_the_client_is_told_which_part_of_its_job_it_was(role: str, words: str) -> None:
    farm = farm_of(8, (role, "bad", 3))
    farm.open("bad", 120)

    farm.run()

    found = farm.jobs["bad"].verdict
    assert found is not None
    assert (found.state, found.code, found.message) == ("failed", "POISON", words)


def test_what_came_before_the_poison_is_delivered() -> None:
    farm = farm_of(8, ("inference", "bad", 50))
    farm.open("bad", 120)

    farm.run()

    assert farm.jobs["bad"].received == list(range(len(farm.jobs["bad"].received)))
    assert len(farm.jobs["bad"].received) >= 50 - 2 * 8, "all but what was in hand with it"


def test_two_poisonous_frames_of_two_jobs_fail_two_jobs() -> None:
    farm = farm_of(8, ("inference", "a", 3), ("inference", "b", 4))
    for name in "abc":
        farm.open(name, 5)

    farm.run()

    assert [verdict(farm, name) for name in "abc"] == ["POISON", "POISON", "done"]


def test_suspects_are_of_one_job_and_nothing_is_queued_behind_them() -> None:
    farm = farm_of(8)
    for name in "abc":
        farm.open(name, 30)
    farm.encode_everything()
    (worker,) = {task.worker for task in batches(farm)}
    held = {piece for task in batches(farm) for piece in pieces(task)}

    farm.kill_and_replace(worker)

    while held:
        if suspects := [task for task in batches(farm) if not held.isdisjoint(pieces(task))]:
            assert suspects == batches(farm), "something is queued with suspects"
            assert len({run.job_id for run in suspects[0].runs}) == 1
            assert held >= set(pieces(suspects[0])), "an innocent frame is among suspects"
            held -= set(pieces(suspects[0]))
        farm.finish(farm.tasks[0])
    farm.run()
    assert [verdict(farm, name) for name in "abc"] == ["done"] * 3


def test_poison_is_found_though_the_word_that_the_task_before_it_is_done_is_never_heard() -> None:
    """The broker may read of a death before it reads the dead worker's last words."""
    farm = farm_of(8, ("inference", "bad", 12))
    farm.open("bad", 100)
    farm.encode_everything()
    while "bad" not in farm.poisoned():
        (worker,) = {task.worker for task in batches(farm)}
        if any(not farm.poison.isdisjoint(pieces(task)) for task in batches(farm)):
            farm.kill_and_replace(worker)  # the first of two is done, and nobody knows
            assert farm.n_deaths["inference"] <= log2(8) + 3
        else:
            farm.finish(farm.tasks[0])


@pytest.mark.parametrize("role", ["audio", "inference", "compositor"])
def test_a_first_death_proves_nothing_even_of_one_alone(role: str) -> None:
    farm = farm_of(1, n_compositors=1)
    farm.open("a", 1)
    farm.push("a")
    farm.push("a")
    while not farm.tasks[0].worker.startswith(role.encode()):
        farm.finish(farm.tasks[0])

    for n_deaths in (1, 2, 3):
        assert len(farm.tasks) == 1
        assert farm.poisoned() == set(), f"after {n_deaths - 1} deaths"
        farm.kill_and_replace(farm.tasks[0].worker)

    assert farm.poisoned() == {"a"}


def test_a_clean_run_clears_what_was_counted() -> None:
    farm = farm_of(1, n_compositors=1)
    farm.open("a", 1)
    farm.push("a")
    farm.push("a")
    farm.finish(farm.tasks[0])

    for _ in range(20):  # two deaths, a clean run, and its ring dies: it is made again
        farm.kill_and_replace(batches(farm)[0].worker)
        farm.kill_and_replace(batches(farm)[0].worker)
        (batch,) = batches(farm)
        farm.finish(batch)
        farm.kill_and_replace(batch.worker)
    farm.run()

    assert verdict(farm, "a") == "done"


@pytest.mark.parametrize("n_done", range(2, 30))
def test_a_worker_killed_again_and_again_poisons_nobody(n_done: int) -> None:
    """An operator with kill -9, of everybody, every few tasks."""
    farm = farm_of(1)
    farm.open("a", 40)
    farm.open("b", 40)
    farm.encode_everything()

    for _ in range(100):
        for _ in range(n_done):
            if farm.tasks:
                farm.finish(farm.tasks[0])
        for worker in list(farm.scheduler.state.workers):
            farm.kill_and_replace(worker)
    farm.run()

    assert farm.poisoned() == set()
    assert [verdict(farm, name) for name in "ab"] == ["done", "done"]


def test_suspects_get_their_turn_though_others_keep_every_hand_full() -> None:
    farm = farm_of(8)
    farm.open("old", 40)
    farm.encode_everything()
    farm.kill_and_replace(batches(farm)[0].worker)
    for k in range(4):
        farm.open(f"new {k}", 400)

    n_batches = 0
    while len(farm.jobs["old"].received) < 40:
        for name in farm.jobs:
            farm.push(name)
        n_batches += isinstance(farm.tasks[0], RunBatch)
        farm.finish(farm.tasks[0])

    assert n_batches <= 60


def test_suspects_get_their_turn_though_another_job_of_their_client_shares_batches() -> None:
    farm = farm_of(8)
    farm.open("other client's", 5_000, credit=0)
    farm.open("same client's", 5_000, credit=0, client=b"one client")
    farm.run()
    farm.open("old", 20, client=b"one client")
    farm.encode_everything()
    farm.kill_and_replace(batches(farm)[0].worker)

    n_batches = 0
    while len(farm.jobs["old"].received) < 20:
        if isinstance(farm.tasks[0], RunBatch):
            n_batches += 1
            for name in ("other client's", "same client's"):  # together never a full batch
                farm.push(name)
                farm.grant(name, 3)
        farm.finish(farm.tasks[0])
        assert n_batches < 60, "starved"


def test_others_go_on_while_suspects_are_tried() -> None:
    farm = farm_of(8, ("inference", "bad", 0))
    farm.add_worker("inference", n_blocks=4, batch_size=8)
    farm.open("bad", 500)
    farm.open("good", 500)
    farm.encode_everything()

    while not farm.poisoned():
        farm.do_next(farm.tasks[0].worker)
    n_deaths = farm.n_deaths["inference"]
    farm.run()

    assert n_deaths <= log2(8) + 3
    assert verdict(farm, "good") == "done"


def test_a_higher_priority_goes_before_suspects() -> None:
    farm = farm_of(8)
    farm.open("low", 100)
    farm.encode_everything()
    worker = batches(farm)[0].worker
    farm.open("high", 100, priority=1)
    farm.encode_everything()

    farm.kill_and_replace(worker)

    assert {run.job_id for task in batches(farm) for run in task.runs} == {"high"}


def test_a_compositor_that_is_not_heard_of_a_dead_ring_is_not_idle() -> None:
    """A ticket on a dead ring is withdrawn, but the compositor is at work on it all the same."""
    farm = farm_of(4, ("compositor", "bad", 0), n_compositors=1)
    farm.open("bad", 1)
    farm.open("good", 1)
    farm.encode_everything()
    while not farm.leases():
        farm.finish(farm.tasks[0])
    (ticket,) = [task for task in farm.tasks if isinstance(task, Composite)]
    farm.kill_and_replace(ticket.worker)  # both are suspects now
    ring = farm.leases()[0].slot.worker

    farm.kill_and_replace(ring)
    while batches(farm):
        farm.finish(batches(farm)[0])

    assert len(farm.leases()) == 1, "leased beside a suspect that may kill"
    farm.run()
    assert (verdict(farm, "bad"), verdict(farm, "good")) == ("POISON", "done")


def test_what_belongs_to_a_job_that_is_over_is_suspected_no_more() -> None:
    farm = farm_of(8)
    farm.open("a", 40)
    farm.encode_everything()
    worker = batches(farm)[0].worker
    farm.kill_and_replace(worker)

    farm.scheduler.state.end(farm.scheduler.state.jobs["a"], "cancel")

    assert not any(farm.scheduler.state.suspects.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_the_order_exactly_the_poisonous_job_fails(data: st.DataObject) -> None:
    batch_size = data.draw(st.sampled_from([1, 2, 3, 8, 25]))
    lengths = data.draw(st.lists(st.integers(1, 80), min_size=1, max_size=4))
    role = data.draw(st.sampled_from(["audio", "inference", "compositor"]))
    n_pieces = -(-(lengths[0] + 2) // 32) if role == "audio" else lengths[0]
    index = data.draw(st.integers(0, n_pieces - 1))
    farm = PoisonousFarm((role, "job 0", index))
    for _ in range(data.draw(st.integers(1, 2))):
        farm.add_all_workers(data.draw(st.integers(1, 2)), batch_size)
    for k, length in enumerate(lengths):
        farm.open(f"job {k}", length)

    rest = Random(data.draw(st.integers(0, 1 << 32)))
    while any(job.verdict is None for job in farm.jobs.values()):
        names = [name for name in farm.jobs if rest.random() < 0.5]
        for name in names:
            farm.push(name)
        for _ in range(rest.randint(0, 4)):
            if farm.tasks:
                farm.do_next(rest.choice(farm.tasks).worker)

    assert set(farm.n_deaths) == {role}, "somebody died of nothing"
    assert farm.n_deaths[role] <= (log2(batch_size) if role == "inference" else 0) + 3
    assert verdict(farm, "job 0") == "POISON"
    for name in list(farm.jobs)[1:]:
        assert verdict(farm, name) == "done"
        assert farm.jobs[name].received == list(range(farm.jobs[name].total_frames))


@pytest.mark.parametrize("n", [1, 2, 3, 25, 64])
def test_the_guilty_one_of_many_is_found_by_halves(n: int) -> None:
    suspects = Suspects(max_group=64)
    guilty = (1, n - 1)
    in_hand = tuple((1, frame) for frame in range(n))
    n_deaths = 0

    found = None
    while found is None:
        found = suspects.blame([in_hand])
        in_hand = suspects.group(guilty)
        n_deaths += 1
        assert n_deaths <= log2(n) + 3
        suspects.validate()

    assert found == guilty


def test_groups_are_of_one_job_and_at_most_half_of_what_died() -> None:
    suspects = Suspects(max_group=64)

    suspects.blame([[(1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0)]])

    assert suspects.group((1, 0)) == ((1, 0),)
    assert suspects.group((2, 0)) == ((2, 0), (2, 1), (2, 2))
    assert suspects.group((2, 3)) == ((2, 3),)


def test_spans_are_asked_for_again_one_at_a_time() -> None:
    farm = farm_of(8)
    farm.open("a", 300)
    for _ in range(8):
        farm.push("a")
    spans = [task for task in farm.tasks if isinstance(task, EncodeSpan)]
    assert len(spans) == 2

    farm.kill_and_replace(spans[0].worker)

    assert [t.span for t in farm.tasks if isinstance(t, EncodeSpan)] == [spans[0].span]
