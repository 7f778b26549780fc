"""What workers say, as the broker hears it."""

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from farm.feature_cache import FeatureCache
from farm.model_catalog import ModelCatalog
from farm.model_desk import ModelDesk
from farm.outbox import Outbox
from farm.paths import Paths
from farm.places import Capacity
from farm.state import FarmState, Limits
from farm.worker_desk import WorkerDesk
from workers import protocol, wire
from workers.histogram import StepHistograms
from workers.protocol import Beat, Hello, Reset, Times

EPOCH = 7


class Workers:
    """The other end of the broker's socket."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        models = ModelDesk(
            ModelCatalog(Paths(data=Path("/none"), cache=Path("/none"))),
            outbox=Outbox(self),  # type: ignore[arg-type]
            state=FarmState(Limits(), Capacity()),
            events=deque(),
        )
        self.desk = WorkerDesk(self, EPOCH, models, FeatureCache(1 << 20))  # type: ignore[arg-type]

    def send(self, frames: Sequence[bytes]) -> None:
        self.told.append(wire.decode(frames[1], protocol.FROM_BROKER, protocol.VERSION))

    def say(self, worker: bytes, message: object) -> object:
        return self.desk.take([worker, wire.encode(message, protocol.VERSION)], {})

    def n_frames(self, step: str) -> float:
        return self.desk.steps.summary().get(step, {}).get("frames", 0)


@pytest.fixture
def workers() -> Workers:
    return Workers()


def hello(name: str, epoch: int = 0) -> Hello:
    return Hello(role="compositor", name=name, pid=os.getpid(), epoch=epoch)


def times(n_frames: int) -> Times:
    steps = StepHistograms()
    for _ in range(n_frames):
        steps.add("blend", 1.0)
    return Times(steps=steps.to_lists())


def test_times_of_all_compositors_are_added_up(workers: Workers) -> None:
    workers.say(b"a", hello("compositor-0"))
    workers.say(b"b", hello("compositor-1"))

    events = [workers.say(b"a", times(2)), workers.say(b"b", times(3)), workers.say(b"a", times(4))]

    assert workers.n_frames("blend") == 9
    assert events == [None] * 3, "the scheduler need not know"


def test_times_of_a_dead_compositor_stay(workers: Workers) -> None:
    workers.say(b"a", hello("compositor-0"))
    workers.say(b"a", times(2))

    workers.desk.forget(b"a")
    workers.say(b"a", times(100))  # its last words, of nobody

    assert workers.n_frames("blend") == 2


def test_times_for_the_broker_before_are_not_heard(workers: Workers) -> None:
    workers.say(b"a", times(100))
    workers.say(b"a", hello("compositor-0", epoch=EPOCH))
    workers.say(b"a", times(2))

    assert workers.told == [Reset(epoch=EPOCH)]
    assert workers.n_frames("blend") == 2


def test_counts_that_are_no_histogram_are_no_message(workers: Workers) -> None:
    workers.say(b"a", hello("compositor-0"))

    with pytest.raises(wire.WireError, match="a histogram is"):
        workers.say(b"a", Times(steps={"blend": [1, 2]}))

    assert workers.n_frames("blend") == 0
    assert workers.say(b"a", Beat(phase="idle", silent_s=1.0)) is not None, "it is heard further"
