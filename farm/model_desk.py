"""The farm's models, as clients ask about them and workers are told of them."""

import time
from collections import Counter, deque

from farm import commands as todo
from farm import events as happened
from farm import protocol
from farm.errors import UnknownModel
from farm.model_catalog import FoundModel, ModelCatalog
from farm.model_stats import ModelStats
from farm.outbox import Outbox
from farm.placing import is_pinned
from farm.state import FarmState


class ModelDesk:
    """Knows where models' files are, and counts what they do; decides nothing."""

    def __init__(
        self,
        catalog: ModelCatalog,
        *,
        outbox: Outbox,
        state: FarmState,
        events: deque[happened.Event],
    ) -> None:
        """``state`` is only read; ``events`` is where what happened goes."""
        self._catalog = catalog
        self._outbox = outbox
        self._state = state
        self._events = events
        self.stats = ModelStats()

    def find(self, model: str) -> FoundModel:
        """Raises UnknownModel; an empty id is the default model's."""
        return self._catalog.find(model)

    def without_paths(self, model: str, message: str) -> str:
        """Where the farm keeps its files is not the clients' business."""
        try:
            directory = str(self._catalog.find(model).directory)
        except UnknownModel:
            return f"{model} is gone"
        return message.replace(f"{directory}/", "").replace(directory, model)

    # What clients ask.

    def answer(
        self,
        client: bytes,
        message: protocol.ListModels
        | protocol.ModelStatus
        | protocol.LoadModel
        | protocol.UnloadModel,
    ) -> None:
        if isinstance(message, protocol.ListModels):
            default = self._catalog.default
            ids = list(dict.fromkeys([*self._catalog.ids(), *self._state.models]))
            shown = ids[: protocol.MAX_MODELS_SHOWN]
            self._outbox.tell(client, protocol.ModelList(models=shown, default=default))
            return
        try:
            found = self._catalog.find(message.model)
        except UnknownModel as error:
            self._tell(client, message.model, "UNKNOWN_MODEL", str(error))
            return
        match message:
            case protocol.ModelStatus():
                self._outbox.tell(client, self._report(found))
            case protocol.LoadModel():
                self._events.append(
                    happened.ModelWanted(
                        client=client,
                        model=found.model,
                        file_bytes=found.file_bytes,
                        is_pinned=message.pin,
                    )
                )
            case protocol.UnloadModel():
                self._events.append(happened.ModelUnwanted(client=client, model=found.model))

    def _report(self, found: FoundModel) -> protocol.ModelReport:
        state, name = self._state, found.model
        model = state.models.get(name)
        places = [
            (worker.device, worker.places[name])
            for worker in state.workers.values()
            if worker.role == "inference" and name in worker.places
        ]
        states: Counter[str] = Counter(place.state.value for _, place in places)
        memory: Counter[str] = Counter()
        for device, place in places:
            memory[device] += place.n_bytes
        has_worked = model is not None and model.last_used > 0
        return protocol.ModelReport(
            model=name,
            is_default=name == self._catalog.default,
            is_pinned=model is not None and is_pinned(state, name),
            file_bytes=found.file_bytes,
            places=dict(states),
            memory_bytes=dict(memory),
            jobs=sum(job.model == name for job in state.jobs.values()),
            unused_s=time.monotonic() - model.last_used if model and has_worked else None,
            **self.stats.summary(name),  # type: ignore[arg-type]
        )

    # What the scheduler wants.

    def carry_out(self, command: todo.Command) -> bool:
        """False when it is nobody's business here."""
        match command:
            case todo.AnswerModel():
                self._tell(command.client, command.model, command.code, command.message)
                return True
            case todo.AcceptJob():
                self.stats.count_request(command.model)
        return False

    def _tell(self, client: bytes, model: str, code: str, message: str) -> None:
        shown = model[: protocol.MAX_ID_CHARS]
        self._outbox.tell(client, protocol.ModelAnswer(model=shown, code=code, message=message))

    def directory_for(self, command: todo.LoadModel) -> str | None:
        """Of the model that is to be loaded; None, and it failed, when it is gone."""
        try:
            return str(self._catalog.find(command.model).directory)
        except UnknownModel as error:
            failed = happened.ModelNotLoaded(
                worker=command.worker, model=command.model, message=str(error)
            )
            self._events.append(failed)
            return None
