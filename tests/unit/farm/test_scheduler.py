"""The farm's behaviour, without a process, a socket or a clock."""

from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from farm.commands import (
    AcceptJob,
    Composite,
    Drained,
    EncodeSpan,
    FinishJob,
    GrantAudio,
    KillWorker,
    Refuse,
    ReleaseSlots,
    RunBatch,
    SendFrames,
)
from farm.errors import IllegalTransition
from farm.events import (
    AudioArrived,
    AudioEnded,
    CancelWanted,
    CreditGranted,
    DrainWanted,
    JobOpened,
    JobRestored,
    SlotsUnreadable,
    Ticked,
    WorkerBeat,
    WorkFailed,
)
from farm.jobs import FRAME_MOVES, JOB_MOVES, FrameState, Job, JobState
from farm.places import Capacity
from farm.scheduler import Scheduler
from tests.unit.farm.fake_farm import FakeFarm, FakeJob
from tests.unit.farm.poisonous_farm import PoisonousFarm

T = TypeVar("T")


@pytest.fixture
def farm() -> FakeFarm:
    farm = FakeFarm()
    farm.add_all_workers()
    return farm


def opened(client: bytes, job_id: str) -> JobOpened:
    return JobOpened(client=client, job_id=job_id, avatar="a", model="m", model_bytes=1, credit=1)


def some_job() -> Job:
    return Job(job_id="a", serial=1, client=b"", avatar="a", model="m", priority=0, deadline=None)


def of_kind(farm: FakeFarm, kind: type[T]) -> list[T]:
    return [command for command in farm.commands if isinstance(command, kind)]


def test_a_job_is_rendered_in_order_and_finished(farm: FakeFarm) -> None:
    farm.open("a", 100)

    farm.run()

    job = farm.jobs["a"]
    assert job.received == list(range(100))
    assert job.verdict is not None
    assert (job.verdict.state, job.verdict.n_frames) == ("done", 100)
    assert farm.scheduler.state.jobs == {}


@pytest.mark.parametrize("total_frames", [1, 2, 25, 26, 63, 64, 65, 1000])
def test_every_length_comes_out_whole(farm: FakeFarm, total_frames: int) -> None:
    farm.open("a", total_frames)

    farm.run()

    assert farm.jobs["a"].received == list(range(total_frames))


def test_every_slot_is_released_exactly_once(farm: FakeFarm) -> None:
    farm.open("a", 300)
    farm.open("b", 200)

    farm.run()

    released = [slot for command in of_kind(farm, ReleaseSlots) for slot in command.slots]
    assert len(released) == len(set(released)) == 500


def test_the_first_frames_are_sent_while_later_ones_are_not_begun(farm: FakeFarm) -> None:
    farm.open("a", 10_000)
    while not of_kind(farm, SendFrames):
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[0])

    assert farm.scheduler.state.jobs["a"].next_frame <= 64


def test_two_batches_are_in_flight_and_no_more_than_the_ring_holds() -> None:
    farm = FakeFarm()
    farm.add_worker("audio")
    farm.add_worker("inference", n_blocks=3, batch_size=8)
    farm.open("a", 1_000)
    for _ in range(6):
        farm.push("a")
    while spans := [task for task in farm.tasks if isinstance(task, EncodeSpan)]:
        farm.finish(spans[0])

    assert len(of_kind(farm, RunBatch)) == 2
    for _ in range(3):  # no compositor: slots stay lent, and the ring fills up
        batch = next((task for task in farm.tasks if isinstance(task, RunBatch)), None)
        if batch is not None:
            farm.finish(batch)
    assert len(of_kind(farm, RunBatch)) == 3


def test_a_batch_takes_frames_of_several_jobs(farm: FakeFarm) -> None:
    for name in "abc":
        farm.open(name, 3)

    farm.run()

    assert max(len(batch.runs) for batch in of_kind(farm, RunBatch)) > 1
    assert all(farm.jobs[name].received == [0, 1, 2] for name in "abc")


