"""Which models are loaded where: everything that can be decided is decided.

Runs after every event, on the state alone, before work is handed out.

A model is wanted while a job or an operator waits for it.  Every audio worker gets the encoder of a
wanted model; its U-Net is placed on a device, and with assignment "spread" on further ones that
would stand idle.  Where there is no room, models that nobody uses make some; one that is in use
does when it has stayed for a while and the other's turn is earlier.  None is taken from a batch.
"""

from collections.abc import Callable, Iterable

from farm.commands import AnswerModel, LoadModel, UnloadModel
from farm.hands import Worker
from farm.places import Model, Place, PlaceState
from farm.state import FarmState
from farm.turns import Key

MIN_STAY_S = 10.0  #: in memory, before a model in use makes room for another's turn


def assign_places(state: FarmState) -> None:
    """Load what is wanted, unload what must go."""
    wanted = wanted_models(state)
    for model in wanted:
        for worker in _of_role(state, "audio"):
            if model.model not in worker.places and model.model not in worker.refused:
                _load(state, model, worker)
        device = _next_device(state, model)
        if device is not None and _has_room(state, model, device):
            _load(state, model, device)
    _dismiss_encoders(state, {model.model for model in wanted})
    for worker in state.workers.values():
        for place in list(worker.places.values()):
            if place.state is PlaceState.LEAVING and not worker.uses(place.model):
                place.move("unload", state.now)
                state.commands.append(UnloadModel(worker.identity, place.model))


def wanted_models(state: FarmState) -> list[Model]:
    """Those of jobs, in the order of their turns, and those that were asked for."""
    books = state.books
    of_jobs = sorted(books.n_wanting, key=lambda name: _first_turn(state, name))
    asked = (name for name, model in state.models.items() if model.asked_by)
    return [state.models[name] for name in dict.fromkeys([*of_jobs, *asked])]


def _first_turn(state: FarmState, model: str) -> tuple[bool, Key | tuple[()]]:
    """Of its jobs that have something to do; models without one come last."""
    queues = (state.books.frames[model], state.books.spans[model])
    keys = [key for queue in queues if (key := queue.first_key()) is not None]
    return not keys, min(keys, default=())


def _of_role(state: FarmState, role: str) -> list[Worker]:
    return [worker for worker in state.workers.values() if worker.role == role]


# Where a model goes.


def _next_device(state: FarmState, model: Model) -> Worker | None:
    """The inference worker that is to load it now; None: nobody."""
    capacity, name = state.capacity, model.model
    allowed = [w for w in _of_role(state, "inference") if capacity.allows(name, w.device)]
    free = [w for w in allowed if name not in w.places and name not in w.refused]
    if not any(w.is_open_for(name) for w in allowed):
        if capacity.assignment == "round-robin" and free:
            return free[state.n_placed % len(free)]
        return min(free, key=_load_of, default=None)
    if capacity.assignment == "spread" and _outgrows(state, name, allowed):
        idle = (w for w in free if w.is_idle and not w.is_loading)
        return min(idle, key=_load_of, default=None)
    return None


def _load_of(worker: Worker) -> tuple[int, int, int]:
    n_frames = sum(len(run.frames) for runs in worker.batches.values() for run in runs)
    return n_frames, sum(place.n_bytes for place in worker.places.values()), len(worker.places)


def _outgrows(state: FarmState, model: str, allowed: Iterable[Worker]) -> bool:
    """Whether more frames wait than its devices take."""
    own = [worker.places[model] for worker in allowed if worker.is_open_for(model)]
    if any(place.state is not PlaceState.READY for place in own):
        return False
    hands = (worker.can_take_batch for worker in allowed if worker.is_open_for(model))
    return not any(hands) and len(state.books.frames[model]) > 0


def _load(state: FarmState, model: Model, worker: Worker) -> None:
    place = worker.places[model.model] = Place(model.model)
    place.move("load", state.now)
    if worker.role == "inference":
        place.n_bytes = model.room_bytes
        state.n_placed += 1
        model.last_used = state.now
    state.commands.append(LoadModel(worker.identity, model.model))


# Room.


