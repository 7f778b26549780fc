"""Which models are loaded where, without a process, a socket or a clock."""

from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from farm.commands import (
    AnswerModel,
    KillWorker,
    LoadModel,
    Refuse,
    RunBatch,
    UnloadModel,
)
from farm.errors import IllegalTransition
from farm.events import BatchRendered, ClientGone, ModelUnwanted, ModelWanted, Ticked
from farm.places import PLACE_MOVES, Capacity, Place, PlaceState
from farm.placing import MIN_STAY_S
from tests.unit.farm.fake_farm import FakeFarm

T = TypeVar("T")
MB = 1_000_000


def farm_with(capacity: Capacity | None = None, devices: tuple[str, ...] = ("cpu",)) -> FakeFarm:
    """Model "m" is in memory everywhere, every model takes 100 MB."""
    farm = FakeFarm(capacity, window_frames=64)
    farm.add_worker("audio")
    for device in devices:
        farm.add_worker("inference", n_blocks=4, batch_size=8, device=device)
    farm.add_worker("compositor")
    return farm


def of_kind(farm: FakeFarm, kind: type[T]) -> list[T]:
    return [command for command in farm.commands if isinstance(command, kind)]


def loads(farm: FakeFarm, role: str = "inference") -> list[str]:
    """The models that were loaded, in order."""
    wanted = role.encode()
    return [c.model for c in of_kind(farm, LoadModel) if c.worker.startswith(wanted)]


def unloads(farm: FakeFarm) -> list[str]:
    return [c.model for c in of_kind(farm, UnloadModel) if c.worker.startswith(b"inference")]


def in_memory(farm: FakeFarm) -> list[str]:
    return sorted(
        name
        for worker in farm.scheduler.state.workers.values()
        if worker.role == "inference"
        for name, place in worker.places.items()
        if place.state is PlaceState.READY
    )


def test_a_model_is_loaded_when_a_job_first_needs_it() -> None:
    farm = farm_with()
    farm.open("a", 30, model="n")
    assert loads(farm) == loads(farm, "audio") == ["n"]

    farm.run()

    assert farm.jobs["a"].received == list(range(30))
    assert (loads(farm), in_memory(farm)) == (["n"], ["m", "n"])


def test_others_are_served_while_it_is_loaded() -> None:
    farm = farm_with()
    farm.open("slow", 30, model="n")
    farm.open("fine", 30)
    load = next(task for task in farm.tasks if isinstance(task, LoadModel))
    farm.tasks.remove(load)

    farm.run()
    assert farm.jobs["fine"].received == list(range(30))
    assert farm.jobs["slow"].received == []

    farm.tasks.append(load)
    farm.run()
    assert farm.jobs["slow"].received == list(range(30))


def test_a_batch_is_of_one_model() -> None:
    farm = farm_with()
    for k in range(3):
        farm.open(f"m{k}", 50)
        farm.open(f"n{k}", 50, model="n")

    farm.run()

    batches = of_kind(farm, RunBatch)
    assert {run.model for batch in batches for run in batch.runs} == {"m", "n"}
    assert all({run.model for run in batch.runs} == {batch.model} for batch in batches)
    assert all(len(job.received) == 50 for job in farm.jobs.values())


def test_jobs_of_two_models_share_a_device_in_turn() -> None:
    farm = farm_with()
    for name in "mn":
        farm.open(name, 400, model=name)
    for _ in range(40):
        for name in "mn":
            farm.push(name)
    while min(len(job.received) for job in farm.jobs.values()) < 50:
        farm.finish(farm.tasks[0])

    assert max(len(job.received) for job in farm.jobs.values()) <= 50 + 64


def test_the_model_used_longest_ago_makes_room() -> None:
    farm = farm_with(Capacity(memory_bytes=300 * MB))
    for name in "nom":  # "m" was there first, and is used last
        farm.now += 1
        farm.open(name, 10, model=name)
        farm.run()
    assert unloads(farm) == []

    farm.open("p", 10, model="p")
    farm.run()

    assert (unloads(farm), in_memory(farm)) == (["n"], ["m", "o", "p"])
    assert farm.jobs["p"].received == list(range(10))