def test_a_batch_is_never_larger_than_its_ring_block(farm: FakeFarm) -> None:
    farm.open("a", 500)
    farm.open("b", 500)

    farm.run()

    sizes = [sum(len(run.frames) for run in batch.runs) for batch in of_kind(farm, RunBatch)]
    assert max(sizes) == 8
    assert sizes.count(8) > 110, "part-filled batches only keep an idle device busy"


def test_long_jobs_share_the_device_in_turn(farm: FakeFarm) -> None:
    for name in "abcd":
        farm.open(name, 400)
    for _ in range(40):
        for name in "abcd":
            farm.push(name)
    while min(len(job.received) for job in farm.jobs.values()) < 50:
        farm.finish(farm.tasks[0])

    assert max(len(job.received) for job in farm.jobs.values()) <= 50 + 64


def test_a_higher_priority_goes_first(farm: FakeFarm) -> None:
    farm.open("slow", 200)
    farm.open("fast", 200, priority=1)

    while farm.jobs["fast"].verdict is None:
        farm.push("slow")
        farm.push("fast")
        if farm.tasks:
            farm.finish(farm.tasks[0])

    assert len(farm.jobs["slow"].received) < 100


def test_nothing_is_sent_beyond_credit(farm: FakeFarm) -> None:
    farm.open("a", 100, credit=5)

    farm.run()
    assert farm.jobs["a"].received == [0, 1, 2, 3, 4]
    farm.grant("a", 3)
    farm.run()

    assert farm.jobs["a"].received == list(range(8))


def test_a_client_that_does_not_read_stops_only_itself(farm: FakeFarm) -> None:
    farm.open("stuck", 5_000, credit=0)
    farm.open("fine", 500)

    farm.run()

    assert farm.jobs["fine"].received == list(range(500))
    assert len(farm.jobs["stuck"].results) == 64, "worked ahead by one window and no more"


def test_speech_is_granted_thirty_seconds_ahead_and_no_more(farm: FakeFarm) -> None:
    farm.open("a", 100_000, credit=0)

    farm.run()

    assert farm.jobs["a"].granted == 30 * 16_000
    farm.grant("a", 50)
    farm.run()
    assert farm.jobs["a"].granted == 32 * 16_000


def test_more_speech_than_was_granted_ends_the_job(farm: FakeFarm) -> None:
    farm.open("a", 100)
    client = farm.jobs["a"].client

    farm.tell(AudioArrived(client=client, job_id="a", n_samples=10**7, n_ready_spans=0))

    assert farm.jobs["a"].verdict is not None
    assert farm.jobs["a"].verdict.code == "NO_CREDIT"


def test_speech_without_samples_fails(farm: FakeFarm) -> None:
    farm.open("a", 0)
    farm.tell(AudioEnded(client=farm.jobs["a"].client, job_id="a", total_spans=0, total_frames=0))

    assert farm.jobs["a"].verdict is not None
    assert farm.jobs["a"].verdict.code == "BAD_AUDIO"


@pytest.mark.parametrize("role", ["audio", "inference", "compositor"])
def test_what_a_dead_worker_held_is_done_by_the_next_one(farm: FakeFarm, role: str) -> None:
    farm.open("a", 200)
    for _ in range(60):
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[-1])
    ring = {"n_blocks": 4, "batch_size": 8} if role == "inference" else {}

    for worker in [w for w in farm.scheduler.state.workers.values() if w.role == role]:
        farm.kill(worker.identity)
    farm.add_worker(role, **ring)
    farm.run()

    assert farm.jobs["a"].received == list(range(200))


def test_a_dead_compositor_costs_no_second_inference(farm: FakeFarm) -> None:
    farm.open("a", 8)
    while not farm.leases():
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[0])
    n_batches = len(of_kind(farm, RunBatch))
    held = farm.leases()

    for worker in {t.worker for t in farm.tasks if isinstance(t, Composite)}:
        farm.kill(worker)
    farm.add_worker("compositor")

    assert {lease.slot for lease in farm.leases()} <= {lease.slot for lease in held}
    farm.run()
    assert len(of_kind(farm, RunBatch)) == n_batches
    assert farm.jobs["a"].received == list(range(8))


