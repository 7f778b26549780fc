"""Hostile clients beside an honest one: its frames are whole, and the broker stays small.

How much they slow it down is measured by ``scripts/measure_hostile.py``: a timing is no test.
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
from tests.farm_process import TINY, RunningFarm, running_farm, wait_until
from tests.material import Wanted, wanted
from workers.arrays import F32
from workers.model import Model

pytestmark = pytest.mark.beside_a_farm

SCRIPT = Path(hostile_clients.__file__)
CONFIG = TINY + "[limits]\ndetached_s = 5\n"
BROKER_MIB = 64  #: of growth: answers wait for who does not read them, and no frame does
N_OF_A_KIND = {"flooding": 2, "fuzzing": 2}


@pytest.fixture(scope="module")
def farm(data: Path) -> Iterator[RunningFarm]:
    with running_farm(data, config=CONFIG) as farm:
        yield farm


@pytest.fixture(autouse=True)
def nobody_dies(farm: RunningFarm) -> Iterator[None]:
    pids = [process.pid for process in psutil.Process(farm.process.pid).children()]
    yield
    now = [process.pid for process in psutil.Process(farm.process.pid).children()]
    assert now == pids, "a process of the farm died of it"


@pytest.fixture(scope="module")
def honest(data: Path, speech: F32, model: Model) -> Wanted:
    return wanted(data, "anna", speech, model)


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
    farm: RunningFarm, honest: Wanted, pytestconfig: pytest.Config, kind: str
) -> None:
    (broker,) = farm.workers("broker")
    with farm.client() as client:
        assert run(client, honest) == honest.frames
        before_mib = rss_mib(broker)
        end = time.monotonic() + (60 if pytestconfig.getoption("--all") else 5)

        peaks_mib = []
        with hostile(kind, farm):
            while time.monotonic() < end:
                assert run(client, honest) == honest.frames
                peaks_mib.append(rss_mib(broker))

        assert max(peaks_mib) < before_mib + BROKER_MIB
        wait_until(lambda: client.farm_status().n_jobs == 0, timeout_s=60)


def run(client: Client, job: Wanted) -> list[bytes]:
    return list(client.submit(JobSpec(audio=np.array(job.speech), avatar=job.avatar)))


def rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)
