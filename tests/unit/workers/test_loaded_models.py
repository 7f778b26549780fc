"""Models come and go in a worker while it works."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workers.errors import DeviceLost, ModelError
from workers.loaded_models import LoadedModels
from workers.protocol import LoadModel, ModelLoaded, ModelNotLoaded, ModelUnloaded, UnloadModel


@dataclass
class Net:
    name: str
    provider: str = "CPUExecutionProvider"


class Machine:
    """Loads nets, which take memory, from directories that exist in its mind alone."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.in_use = 1000
        self.may_load = threading.Event()
        self.may_load.set()

    def send(self, message: object) -> None:
        self.sent.append(message)

    def load(self, directory: Path) -> Net:
        assert self.may_load.wait(60)
        if directory.name == "broken":
            raise ModelError(f"{directory}: no model")
        if directory.name == "deadly":
            raise DeviceLost("the GPU failed")
        self.in_use += 100 * len(directory.name)
        return Net(directory.name)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def models(machine: Machine) -> Iterator[LoadedModels[Net]]:
    models: LoadedModels[Net] = LoadedModels(machine, machine.load, lambda: machine.in_use)  # type: ignore[arg-type]
    yield models
    models.close()


def load(model: str) -> LoadModel:
    return LoadModel(model=model, directory=f"/models/{model}")


def test_a_model_is_loaded_and_what_it_takes_is_measured(
    machine: Machine, models: LoadedModels[Net]
) -> None:
    models.handle(load("abc"))
    models.finish()

    (said,) = machine.sent
    assert isinstance(said, ModelLoaded)
    assert (said.model, said.memory_bytes, said.provider) == ("abc", 300, "CPUExecutionProvider")
    assert models["abc"].name == "abc"
    assert (models.sizes, models.provider) == ({"abc": 300}, "CPUExecutionProvider")


def test_one_is_loaded_while_another_is_used(machine: Machine, models: LoadedModels[Net]) -> None:
    models.preload({"a": Path("/models/a")})
    machine.may_load.clear()

    models.handle(load("bb"))
    models.collect()
    machine.in_use += 7  # while "bb" is loaded, nobody can say whose that is

    assert machine.sent == []
    assert (models["a"].name, models.charge("a")) == ("a", 100)
    machine.may_load.set()
    models.finish()
    assert models.sizes == {"a": 100, "bb": 200}


def test_what_a_run_takes_is_its_models(machine: Machine, models: LoadedModels[Net]) -> None:
    models.preload({"a": Path("/models/a"), "bb": Path("/models/bb")})

    machine.in_use += 50
    assert models.charge("bb") == 250
    machine.in_use += 5
    assert models.charge("a") == 105
    assert models.sizes == {"a": 105, "bb": 250}


def test_a_model_that_cannot_be_loaded_says_why_and_is_not_there(
    machine: Machine, models: LoadedModels[Net]
) -> None:
    models.handle(load("broken"))
    models.handle(load("c"))
    models.finish()

    refused, loaded = machine.sent
    assert isinstance(refused, ModelNotLoaded)
    assert refused.message == "/models/broken: no model"
    assert loaded.model == "c"
    assert models.sizes == {"c": 100}


def test_a_model_that_is_unloaded_is_freed_before_that_is_said(
    machine: Machine, models: LoadedModels[Net]
) -> None:
    models.preload({"a": Path("/models/a")})
    machine.sent.clear()

    models.handle(UnloadModel(model="a"))
    with pytest.raises(KeyError):
        models["a"]
    models.finish()

    assert machine.sent == [ModelUnloaded(model="a")]
    assert models.sizes == {}


def test_what_nobody_has_is_unloaded_all_the_same(
    machine: Machine, models: LoadedModels[Net]
) -> None:
    models.handle(UnloadModel(model="z"))
    models.finish()

    assert machine.sent == [ModelUnloaded(model="z")]


def test_a_model_that_takes_the_device_with_it_ends_the_process(
    models: LoadedModels[Net],
) -> None:
    models.handle(load("deadly"))

    with pytest.raises(DeviceLost):
        models.finish()
