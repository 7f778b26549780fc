"""How long each stage of the work took."""

import time
from collections.abc import Mapping


class StageTimes:
    """Seconds spent per named stage, in order of first use."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, seconds: Mapping[str, float]) -> None:
        """More time of each stage."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def stage(self, name: str) -> "Stage":
        """Add the time spent inside to ``name``."""
        return Stage(self.seconds, name)


class Stage:
    """A context manager; as a class it costs a third of what a generator does."""

    __slots__ = ("_begin", "_name", "_seconds")

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        spent = time.perf_counter() - self._begin
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + spent
