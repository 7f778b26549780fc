"""The models that a worker has in memory, by id.  One is loaded while others are used.

The broker decides what is loaded where; a model is only taken away when nothing uses it.
"""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from shm.fail_points import fail_point
from workers.errors import ModelError
from workers.memory import MemoryAccount, give_back
from workers.process import WorkerProcess
from workers.protocol import LoadModel, ModelLoaded, ModelNotLoaded, ModelUnloaded, UnloadModel
from workers.task_thread import Ran, TaskThread


class Network(Protocol):
    """The half of a model that a worker uses."""

    @property
    def provider(self) -> str: ...


Net = TypeVar("Net", bound=Network)


@dataclass(frozen=True, slots=True)
class _Load:
    model: str
    directory: str


@dataclass(frozen=True, slots=True)
class _Unload(Generic[Net]):
    model: str
    nets: list[Net] = field(default_factory=list)  #: emptied where freeing it stalls nobody


@dataclass(frozen=True, slots=True)
class _Loaded(Generic[Net]):
    net: Net
    n_bytes: int  #: more in use than before


class LoadedModels(Generic[Net]):
    """What `WorkerProcess.serve` collects from; ``load`` runs on a thread of its own."""

    def __init__(
        self,
        process: WorkerProcess,
        load: Callable[[Path], Net],
        measure: Callable[[], int],
    ) -> None:
        """``load`` : a model's directory to what is used of it, warm; raises ModelError.

        ``measure`` : bytes in use where models are; see `workers.memory`.
        """
        self._process = process
        self._load = load
        self._nets: dict[str, Net] = {}
        self._measure = measure
        self._memory = MemoryAccount(measure)
        self._n_loading = 0
        self._thread: TaskThread[_Load | _Unload[Net], _Loaded[Net] | ModelError | None] = (
            TaskThread(self._do, "models")
        )
        self.fd = self._thread.fd
        self.holds_beats = False

    def __getitem__(self, model: str) -> Net:
        return self._nets[model]

    def preload(self, directories: Mapping[str, Path]) -> None:
        """Before anything is asked of this worker.  Raises ModelError."""
        for model, directory in directories.items():
            loaded = self._loaded(directory)
            self._nets[model] = loaded.net
            self._memory.put(model, loaded.n_bytes)

    @property
    def sizes(self) -> dict[str, int]:
        """All that are loaded, and the bytes that each takes."""
        return {model: self._memory.of(model) for model in self._nets}

    @property
    def provider(self) -> str:
        """Where they run; empty while there is none."""
        return next((net.provider for net in self._nets.values()), "")

    def charge(self, model: str) -> int:
        """A model has run: what memory grew by is its own.  Gives what it takes in all."""
        if self._n_loading == 0:
            self._memory.charge(model)
        return self._memory.of(model)

    def handle(self, task: LoadModel | UnloadModel) -> None:
        now = time.perf_counter()
        match task:
            case LoadModel():
                self._n_loading += 1
                self._thread.put(_Load(task.model, task.directory), now)
            case UnloadModel():
                nets = [net] if (net := self._nets.pop(task.model, None)) is not None else []
                self._thread.put(_Unload(task.model, nets), now)

    def collect(self) -> None:
        """Say what was loaded and unloaded."""
        for ran in self._thread.done():
            self._answer(ran)

    def finish(self) -> None:
        """Wait for what is under way, and say so."""
        for ran in self._thread.wait():
            self._answer(ran)

    def close(self) -> None:
        """Nothing may be asked any more."""
        self._thread.close()
        self._nets.clear()

    def _do(self, task: _Load | _Unload[Net]) -> _Loaded[Net] | ModelError | None:
        """On the thread."""
        if isinstance(task, _Unload):
            task.nets.clear()
            gc.collect()
            give_back()
            return None
        fail_point("model.loading")
        try:
            return self._loaded(Path(task.directory))
        except ModelError as error:
            return error

    def _loaded(self, directory: Path) -> _Loaded[Net]:
        before = self._measure()
        net = self._load(directory)
        return _Loaded(net, self._measure() - before)

    def _answer(self, ran: Ran[_Load | _Unload[Net], _Loaded[Net] | ModelError | None]) -> None:
        task, outcome = ran.task, ran.outcome
        if isinstance(task, _Unload):
            self._memory.drop(task.model)
            self._process.send(ModelUnloaded(model=task.model))
            fail_point("model.unloaded")
            return
        self._n_loading -= 1
        if isinstance(outcome, ModelError):
            self._memory.begin()
            self._process.send(ModelNotLoaded(model=task.model, message=str(outcome)))
            return
        assert outcome is not None
        self._nets[task.model] = outcome.net
        self._memory.put(task.model, outcome.n_bytes)
        self._process.send(
            ModelLoaded(
                model=task.model,
                provider=outcome.net.provider,
                memory_bytes=self._memory.of(task.model),
                load_ms=1e3 * ran.busy_s,
            )
        )
        fail_point("model.loaded")