def test_a_result_from_a_ring_that_died_is_not_taken(farm: FakeFarm) -> None:
    farm.open("a", 8)
    while not farm.leases():
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[0])
    late = [task for task in farm.tasks if isinstance(task, Composite)]

    (ring,) = [w.identity for w in farm.scheduler.state.workers.values() if w.role == "inference"]
    farm.kill(ring)
    for task in late:
        farm.finish(task)
    assert farm.jobs["a"].received == []
    farm.add_worker("inference", n_blocks=4, batch_size=8)
    farm.run()

    assert farm.jobs["a"].received == list(range(8))


def test_slots_that_could_not_be_read_are_leased_again_or_made_again(farm: FakeFarm) -> None:
    farm.open("a", 8)
    while not farm.leases():
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[0])
    (ticket, *_) = [task for task in farm.tasks if isinstance(task, Composite)]
    farm.tasks.remove(ticket)

    slots = tuple(lease.slot for lease in ticket.leases)
    farm.tell(SlotsUnreadable(worker=ticket.worker, slots=slots))
    assert {lease.slot for lease in farm.leases()} >= set(slots)
    (ring,) = [w.identity for w in farm.scheduler.state.workers.values() if w.role == "inference"]
    farm.kill(ring)
    farm.add_worker("inference", n_blocks=4, batch_size=8)
    farm.run()

    assert farm.jobs["a"].received == list(range(8))


def test_a_ring_that_nobody_can_read_is_replaced(farm: FakeFarm) -> None:
    farm.open("a", 40)
    while not of_kind(farm, KillWorker):
        farm.push("a")
        if farm.leases():
            (ticket, *_) = [task for task in farm.tasks if isinstance(task, Composite)]
            farm.tasks.remove(ticket)
            slots = tuple(lease.slot for lease in ticket.leases)
            farm.tell(SlotsUnreadable(worker=ticket.worker, slots=slots))
        elif farm.tasks:
            farm.finish(farm.tasks[0])

    (kill,) = of_kind(farm, KillWorker)
    farm.kill(kill.worker)
    farm.add_worker("inference", n_blocks=4, batch_size=8)
    farm.run()

    assert kill.worker.startswith(b"inference")
    assert farm.jobs["a"].received == list(range(40))


def test_a_silent_worker_is_killed_once_its_own_deadline_has_passed(farm: FakeFarm) -> None:
    (identity,) = [w.identity for w in farm.scheduler.state.workers.values() if w.role == "audio"]
    farm.tell(WorkerBeat(worker=identity, silent_s=500))
    farm.now = 100
    assert of_kind(farm, KillWorker) == []
    farm.tell(Ticked())
    killed = {command.worker for command in of_kind(farm, KillWorker)}
    assert identity not in killed, "it said that it would take so long"

    farm.now = 501
    farm.tell(Ticked())
    farm.tell(Ticked())

    assert [c.worker for c in of_kind(farm, KillWorker)].count(identity) == 1


def test_cancelling_frees_everything_and_answers(farm: FakeFarm) -> None:
    farm.open("a", 1_000)
    for _ in range(30):
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[-1])

    farm.tell(CancelWanted(client=b"somebody", job_id="a"))
    while farm.tasks:
        farm.finish(farm.tasks[0])

    assert farm.jobs["a"].verdict is not None
    assert farm.jobs["a"].verdict.state == "cancelled"
    state = farm.scheduler.state
    assert not state.rendered
    assert all(not (w.batches or w.blocks or w.leases or w.spans) for w in state.workers.values())


def test_an_id_can_be_used_again_while_the_old_jobs_work_still_comes_back(
    farm: FakeFarm,
) -> None:
    farm.open("a", 500)
    for _ in range(30):
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[-1])
    farm.tell(CancelWanted(client=b"", job_id="a"))

    farm.open("a", 40)
    farm.run()

    assert farm.jobs["a"].received == list(range(40))