def test_the_model_used_least_makes_room() -> None:
    farm = farm_with(Capacity(max_loaded=3, eviction="lfu"))
    for name, n_frames in (("n", 100), ("o", 10), ("m", 50)):
        farm.now += 1
        farm.open(name, n_frames, model=name)
        farm.run()

    farm.open("p", 10, model="p")
    farm.run()

    assert unloads(farm) == ["o"]


def test_room_is_what_was_measured() -> None:
    farm = farm_with(Capacity(memory_bytes=450 * MB))
    farm.model_bytes["n"] = 300 * MB
    farm.open("n", 10, model="n", model_bytes=10 * MB)  # "it takes its files at least"
    farm.run()
    assert in_memory(farm) == ["m", "n"]

    farm.open("o", 10, model="o", model_bytes=60 * MB)
    farm.run()

    assert unloads(farm) == ["m"]
    assert in_memory(farm) == ["n", "o"]


def test_a_model_that_grows_over_the_limit_costs_an_idle_one_its_place() -> None:
    farm = farm_with(Capacity(memory_bytes=250 * MB))
    farm.open("n", 10, model="n")
    farm.run()
    farm.open("m", 10)
    while not (batches := [task for task in farm.tasks if isinstance(task, RunBatch)]):
        farm.push("m")
        for task in farm.tasks[:1]:
            farm.finish(task)

    (batch,) = batches
    farm.tasks.remove(batch)
    slots = tuple(farm._fresh_slot(batch.worker, batch.batch, k) for k in range(8))
    farm.tell(
        BatchRendered(worker=batch.worker, batch=batch.batch, slots=slots, model_bytes=200 * MB)
    )
    assert unloads(farm) == ["n"]
    farm.run()
    assert farm.jobs["m"].received == list(range(10))


def test_a_pinned_model_stays() -> None:
    farm = farm_with(Capacity(max_loaded=2, pinned=frozenset("m")))
    farm.open("n", 10, model="n")
    farm.run()
    farm.open("o", 10, model="o")
    farm.run()

    assert unloads(farm) == ["n"]


def test_where_only_pinned_models_are_nobody_waits_for_ever() -> None:
    farm = farm_with(Capacity(max_loaded=1, pinned=frozenset("m")))

    farm.open("n", 10, model="n")

    verdict = farm.jobs["n"].verdict
    assert verdict is not None
    assert (verdict.code, "no room" in verdict.message) == ("MODEL_FAILED", True)


def test_a_model_that_cannot_fit_is_refused_with_the_figures() -> None:
    farm = farm_with(Capacity(memory_bytes=500 * MB))

    farm.open("n", 10, model="n", model_bytes=600 << 20)
    farm.run()

    verdict = farm.jobs["n"].verdict
    assert verdict is not None
    assert verdict.message == "it takes 600 MB, all models may take 476 MB"
    assert verdict.code == "MODEL_FAILED"


def test_a_gpus_own_memory_is_a_limit() -> None:
    farm = FakeFarm()
    farm.add_worker("audio")
    farm.add_worker("inference", n_blocks=4, batch_size=8, device="cuda:0", device_bytes=250 * MB)
    farm.add_worker("compositor")
    for name in "no":
        farm.now += 1
        farm.open(name, 10, model=name)
        farm.run()

    assert unloads(farm) == ["m"]


def test_a_model_in_use_is_not_taken_away() -> None:
    farm = farm_with(Capacity(max_loaded=1))
    farm.open("m", 1000)
    farm.open("n", 10, model="n")
    for _ in range(20):
        farm.push("m")
        farm.push("n")
        if farm.tasks:
            farm.finish(farm.tasks[0])

    assert (loads(farm), unloads(farm)) == ([], [])


