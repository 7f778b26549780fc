"""Hostile clients beside an honest one: its frames are whole, and the broker stays small.

How much they slow it down is measured by ``scripts/chaos.py --hostile``: a timing is no test.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hostile_clients
import numpy as np
import psutil
import pytest

from farm.client import Client, JobSpec
from farm.paths import TINY_MODEL
from tests.farm_process import RunningFarm, running_farm, wait_until
from tests.leaks import held_beside_a_farm, left_segments
from tests.material import noise_avatar
from workers.arrays import F32
from workers.avatar import Bundle
from workers.model import Model
from workers.sequential import render
from workers.stages import StageTimes

SCRIPT = Path(hostile_clients.__file__)
CONFIG = f"""
[model]
directory = "{TINY_MODEL}"
[inference]
threads = 1
[limits]
detached_s = 5
"""
BROKER_MIB = 64  #: of growth: answers wait for who does not read them, and no frame does
N_OF_A_KIND = {"flooding": 2, "fuzzing": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    noise_avatar(root / "avatars" / "anna")
    return root


@pytest.fixture(scope="module")
def farm(data: Path) -> Iterator[RunningFarm]:
    with running_farm(data, config=CONFIG) as farm:
        yield farm
    assert left_segments() == []


@pytest.fixture(autouse=True)
def nothing_leaks(farm: RunningFarm) -> Iterator[None]:
    before = held_beside_a_farm()
    pids = [process.pid for process in psutil.Process(farm.process.pid).children()]
    yield
    assert held_beside_a_farm() == before, "the test left something behind"
    now = [process.pid for process in psutil.Process(farm.process.pid).children()]
    assert now == pids, "a process of the farm died of it"


@pytest.fixture(scope="module")
def expected(data: Path, speech: F32, model: Model) -> list[bytes]:
    bundle = Bundle(data / "avatars" / "anna")
    return list(render([speech], bundle, model, batch_size=8, times=StageTimes()))


@contextmanager
def hostile(kind: str, farm: RunningFarm) -> Iterator[None]:
    """Clients of a kind, in processes of their own; alive at the end as at the beginning."""
    with ExitStack() as stack:
        processes = []
        for seed in range(N_OF_A_KIND.get(kind, 1)):
            command = [sys.executable, SCRIPT, kind, farm.url, "--avatar", "anna"]
            process = subprocess.Popen([*command, "--seed", str(seed)])
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield
        assert [process.poll() for process in processes] == [None] * len(processes)


@pytest.mark.parametrize("kind", hostile_clients.KINDS)
def test_a_hostile_client_harms_nobody_else(
    farm: RunningFarm,
    speech: F32,
    expected: list[bytes],
    pytestconfig: pytest.Config,
    kind: str,
) -> None:
    (broker,) = farm.workers("broker")
    with farm.client() as client:
        assert run(client, speech) == expected
        before_mib = rss_mib(broker)
        end = time.monotonic() + (60 if pytestconfig.getoption("--all") else 5)

        peaks_mib = []
        with hostile(kind, farm):
            while time.monotonic() < end:
                assert run(client, speech) == expected
                peaks_mib.append(rss_mib(broker))

        assert max(peaks_mib) < before_mib + BROKER_MIB
        wait_until(lambda: client.farm_status().n_jobs == 0, timeout_s=60)


def run(client: Client, speech: F32) -> list[bytes]:
    return list(client.submit(JobSpec(audio=np.array(speech), avatar="anna")))


def rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)