def test_cancelling_what_does_not_run_is_answered(farm: FakeFarm) -> None:
    farm.tell(CancelWanted(client=b"c", job_id="nothing"))

    assert [command.code for command in of_kind(farm, Refuse)] == ["UNKNOWN_JOB"]


def test_a_job_waits_for_its_client_and_goes_on(farm: FakeFarm) -> None:
    farm.open("a", 100, credit=10)
    farm.open("b", 100)
    farm.run()
    farm.cut("a")
    farm.run()
    assert len(farm.jobs["a"].received) == 10

    farm.resume("a", 10**6)
    farm.run()

    assert farm.jobs["a"].received == farm.jobs["b"].received == list(range(100))


def test_a_job_whose_client_stays_away_is_cancelled(farm: FakeFarm) -> None:
    farm.open("a", 100)
    farm.cut("a")
    farm.now = 59
    farm.tell(Ticked())
    assert farm.jobs["a"].verdict is None

    farm.now = 61
    farm.tell(Ticked())
    farm.run()

    verdict = farm.jobs["a"].verdict
    assert verdict is not None
    assert (verdict.state, verdict.message) == ("cancelled", "its client is gone")


def test_nothing_is_begun_for_a_client_that_went_away(farm: FakeFarm) -> None:
    farm.open("a", 1_000)
    while len(farm.jobs["a"].received) < 100:
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[0])
    farm.cut("a")
    begun = [c for c in farm.commands if isinstance(c, RunBatch)]

    for _ in range(3):
        farm.tell(Ticked())
    farm.run()

    assert [c for c in farm.commands if isinstance(c, RunBatch)] == begun
    assert len(farm.jobs["a"].results) < 200
    farm.resume("a", 10**6)
    farm.run()
    assert farm.jobs["a"].received == list(range(1_000))


def test_all_that_went_away_cost_no_more_than_one_client(farm: FakeFarm) -> None:
    farm.jpeg_bytes = 1_000_000  # 64 of them are as many as one client may cost
    for k in range(4):
        farm.open(f"{k}", 1_000, credit=0)
        farm.run()
        farm.now += 1
        farm.cut(f"{k}")
    farm.tell(Ticked())

    assert list(farm.scheduler.state.jobs) == ["3"]
    assert sum(job.n_bytes for job in farm.scheduler.state.jobs.values()) <= 64_000_000


def restore(farm: FakeFarm, job_id: str, *, first_frame: int = 0, first_span: int = 0) -> None:
    """A new broker takes over a job whose speech is all here; its client is not back yet."""
    job = farm.jobs[job_id]
    farm.tell(
        JobRestored(
            job_id=job_id,
            avatar="a",
            model="m",
            model_bytes=1,
            priority=0,
            deadline=None,
            first_frame=first_frame,
            first_span=first_span,
            n_samples=job.total_frames * 640,
            n_ready_spans=job.total_spans,
            total_frames=job.total_frames,
        )
    )


def test_many_restored_jobs_are_not_given_up_for_their_bytes(farm: FakeFarm) -> None:
    farm.jpeg_bytes = 1_000_000  # 64 of them are as many as one client may cost
    for k in range(20):
        job = FakeJob(b"", 100, is_eager=True, n_pushed=100 * 640, has_ended=True)
        farm.jobs[f"{k}"], job.is_cut = job, True
        restore(farm, f"{k}")
    farm.run()
    farm.now = 30
    farm.tell(Ticked())
    held = sum(job.n_bytes for job in farm.scheduler.state.jobs.values())
    assert held > 64_000_000

    for k in range(20):
        farm.resume(f"{k}", 10**6)
    farm.run()

    assert all(farm.jobs[f"{k}"].received == list(range(100)) for k in range(20))