def test_a_model_in_use_gives_way_in_its_turn_once_it_has_stayed() -> None:
    """Two models, room for one, work for both: neither waits for the other's last frame."""
    farm = farm_with(Capacity(max_loaded=1))
    farm.open("m", 3000)
    farm.open("n", 3000, model="n")
    for _ in range(20_000):
        for name in "mn":
            farm.push(name)
        farm.now += 0.05
        if farm.tasks:
            farm.finish(farm.tasks[0])
        else:
            farm.tell(Ticked())
        if min(len(job.received) for job in farm.jobs.values()) > 1500:
            break

    assert min(len(job.received) for job in farm.jobs.values()) > 1500
    n_loads = len(loads(farm))
    assert 2 <= n_loads <= farm.now / MIN_STAY_S + 1, "it is loaded and unloaded all the time"
    farm.run()
    assert all(job.received == list(range(3000)) for job in farm.jobs.values())


def test_an_idle_model_is_unloaded_in_time_and_comes_back() -> None:
    farm = farm_with(Capacity(idle_unload_s=60))
    farm.open("a", 10)
    farm.run()

    farm.now += 59
    farm.tell(Ticked())
    farm.run()
    assert unloads(farm) == []
    farm.now += 2
    farm.tell(Ticked())
    farm.run()
    assert (unloads(farm), in_memory(farm)) == (["m"], [])

    farm.open("b", 10)
    farm.run()
    assert farm.jobs["b"].received == list(range(10))
    assert loads(farm) == loads(farm, "audio") == ["m"], "its encoder went with it"


def test_a_model_that_is_waited_for_is_not_idle() -> None:
    farm = farm_with(Capacity(idle_unload_s=60))
    farm.open("a", 200, credit=0)
    farm.run()

    farm.now += 100
    farm.tell(Ticked())

    assert unloads(farm) == []


def test_a_model_that_cannot_be_loaded_fails_its_jobs_and_is_tried_again_for_the_next() -> None:
    farm = farm_with()
    farm.broken_models.add("n")
    farm.open("a", 10, model="n")
    farm.open("b", 10, model="n")
    farm.open("m", 10)
    farm.run()
    verdicts = [farm.jobs[name].verdict for name in "ab"]
    assert [(v.code, v.message) for v in verdicts if v] == [("MODEL_FAILED", "broken")] * 2
    assert farm.jobs["m"].received == list(range(10))

    farm.broken_models.clear()
    farm.open("c", 10, model="n")
    farm.run()

    assert farm.jobs["c"].received == list(range(10))


def test_a_model_whose_loading_kills_workers_is_not_loaded_for_ever() -> None:
    farm = farm_with()
    farm.open("a", 10, model="n")
    for _ in range(2):
        (load,) = [
            t for t in farm.tasks if isinstance(t, LoadModel) and t.worker.startswith(b"inference")
        ]
        farm.kill(load.worker)
        farm.add_worker("inference", n_blocks=4, batch_size=8, device="cpu")

    verdict = farm.jobs["a"].verdict
    assert verdict is not None
    assert (verdict.code, verdict.message) == ("MODEL_FAILED", "loading it killed 2 workers")

    del farm.jobs["a"]
    farm.open("b", 10, model="n")
    assert [refusal.code for refusal in of_kind(farm, Refuse)] == ["MODEL_FAILED"]
    del farm.jobs["b"]

    want(farm, "n")  # an operator has mended it
    farm.run()
    farm.open("c", 10, model="n")
    farm.run()
    assert farm.jobs["c"].received == list(range(10))


def test_who_hangs_over_a_load_is_killed() -> None:
    farm = farm_with(Capacity(load_s=30))
    farm.open("a", 10, model="n")

    farm.now += 31
    farm.tell(Ticked())

    assert len({kill.worker for kill in of_kind(farm, KillWorker)}) >= 1
    farm.now += 31
    before = len(of_kind(farm, KillWorker))
    farm.tell(Ticked())
    assert len(of_kind(farm, KillWorker)) == before, "once is enough"


def want(farm: FakeFarm, model: str, *, client: bytes = b"operator", pin: bool = False) -> None:
    farm.tell(ModelWanted(client=client, model=model, file_bytes=MB, is_pinned=pin))


def test_who_asks_for_a_model_is_told_when_it_is_there() -> None:
    farm = farm_with()
    want(farm, "n")
    assert of_kind(farm, AnswerModel) == []

    farm.run()
    assert of_kind(farm, AnswerModel) == [AnswerModel(client=b"operator", model="n")]
    want(farm, "n")
    assert len(of_kind(farm, AnswerModel)) == 2
    assert loads(farm) == ["n"]


