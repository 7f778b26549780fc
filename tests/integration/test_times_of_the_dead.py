"""What the steps of compositing took, in farms whose processes die."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.client import Client, JobSpec, NoAnswer
from tests.farm_process import FAST, RunningFarm, running_farm, wait_until
from workers.arrays import F32

pytestmark = pytest.mark.beside_a_farm

STEPS = {"resize", "blend", "encode", "splice"}
N_FRAMES = 25
CONFIG = FAST + "heartbeat_s = 0.2\n[compositors]\ncount = 2\nlog_compositing_times = true\n"


@pytest.fixture
def farm(data: Path) -> Iterator[RunningFarm]:
    with running_farm(data, config=CONFIG) as farm:
        yield farm


def render(client: Client, speech: F32) -> None:
    frames = list(client.submit(JobSpec(audio=speech[: 640 * N_FRAMES], avatar="anna")))
    assert len(frames) == N_FRAMES


def counted(client: Client) -> dict[str, float]:
    """Frames of each step; none while no broker answers."""
    try:
        steps = client.farm_status(timeout_s=1.0).steps
    except NoAnswer:
        return {}
    return {name: step["frames"] for name, step in steps.items()}


def all_count(n_frames: int) -> dict[str, int]:
    return dict.fromkeys(STEPS, n_frames)


def test_each_frame_is_counted_once_in_each_step(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        assert counted(client) == {}

        render(client, speech)

        wait_until(lambda: counted(client) == all_count(N_FRAMES))
    assert "farm: compositing times in ms, mean/p90 child=compositor-" in farm.log()


def test_a_dead_compositors_frames_stay_counted(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        render(client, speech)
        wait_until(lambda: counted(client) == all_count(N_FRAMES))
        for compositor in farm.workers("compositor"):
            compositor.kill()

        render(client, speech)

        wait_until(lambda: counted(client) == all_count(2 * N_FRAMES))


def test_a_new_broker_counts_from_its_own_start(farm: RunningFarm, speech: F32) -> None:
    with farm.client() as client:
        render(client, speech)
        wait_until(lambda: counted(client) == all_count(N_FRAMES))
        (broker,) = farm.workers("broker")
        broker.kill()
        broker.wait()

        render(client, speech)

        wait_until(lambda: counted(client) == all_count(N_FRAMES))
        assert client.farm_status().frames_sent == N_FRAMES