def test_a_full_farm_keeps_the_place_of_who_lost_it_by_our_fault() -> None:
    farm = FakeFarm(max_jobs=1)
    farm.jobs["a"] = FakeJob(b"", 100, is_eager=True, n_pushed=100 * 640, has_ended=True)
    farm.jobs["a"].is_cut = True
    restore(farm, "a", first_frame=0)
    farm.now = 30
    farm.open("b", 100)

    assert list(farm.scheduler.state.jobs) == ["a"]
    assert [refusal.code for refusal in of_kind(farm, Refuse)] == ["BUSY"]


def test_frames_that_were_not_taken_are_sent_again_and_not_made_again(farm: FakeFarm) -> None:
    farm.open("a", 1_000, credit=40)
    farm.run()
    job = farm.jobs["a"]
    del job.received[25:]  # the last ones were in a line that broke
    farm.resume("a", 10**6)
    farm.run()

    assert job.received == list(range(1_000))  # KeepResult asserts that none was made twice


def test_frames_that_were_taken_are_gone(farm: FakeFarm) -> None:
    farm.open("a", 100, credit=40)
    farm.run()
    farm.grant("a", 1, says_what_it_has=True)
    del farm.jobs["a"].received[25:]

    farm.resume("a", 40)

    (refusal,) = of_kind(farm, Refuse)
    assert refusal.code == "BAD_MESSAGE"
    assert farm.scheduler.state.jobs["a"].client != farm.jobs["a"].client


def test_a_client_that_takes_nothing_is_sent_no_more_than_may_be_kept(farm: FakeFarm) -> None:
    farm.open("a", 1_000, credit=256)
    farm.jobs["a"].is_eager = False
    for _ in range(3):
        farm.run()
        farm.tell(CreditGranted(client=farm.jobs["a"].client, job_id="a", frames=256, next_frame=0))
    farm.run()

    assert farm.jobs["a"].received == list(range(256))


def test_frames_taken_that_were_never_sent_end_the_job(farm: FakeFarm) -> None:
    farm.open("a", 100, credit=4)
    farm.run()

    farm.tell(CreditGranted(client=farm.jobs["a"].client, job_id="a", frames=1, next_frame=50))

    assert farm.jobs["a"].verdict is not None
    assert farm.jobs["a"].verdict.code == "BAD_MESSAGE"


def test_a_restored_job_begins_where_its_client_had_come(farm: FakeFarm) -> None:
    job = farm.jobs["a"] = FakeJob(b"", 200, is_eager=True, n_pushed=200 * 640, has_ended=True)
    job.received, job.spans, job.is_cut = list(range(120)), {0, 1}, True
    restore(farm, "a", first_frame=110, first_span=2)
    assert min(span.span for span in of_kind(farm, EncodeSpan)) == 2

    farm.resume("a", 10**6)
    farm.run()

    assert job.received == list(range(200))
    assert min(job.results) == 120


def test_a_client_ahead_of_its_journal_gets_nothing_twice(farm: FakeFarm) -> None:
    job = farm.jobs["a"] = FakeJob(b"", 200, is_eager=True, n_pushed=200 * 640, has_ended=True)
    job.received, job.is_cut = list(range(120)), True
    restore(farm, "a", first_frame=100)
    for _ in range(9):
        farm.finish(farm.tasks[0])  # frames from 100 on are being made

    farm.resume("a", 10**6)
    farm.run()

    assert job.received == list(range(200))
    assert min(frame for sent in of_kind(farm, SendFrames) for frame in sent.frames) == 120


def test_a_client_that_costs_too_many_bytes_delays_nobody_else(farm: FakeFarm) -> None:
    farm.jpeg_bytes = 1_000_000  # 64 of them are as many as one client may cost
    for k in range(8):
        farm.open(f"stuck {k}", 5_000, credit=0, client=b"stuck")
    farm.open("other", 300)
    farm.run()

    held = sum(job.n_bytes for job in farm.scheduler.state.jobs.values())
    assert held <= 64_000_000 + 8 * 16 * farm.jpeg_bytes
    assert farm.jobs["other"].received == list(range(300))


