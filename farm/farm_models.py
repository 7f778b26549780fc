"""The models of a farm, as its client asks about them and for them."""

from typing import Any, Protocol

from farm import protocol


class Line(Protocol):
    """What is needed of a client."""

    def ask(self, question: object, answer: type, timeout_s: float) -> Any: ...


class FarmModels:
    """``client.models``.  All raise NoAnswer, and ModelRefused where the farm says no."""

    def __init__(self, client: Line) -> None:
        self._client = client

    def ids(self, timeout_s: float = 5.0) -> list[str]:
        """The models that the farm offers, the default one first."""
        answer: protocol.ModelList = self._client.ask(
            protocol.ListModels(), protocol.ModelList, timeout_s
        )
        return answer.models

    def status(self, model: str = "", timeout_s: float = 5.0) -> protocol.ModelReport:
        """Where a model is and what it has done; of the default one if none is named."""
        report: protocol.ModelReport = self._client.ask(
            protocol.ModelStatus(model=model), protocol.ModelReport, timeout_s
        )
        return report

    def load(self, model: str, *, pin: bool = False, timeout_s: float = 300.0) -> None:
        """Have it in memory before a job needs it; with ``pin`` it stays until it is unloaded."""
        self._client.ask(protocol.LoadModel(model=model, pin=pin), protocol.ModelAnswer, timeout_s)

    def unload(self, model: str, timeout_s: float = 5.0) -> None:
        """Have its memory back; refused while a job uses it."""
        self._client.ask(protocol.UnloadModel(model=model), protocol.ModelAnswer, timeout_s)