def test_who_asks_for_a_broken_model_is_told_why() -> None:
    farm = farm_with()
    farm.broken_models.add("n")

    want(farm, "n")
    farm.run()

    (answer,) = of_kind(farm, AnswerModel)
    assert (answer.code, answer.message) == ("MODEL_FAILED", "broken")


def test_who_asked_and_went_away_is_told_nothing() -> None:
    farm = farm_with()
    want(farm, "n", client=b"x")

    farm.tell(ClientGone(b"x"))
    farm.run()

    assert of_kind(farm, AnswerModel) == []


def test_a_model_pinned_by_wish_stays_until_it_is_unloaded_by_name() -> None:
    farm = farm_with(Capacity(max_loaded=2))
    want(farm, "n", pin=True)
    farm.run()
    for name in "op":
        farm.now += 1
        farm.open(name, 10, model=name)
        farm.run()
    assert unloads(farm) == ["m", "o"]

    farm.tell(ModelUnwanted(client=b"operator", model="n"))
    farm.run()

    assert unloads(farm) == ["m", "o", "n"]
    assert of_kind(farm, AnswerModel)[-1].code == ""


def test_a_model_that_jobs_use_is_not_unloaded_by_name() -> None:
    farm = farm_with()
    farm.open("a", 100)

    farm.tell(ModelUnwanted(client=b"operator", model="m"))
    farm.run()

    (answer,) = of_kind(farm, AnswerModel)
    assert (answer.code, answer.message) == ("IN_USE", "a job uses it")
    assert farm.jobs["a"].received == list(range(100))


def test_a_busy_model_spreads_to_an_idle_device() -> None:
    farm = farm_with(devices=("cuda:0", "cuda:1"))
    farm.open("a", 2000, model="n")
    farm.run()

    workers = {batch.worker for batch in of_kind(farm, RunBatch)}
    assert len(workers) == 2
    assert loads(farm) == ["n", "n"]


@pytest.mark.parametrize("assignment", ["round-robin", "least-loaded"])
def test_without_spreading_a_model_has_one_device(assignment: str) -> None:
    farm = farm_with(Capacity(assignment=assignment), devices=("cuda:0", "cuda:1"))
    for name in "nop":
        farm.open(name, 300, model=name)
    farm.run()

    assert loads(farm) == ["n", "o", "p"]
    of_model = {b.model: {x.worker for x in of_kind(farm, RunBatch) if x.model == b.model}
                for b in of_kind(farm, RunBatch)}  # fmt: skip
    assert all(len(workers) == 1 for workers in of_model.values())
    assert len(set.union(*of_model.values())) == 2, "both devices have work"


def test_a_model_runs_only_where_it_may() -> None:
    capacity = Capacity(devices={"n": ("cuda:1",)})
    farm = farm_with(capacity, devices=("cuda:0", "cuda:1"))
    farm.open("a", 1000, model="n")
    farm.run()

    devices = {farm.scheduler.state.workers[b.worker].device for b in of_kind(farm, RunBatch)}
    assert devices == {"cuda:1"}


def test_where_one_device_refuses_a_model_another_is_tried() -> None:
    farm = farm_with(devices=("cuda:0", "cuda:1"))
    farm.open("a", 20, model="n")
    first = next(t for t in farm.tasks if isinstance(t, LoadModel) and b"inference" in t.worker)
    farm.broken_models.add("n")
    farm.finish(first)
    farm.broken_models.clear()

    farm.run()

    assert farm.jobs["a"].received == list(range(20))


def test_a_worker_that_died_takes_its_models_with_it() -> None:
    farm = farm_with()
    farm.open("a", 200, model="n")
    while not any(isinstance(task, RunBatch) for task in farm.tasks):
        farm.push("a")
        farm.finish(farm.tasks[0])
    (worker,) = (w for w in farm.scheduler.state.workers if w.startswith(b"inference"))

    farm.kill(worker)
    farm.add_worker("inference", n_blocks=4, batch_size=8, device="cpu")
    farm.run()

    assert loads(farm) == ["n", "n"]
    assert farm.jobs["a"].received == list(range(200))