def test_the_jobs_of_a_client_that_costs_too_much_all_end(farm: FakeFarm) -> None:
    farm.jpeg_bytes = 5_000_000
    for k in range(8):
        farm.open(f"{k}", 100, credit=0, client=b"one")
    farm.run()

    for k in range(8):
        farm.jobs[f"{k}"].is_eager = True
        farm.grant(f"{k}", 10**6)
        farm.run()

    assert [farm.jobs[f"{k}"].received for k in range(8)] == [list(range(100))] * 8


def test_who_is_refused_hears_how_many_are_ahead_and_when_to_try_again() -> None:
    farm = FakeFarm(max_jobs=2)
    farm.add_all_workers()
    farm.now = 100
    for k in range(3):
        farm.open(f"done {k}", 10)
        farm.now += 4
        farm.run()
    farm.open("a", 10, credit=0)
    farm.open("b", 10, credit=0)

    farm.open("c", 10)

    (refusal,) = of_kind(farm, Refuse)
    assert (refusal.code, refusal.retryable, refusal.position) == ("BUSY", True, 2)
    assert 1 <= refusal.retry_after_s <= 60


def test_a_failed_task_fails_its_job_only(farm: FakeFarm) -> None:
    farm.open("a", 100)
    farm.open("b", 100)
    serial = farm.scheduler.state.jobs["a"].serial

    farm.tell(WorkFailed(worker=b"w", serial=serial, code="BAD_BUNDLE", message="image 3"))
    farm.run()

    verdict = farm.jobs["a"].verdict
    assert verdict is not None
    assert (verdict.state, verdict.code) == ("failed", "BAD_BUNDLE")
    assert farm.jobs["b"].received == list(range(100))


def test_a_job_that_owes_speech_is_given_up(farm: FakeFarm) -> None:
    farm.open("silent", 1_000)
    farm.open("waits for credit", 10_000, credit=0)
    farm.open("has ended", 100, credit=0)
    for _ in range(60):
        farm.push("waits for credit")
        farm.push("has ended")
    farm.now = 31

    farm.tell(Ticked())

    assert farm.jobs["silent"].verdict is not None
    assert farm.jobs["silent"].verdict.code == "SILENT"
    assert set(farm.scheduler.state.jobs) == {"waits for credit", "has ended"}


def test_credit_is_no_more_than_a_reader_that_stops_may_cost(farm: FakeFarm) -> None:
    farm.open("greedy", 1_000, credit=1 << 40)
    farm.grant("greedy", 1 << 40)

    assert farm.scheduler.state.jobs["greedy"].credit == 256


def test_a_client_with_many_jobs_gets_no_more_than_one_with_few(farm: FakeFarm) -> None:
    for k in range(6):
        farm.open(f"many {k}", 400, client=b"many")
    farm.open("one", 400)
    for _ in range(40):
        for name in farm.jobs:
            farm.push(name)

    while len(farm.jobs["one"].received) < 200:
        farm.finish(farm.tasks[0])

    others = sum(len(farm.jobs[f"many {k}"].received) for k in range(6))
    assert others <= 200 + 3 * 64


def test_few_slots_are_shared_by_an_idle_pool() -> None:
    farm = FakeFarm()
    farm.add_all_workers(n_compositors=8)
    farm.open("a", 8)
    while not farm.leases():
        farm.push("a")
        if farm.tasks:
            farm.finish(farm.tasks[0])

    assert [len(t.leases) for t in farm.tasks if isinstance(t, Composite)] == [1] * 8


def test_a_window_always_holds_three_batches() -> None:
    farm = FakeFarm(window_frames=8)
    farm.add_all_workers(batch_size=32)
    farm.open("a", 500)
    for _ in range(30):
        farm.push("a")
    while spans := [task for task in farm.tasks if isinstance(task, EncodeSpan)]:
        farm.finish(spans[0])

    assert len([task for task in farm.tasks if isinstance(task, RunBatch)]) == 2


