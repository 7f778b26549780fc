"""Fixtures, and the rule that no test leaves anything behind."""

import gc
import os
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from farm.avatars import find_avatar
from farm.paths import DEMO_SPEECH, TINY_MODEL, Paths
from tests.leaks import held, held_beside_a_farm, left_segments
from tests.material import noise_avatar, read_speech
from workers.arrays import F32
from workers.avatar import Bundle
from workers.model import Model


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="every fail point, and floods of a minute")
    parser.addoption("--turn", type=int, help="which share of the fail points; default: today's")


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shared-memory names, descriptors and children are after each test what they were before."""
    look = held_beside_a_farm if request.node.get_closest_marker("beside_a_farm") else held
    before = look()
    yield
    if look() != before:
        gc.collect()  # an open bundle's files may hang in a cycle
    assert look() == before, "the test left something behind"


@pytest.fixture(scope="module", autouse=True)
def nothing_of_a_farm_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Checked where a farm outlives tests, once it has ended too: it is set up after this."""
    yield
    if request.node.get_closest_marker("beside_a_farm"):
        assert left_segments() == []


@pytest.fixture(scope="session", autouse=True)
def user_paths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
    """A home of the tests' own, for this process and the commands it starts."""
    root = tmp_path_factory.mktemp("home")
    os.environ["LIPFARM_DATA"] = str(root / "data")
    os.environ["LIPFARM_CACHE"] = str(root / "cache")
    os.environ["XDG_STATE_HOME"] = str(root / "state")
    yield Paths(data=root / "data", cache=root / "cache")
    shutil.rmtree(root)


@pytest.fixture(scope="session", autouse=True)
def zero_copy_is_warm() -> None:
    """pyzmq starts a thread with sockets of its own at the first send without a copy, for good."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as two:
        one.bind("inproc://warm")
        two.connect("inproc://warm")
        two.send(bytes(100_000), copy=False)
        one.recv()


@pytest.fixture(scope="session")
def model() -> Model:
    """The tiny pair."""
    return Model.load(TINY_MODEL)


@pytest.fixture(scope="session")
def speech() -> F32:
    """Five seconds of the bundled speech, float32 at 16 kHz."""
    return read_speech(DEMO_SPEECH)[: 5 * 16_000]


@pytest.fixture(scope="session")
def demo_bundle(user_paths: Paths) -> Bundle:
    """The demo avatar, drawn once a session."""
    return find_avatar("demo", user_paths, on_template=lambda: None)


@pytest.fixture(scope="session")
def edge_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small avatar of an odd frame size whose boxes cross all four edges."""
    return noise_avatar(tmp_path_factory.mktemp("edge") / "edge")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261123)
