"""What happens to models: what operators wish, and what workers say they did.

The moves themselves are a table in ``farm.places``; what follows is decided in ``farm.placing``.
"""

from collections.abc import Iterable, Iterator

from farm.commands import AnswerModel, KillWorker
from farm.events import ModelLoaded, ModelNotLoaded, ModelUnloaded, ModelUnwanted, ModelWanted
from farm.hands import Worker
from farm.places import MAX_LOAD_DEATHS, Model, Place, PlaceState
from farm.placing import answer_askers, fail_model, is_pinned, keep_within, wanted_models
from farm.state import FarmState


def want(state: FarmState, event: ModelWanted) -> None:
    """An operator wants it in memory."""
    model = know(state, event.model, event.file_bytes)
    model.is_deadly, model.n_load_deaths = False, 0  # its files may have been mended
    model.is_pinned = model.is_pinned or event.is_pinned
    model.last_used = state.now
    model.asked_by.add(event.client)
    _answer_if_ready(state, model)


def unwant(state: FarmState, event: ModelUnwanted) -> None:
    """An operator wants it out of memory."""
    model = state.models.get(event.model)
    n_jobs = sum(job.model == event.model for job in state.jobs.values())
    if n_jobs:
        message = f"{n_jobs} jobs use it" if n_jobs > 1 else "a job uses it"
        _answer(state, event.client, event.model, "IN_USE", message)
        return
    if model is not None:
        model.is_pinned = False
        model.asked_by.clear()
    for worker in state.workers.values():
        place = worker.places.get(event.model)
        if place is not None and place.state is PlaceState.READY:
            place.move("leave", state.now)
    _answer(state, event.client, event.model)


def know(state: FarmState, name: str, file_bytes: int) -> Model:
    """The model's record, made when it is first spoken of."""
    model = state.models.setdefault(name, Model(model=name))
    model.file_bytes = file_bytes or model.file_bytes
    return model


def found(state: FarmState, worker: Worker, sizes: Iterable[tuple[str, int]]) -> None:
    """A worker came with models in memory."""
    for name, n_bytes in sizes:
        model = know(state, name, 0)
        place = worker.places[name] = Place(name)
        place.move("found", state.now)
        place.n_bytes = n_bytes
        _measured(worker, model, n_bytes)
        model.last_used = max(model.last_used, state.now)
        _answer_if_ready(state, model)


def loaded(state: FarmState, event: ModelLoaded) -> None:
    worker = state.workers.get(event.worker)
    if worker is None:
        return
    model = know(state, event.model, 0)
    place = worker.places.setdefault(event.model, Place(event.model))
    if place.state is PlaceState.LOADING:
        place.move("loaded", state.now)
    elif place.state is PlaceState.ABSENT:
        place.move("found", state.now)
    place.n_bytes = event.n_bytes
    _measured(worker, model, event.n_bytes)
    model.n_load_deaths = 0
    keep_within(state, worker)
    _answer_if_ready(state, model)


def _measured(worker: Worker, model: Model, n_bytes: int) -> None:
    if worker.role == "inference":
        model.n_bytes = max(n_bytes, 1)


def grew(state: FarmState, worker: Worker, name: str, n_bytes: int) -> None:
    """A model has run: what it takes now.  Over the limit, one that nobody uses goes."""
    place = worker.places.get(name)
    if place is None or not n_bytes:
        return
    place.n_bytes = n_bytes
    _measured(worker, state.models[name], n_bytes)
    keep_within(state, worker)


def not_loaded(state: FarmState, event: ModelNotLoaded) -> None:
    worker = state.workers.get(event.worker)
    place = worker.places.get(event.model) if worker is not None else None
    if worker is None or place is None or place.state is not PlaceState.LOADING:
        return
    place.move("failed", state.now)
    del worker.places[event.model]
    worker.refused.add(event.model)
    others = [w for w in state.workers.values() if w.role == worker.role]
    if any(w.is_open_for(event.model) for w in others):
        return
    untried = (w for w in others if event.model not in w.refused)
    if not any(state.capacity.allows(event.model, w.device) for w in untried):
        for other in others:
            other.refused.discard(event.model)  # the next job may find its files mended
        fail_model(state, event.model, event.message)


def unloaded(state: FarmState, event: ModelUnloaded) -> None:
    worker = state.workers.get(event.worker)
    place = worker.places.get(event.model) if worker is not None else None
    if worker is not None and place is not None and place.state is PlaceState.UNLOADING:
        place.move("unloaded", state.now)
        del worker.places[event.model]


def blame_loads(state: FarmState, dead: Worker) -> None:
    """A worker died; if it was loading a model, that may be why."""
    for place in dead.places.values():
        if place.state is PlaceState.LOADING:
            model = state.models[place.model]
            model.n_load_deaths += 1
            if model.n_load_deaths >= MAX_LOAD_DEATHS:
                model.is_deadly = True
                fail_model(state, model.model, f"loading it killed {MAX_LOAD_DEATHS} workers")


def check_time(state: FarmState, now: float) -> None:
    """Unload what was unused for long; kill who hangs over a load."""
    limit_s = state.capacity.idle_unload_s
    in_use = {model.model for model in wanted_models(state)}
    for worker, place in _places(state):
        is_idle = place.model not in in_use and not is_pinned(state, place.model)
        unused_s = now - max(place.since, state.models[place.model].last_used)
        is_inference = worker.role == "inference"  # encoders follow
        if place.state is PlaceState.READY and is_inference and is_idle and 0 < limit_s < unused_s:
            place.move("leave", state.now)
        if place.state is PlaceState.LOADING and now - place.since > state.capacity.load_s:
            state.commands.append(KillWorker(worker=worker.identity, pid=worker.pid))
            place.since = float("inf")  # its end is told by WorkerGone


def _places(state: FarmState) -> Iterator[tuple[Worker, Place]]:
    return ((w, place) for w in state.workers.values() for place in w.places.values())


def forget_asker(state: FarmState, client: bytes) -> None:
    """Its line is cut: nobody waits for the answer."""
    for model in state.models.values():
        model.asked_by.discard(client)


def _answer_if_ready(state: FarmState, model: Model) -> None:
    """In memory for good: on a device, and with every audio worker."""
    places = [(w, w.places.get(model.model)) for w in state.workers.values()]
    ready = {
        role: [p is not None and p.state is PlaceState.READY for w, p in places if w.role == role]
        for role in ("audio", "inference")
    }
    if all(ready["audio"]) and any(ready["inference"]):
        answer_askers(state, model)


def _answer(state: FarmState, client: bytes, model: str, code: str = "", message: str = "") -> None:
    state.commands.append(AnswerModel(client=client, model=model, code=code, message=message))