def test_a_deadline_that_passes_fails_the_job(farm: FakeFarm) -> None:
    farm.open("a", 100, deadline=10.0)
    farm.now = 10.1

    farm.tell(Ticked())

    assert farm.jobs["a"].verdict is not None
    assert farm.jobs["a"].verdict.code == "DEADLINE"


def test_the_same_id_twice_is_a_conflict(farm: FakeFarm) -> None:
    farm.open("a", 100)

    farm.tell(opened(b"other", "a"))

    assert [command.code for command in of_kind(farm, Refuse)] == ["CONFLICT"]


def test_too_many_jobs_are_refused_and_may_be_tried_again() -> None:
    farm = FakeFarm(max_jobs=2, max_jobs_per_client=1)
    farm.open("a", 10)
    farm.tell(opened(farm.jobs["a"].client, "a2"))
    farm.open("b", 10)
    farm.open("c", 10)

    assert [(c.job_id, c.code, c.retryable) for c in of_kind(farm, Refuse)] == [
        ("a2", "BUSY", True),
        ("c", "BUSY", True),
    ]


def test_jobs_ahead_are_told_to_who_comes_later(farm: FakeFarm) -> None:
    farm.open("a", 10)
    farm.open("b", 10)

    assert [command.position for command in of_kind(farm, AcceptJob)] == [0, 1]


def test_draining_finishes_what_runs_and_refuses_what_comes(farm: FakeFarm) -> None:
    farm.open("a", 100)
    farm.tell(DrainWanted())
    farm.open("b", 100)
    assert of_kind(farm, Drained) == []
    del farm.jobs["b"]

    farm.run()

    assert farm.jobs["a"].received == list(range(100))
    assert [command.code for command in of_kind(farm, Refuse)] == ["DRAINING"]
    assert of_kind(farm, Drained) != []


def test_an_idle_farm_drains_at_once(farm: FakeFarm) -> None:
    assert Drained() in farm.tell(DrainWanted())


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("event", ["end", "finish", "fail", "cancel", "dance"])
def test_a_job_makes_only_the_moves_of_its_table(state: JobState, event: str) -> None:
    job = some_job()
    job.state = state

    if (state, event) in JOB_MOVES:
        job.move(event)
        assert job.state is JOB_MOVES[state, event]
    else:
        with pytest.raises(IllegalTransition, match=event):
            job.move(event)
        assert job.state is state


@pytest.mark.parametrize("state", list(FrameState))
@pytest.mark.parametrize("event", sorted({event for _, event in FRAME_MOVES} | {"dance"}))
def test_a_frame_makes_only_the_moves_of_its_table(state: FrameState, event: str) -> None:
    job = some_job()
    job.frames[7] = state

    if (state, event) in FRAME_MOVES:
        job.move_frame(7, event)
        assert job.frames[7] is FRAME_MOVES[state, event]
    else:
        with pytest.raises(IllegalTransition, match="frame 7"):
            job.move_frame(7, event)
        assert job.frames[7] is state