@pytest.mark.parametrize("state", list(PlaceState))
@pytest.mark.parametrize("event", sorted({event for _, event in PLACE_MOVES} | {"dance"}))
def test_a_place_makes_only_the_moves_of_its_table(state: PlaceState, event: str) -> None:
    place = Place("m", state, since=1.0)

    if (state, event) in PLACE_MOVES:
        place.move(event, 2.0)
        assert (place.state, place.since) == (PLACE_MOVES[state, event], 2.0)
    else:
        with pytest.raises(IllegalTransition, match="model m"):
            place.move(event, 2.0)
        assert (place.state, place.since) == (state, 1.0)


class ManyModels(RuleBasedStateMachine):
    """Models come, go, break and take workers with them; jobs end whole, or for a reason."""

    @initialize(
        max_loaded=st.integers(0, 2),
        memory_mb=st.sampled_from([0, 250]),
        idle_s=st.sampled_from([0.0, 5.0]),
        assignment=st.sampled_from(["spread", "round-robin", "least-loaded"]),
        n_devices=st.integers(1, 3),
    )
    def start(
        self, max_loaded: int, memory_mb: int, idle_s: float, assignment: str, n_devices: int
    ) -> None:
        capacity = Capacity(
            max_loaded=max_loaded,
            memory_bytes=memory_mb * MB,
            idle_unload_s=idle_s,
            assignment=assignment,
            devices={"o": ("cuda:0",)},
        )
        self.farm = farm_with(capacity, tuple(f"cuda:{k}" for k in range(n_devices)))
        self.n_opened = 0

    @rule(model=st.sampled_from("mnop"), n_frames=st.integers(1, 60))
    def open(self, model: str, n_frames: int) -> None:
        self.n_opened += 1
        name = f"job {self.n_opened}"
        self.farm.open(name, n_frames, model=model)
        if name not in self.farm.scheduler.state.jobs and self.farm.jobs[name].verdict is None:
            assert isinstance(self.farm.commands[-1], Refuse)
            del self.farm.jobs[name]

    @precondition(lambda self: self.farm.tasks)
    @rule(data=st.data(), n=st.integers(1, 8))
    def finish(self, data: st.DataObject, n: int) -> None:
        for name in list(self.farm.jobs):
            self.farm.push(name)
        for _ in range(min(n, len(self.farm.tasks))):
            self.farm.finish(data.draw(st.sampled_from(self.farm.tasks)))

    @rule(seconds=st.sampled_from([0.02, 1.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.farm.now += seconds
        self.farm.tell(Ticked())

    @rule(model=st.sampled_from("mnop"), pin=st.booleans())
    def want(self, model: str, pin: bool) -> None:
        want(self.farm, model, pin=pin)

    @rule(model=st.sampled_from("mnop"))
    def unwant(self, model: str) -> None:
        self.farm.tell(ModelUnwanted(client=b"operator", model=model))

    @rule(model=st.sampled_from("np"))
    def break_or_mend(self, model: str) -> None:
        self.farm.broken_models ^= {model}

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        workers = self.farm.scheduler.state.workers
        identity = data.draw(st.sampled_from(sorted(workers)))
        worker = workers[identity]
        self.farm.kill(identity)
        if worker.role == "inference":
            self.farm.add_worker(worker.role, n_blocks=4, batch_size=8, device=worker.device)
        else:
            self.farm.add_worker(worker.role)

    def teardown(self) -> None:
        if not hasattr(self, "farm"):
            return
        for model in "mnop":
            self.farm.tell(ModelUnwanted(client=b"operator", model=model))
        self.farm.broken_models.clear()
        self.farm.run()
        for job in self.farm.jobs.values():
            assert job.verdict is not None, "a job was forgotten"
            assert job.received == list(range(len(job.received)))
            assert job.verdict.code in ("", "MODEL_FAILED", "POISON", "SILENT")
        asked = {model for state in [self.farm.scheduler.state] for model, record
                 in state.models.items() if record.asked_by}  # fmt: skip
        assert asked == set(), "somebody waits for an answer"


ManyModels.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestManyModels = ManyModels.TestCase