def budget_bytes(state: FarmState, worker: Worker) -> int:
    """What the models of a device may take; 0: no limit is known."""
    known = [n for n in (state.capacity.memory_bytes, worker.device_bytes * 9 // 10) if n]
    return min(known, default=0)


def _has_room(state: FarmState, model: Model, worker: Worker) -> bool:
    """Whether it can be loaded now; else somebody was told to make room, if anybody can."""
    if _fits(state, worker, model.room_bytes, 1):
        return True
    if any(p.state in (PlaceState.LEAVING, PlaceState.UNLOADING) for p in worker.places.values()):
        return False  # room is being made
    victim = _victim(state, worker, model)
    if victim is not None:
        victim.move("leave", state.now)
    elif all(is_pinned(state, name) for name in worker.places):
        fail_model(state, model.model, _no_room(state, worker, model))
    return False


def _no_room(state: FarmState, worker: Worker, model: Model) -> str:
    limit = budget_bytes(state, worker)
    if limit and model.room_bytes > limit:
        return f"it takes {model.room_bytes >> 20} MB, all models may take {limit >> 20} MB"
    return f"there is no room for it on {worker.device}: {len(worker.places)} are pinned there"


def keep_within(state: FarmState, worker: Worker) -> None:
    """Models may take more than was thought: over the limit, one that nobody uses goes."""
    if not _fits(state, worker, 0, 0) and (victim := _victim(state, worker, None)) is not None:
        victim.move("leave", state.now)


def _fits(state: FarmState, worker: Worker, more_bytes: int, more: int) -> bool:
    places, limit = worker.places.values(), budget_bytes(state, worker)
    is_room = not limit or sum(place.n_bytes for place in places) + more_bytes <= limit
    max_loaded = state.capacity.max_loaded
    return is_room and (not max_loaded or len(places) + more <= max_loaded)


def _victim(state: FarmState, worker: Worker, wanted: Model | None) -> Place | None:
    """Whom to unload: one that nobody uses, else one whose turn is later and that has stayed."""
    ready = [place for place in worker.places.values() if place.state is PlaceState.READY]
    movable = [place for place in ready if not is_pinned(state, place.model)]
    in_use = {model.model: turn for turn, model in enumerate(wanted_models(state))}
    idle = [p for p in movable if p.model not in in_use and not worker.uses(p.model)]
    if idle:
        return min(idle, key=_least_needed(state))
    if wanted is None:
        return None
    turn = in_use.get(wanted.model, len(in_use))
    later = [p for p in movable if in_use.get(p.model, turn + 1) > turn]
    stayed = [p for p in later if state.now - p.since >= MIN_STAY_S]
    return max(stayed, key=lambda p: in_use.get(p.model, turn + 1), default=None)


def _least_needed(state: FarmState) -> Callable[[Place], tuple[float, float]]:
    def key(place: Place) -> tuple[float, float]:
        model = state.models[place.model]
        if state.capacity.eviction == "lfu":
            return model.n_frames, model.last_used
        return model.last_used, model.n_frames

    return key


def is_pinned(state: FarmState, model: str) -> bool:
    return model in state.capacity.pinned or state.models[model].is_pinned


def _dismiss_encoders(state: FarmState, wanted: set[str]) -> None:
    """An encoder goes when its U-Net is nowhere any more, and nobody waits for it."""
    placed = {name for worker in _of_role(state, "inference") for name in worker.places}
    if not _of_role(state, "inference"):
        return  # all of them died: what they had is loaded again
    for worker in _of_role(state, "audio"):
        for place in worker.places.values():
            is_needed = place.model in placed or place.model in wanted
            if place.state is PlaceState.READY and not is_needed:
                place.move("leave", state.now)


def fail_model(state: FarmState, name: str, message: str) -> None:
    """Nobody can have it: its jobs end, and who asked for it is told."""
    for job in [job for job in state.jobs.values() if job.model == name]:
        state.end(job, "fail", "MODEL_FAILED", message)
    answer_askers(state, state.models[name], "MODEL_FAILED", message)


def answer_askers(state: FarmState, model: Model, code: str = "", message: str = "") -> None:
    """Empty ``code`` : it is in memory."""
    for client in sorted(model.asked_by):
        state.commands.append(
            AnswerModel(client=client, model=model.model, code=code, message=message)
        )
    model.asked_by.clear()