class AnyFarm(RuleBasedStateMachine):
    """Clients, workers and deaths in any order: nothing is lost, doubled or reordered.

    `PoisonousFarm` asserts at each death that no job fails of it without cause.
    """

    @initialize(
        n_compositors=st.integers(1, 3),
        batch_size=st.sampled_from([1, 3, 8]),
        max_loaded=st.integers(0, 2),
    )
    def start(self, n_compositors: int, batch_size: int, max_loaded: int) -> None:
        self.batch_size = batch_size
        self.farm = PoisonousFarm(capacity=Capacity(max_loaded=max_loaded), max_jobs=5)
        self.farm.add_all_workers(n_compositors, batch_size)
        self.n_opened = 0

    def jobs_alive(self) -> list[str]:
        return sorted(name for name, job in self.farm.jobs.items() if job.verdict is None)

    @rule(
        total_frames=st.integers(1, 150),
        credit=st.sampled_from([0, 3, 10**6]),
        model=st.sampled_from("mmn"),
    )
    def open(self, total_frames: int, credit: int, model: str) -> None:
        if len(self.farm.scheduler.state.jobs) < 5:
            self.n_opened += 1
            name = f"job {self.n_opened}"
            self.farm.open(name, total_frames, credit, model=model)
            if name not in self.farm.scheduler.state.jobs:
                refusal = self.farm.commands[-1]
                assert isinstance(refusal, Refuse)
                assert "kills workers" in refusal.message
                del self.farm.jobs[name]

    @rule(seconds=st.sampled_from([0.01, 1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.farm.now += seconds
        self.farm.tell(Ticked())

    @precondition(lambda self: self.jobs_alive())
    @rule(data=st.data(), seconds=st.integers(1, 8))
    def push(self, data: st.DataObject, seconds: int) -> None:
        name = data.draw(st.sampled_from(self.jobs_alive()))
        for _ in range(seconds):
            self.farm.push(name)

    @precondition(lambda self: self.jobs_alive())
    @rule(data=st.data(), frames=st.integers(1, 40), says=st.booleans())
    def grant(self, data: st.DataObject, frames: int, says: bool) -> None:
        name = data.draw(st.sampled_from(self.jobs_alive()))
        self.farm.grant(name, frames, says_what_it_has=says)

    @precondition(lambda self: self.farm.tasks)
    @rule(data=st.data(), n=st.integers(1, 6))
    def finish(self, data: st.DataObject, n: int) -> None:
        for _ in range(min(n, len(self.farm.tasks))):
            self.farm.finish(data.draw(st.sampled_from(self.farm.tasks)))

    @rule(data=st.data())
    def kill_and_replace(self, data: st.DataObject) -> None:
        workers = self.farm.scheduler.state.workers
        identity = data.draw(st.sampled_from(sorted(workers)))
        self.farm.kill_and_replace(identity)

    @precondition(lambda self: self.jobs_alive())
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        self.farm.cut(data.draw(st.sampled_from(self.jobs_alive())))

    @precondition(lambda self: self.jobs_alive())
    @rule(data=st.data(), credit=st.sampled_from([0, 5, 10**6]), n_lost=st.integers(0, 9))
    def resume(self, data: st.DataObject, credit: int, n_lost: int) -> None:
        """On a new line, which the last frames that were sent on the old one did not reach."""
        name = data.draw(st.sampled_from(self.jobs_alive()))
        received = self.farm.jobs[name].received
        taken = self.farm.scheduler.state.jobs[name].n_taken
        del received[max(taken, len(received) - n_lost) :]
        self.farm.resume(name, credit)

    @precondition(lambda self: self.jobs_alive())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.jobs_alive()))
        self.farm.tell(CancelWanted(client=b"", job_id=name))

    def teardown(self) -> None:
        if not hasattr(self, "farm"):
            return
        for name in self.jobs_alive():
            self.farm.resume(name, 10**6)
        self.farm.run()
        for job in self.farm.jobs.values():
            assert job.verdict is not None, "a job was forgotten"
            assert job.received == list(range(len(job.received))), "lost, doubled or reordered"
            if job.verdict.state == "done":
                assert len(job.received) == job.total_frames
        self.replay()

    def replay(self) -> None:
        again = Scheduler(self.farm.limits, self.farm.capacity)
        commands = [c for event, now in self.farm.log for c in again.handle(event, now)]
        assert commands == self.farm.commands, "the log does not replay"


AnyFarm.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAnyFarm = AnyFarm.TestCase


def test_frames_are_finished_in_the_order_given(farm: FakeFarm) -> None:
    farm.open("a", 30)
    farm.run()

    sent = [command.frames for command in of_kind(farm, SendFrames)]
    assert [frame for frames in sent for frame in frames] == list(range(30))
    assert len(of_kind(farm, FinishJob)) == 1
    assert len(of_kind(farm, GrantAudio)) >= 1
