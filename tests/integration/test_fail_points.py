"""Deaths and standstills at every fail point: no frame is lost, doubled or changed.

A share of the points in each run, another one every day; ``--all`` of them in a quarter of an hour.
"""

import os
import random
import shutil
import signal
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from farm.client import Client, JobSpec
from farm.paths import TINY_MODEL
from shm.fail_points import HIT_SUFFIX, POINTS, VARIABLE
from tests.farm_process import WATCHFUL, RunningFarm, running_farm, start, wait_until
from tests.material import Wanted, wanted
from workers.arrays import F32
from workers.model import Model

pytestmark = pytest.mark.beside_a_farm

CASES_A_RUN = 8  #: half a minute to a minute
#: Standstills before the first beat, when half a minute or more is allowed: for ``--all`` alone.
SLOW = [
    (name, "stop")
    for name in ("audio.ready_sent", "inference.ready_sent", "broker.starting", "broker.restored")
]
CONFIG = WATCHFUL + "start_s = 15\n"


@dataclass(slots=True)
class Recoveries:
    """The longest pause between two frames after each hit, by role and action, in s."""

    pauses_s: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def lines(self) -> Iterator[str]:
        yield f"{'recovery':<12}{'by':<6}{'hits':>5}{'median s':>10}{'longest s':>11}"
        for (role, action), pauses_s in sorted(self.pauses_s.items()):
            median_s, longest_s = statistics.median(pauses_s), max(pauses_s)
            yield f"{role:<12}{action:<6}{len(pauses_s):>5}{median_s:>10.2f}{longest_s:>11.2f}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    supervisors = [name for name in POINTS if POINTS[name].role == "supervisor"]
    if "action" in metafunc.fixturenames:
        kills = [(name, "kill") for name in POINTS if name not in supervisors]
        cases = [*kills, *((name, "stop") for name in POINTS)]
        metafunc.parametrize(("point", "action"), share(cases, CASES_A_RUN, metafunc.config))
    elif "point" in metafunc.fixturenames:
        metafunc.parametrize("point", share(supervisors, 1, metafunc.config))


def share(cases: list[Any], n: int, config: pytest.Config) -> list[Any]:
    """``n`` of the cases, others tomorrow: all of them in turn."""
    if config.getoption("--all"):
        return cases
    cases = [case for case in cases if case not in SLOW]
    cases = random.Random(0).sample(cases, len(cases))  # neighbours are far apart in the table
    turn = config.getoption("--turn")
    first = n * (date.today().toordinal() if turn is None else turn)
    return [cases[(first + k) % len(cases)] for k in range(n)]


@pytest.fixture(scope="module")
def jobs(data: Path, speech: F32, model: Model) -> list[Wanted]:
    parts = [("anna", speech), ("ben", speech[:50_000]), ("anna", speech[10_000:70_000])]
    return [wanted(data, avatar, part, model) for avatar, part in parts]


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that arms the farm's fail points."""
    return tmp_path_factory.mktemp("orders") / "armed"


@pytest.fixture(scope="module")
def farm(data: Path, order: Path) -> Iterator[RunningFarm]:
    shutil.copytree(TINY_MODEL, data / "models" / "other")
    with running_farm(data, config=CONFIG, **{VARIABLE: f"@{order}"}) as farm:
        yield farm


@pytest.fixture(scope="module")
def recoveries(request: pytest.FixtureRequest) -> Iterator[Recoveries]:
    recoveries = Recoveries()
    yield recoveries
    plugins = request.config.pluginmanager
    terminal = plugins.getplugin("terminalreporter")
    with plugins.getplugin("capturemanager").global_and_fixture_disabled():
        for line in ["", *recoveries.lines()]:
            terminal.write_line(line)


@pytest.fixture(autouse=True)
def the_farm_lives_on(farm: RunningFarm) -> Iterator[None]:
    yield
    assert farm.process.poll() is None, "the farm is gone"


def test_a_process_that_is_hit_costs_no_frame(
    farm: RunningFarm,
    jobs: list[Wanted],
    order: Path,
    recoveries: Recoveries,
    point: str,
    action: str,
) -> None:
    hit = Path(f"{order}{HIT_SUFFIX}")
    place = POINTS[point]
    with busy(farm, jobs) as arrivals:
        order.write_text(f"{point}:{action}@{passage(point, action)}")
        if place.after_death_of:
            farm.workers(place.after_death_of)[0].kill()
        if place.after_wish:
            load_and_unload(farm)
        wait_until(hit.exists, farm.process, timeout_s=60)
        if place.role == "supervisor":
            farm.process.send_signal(signal.SIGCONT)

    pause_s = longest_pause_s(arrivals, os.stat(hit).st_ctime)  # when it was renamed
    hit.unlink()
    recoveries.pauses_s[place.role, action].append(pause_s)
    wait_until(lambda: not any(map(is_stopped, children(farm))))
    run(farm, jobs[1])
    with farm.client() as client:
        wait_until(lambda: client.farm_status().is_ready)
        wait_until(lambda: client.farm_status().jobs == [], timeout_s=10)


def test_a_supervisor_that_is_killed_costs_no_frame(
    data: Path, jobs: list[Wanted], tmp_path: Path, point: str
) -> None:
    order = tmp_path / "armed"
    with running_farm(data, config=CONFIG, **{VARIABLE: f"@{order}"}) as farm:
        with busy(farm, jobs):
            order.write_text(f"{point}:kill")
            farm.workers(POINTS[point].after_death_of)[0].kill()
            assert farm.process.wait(60) == -signal.SIGKILL
            second = start(farm.run_dir, data)
        second.terminate()
        assert second.wait(60) == 0


def load_and_unload(farm: RunningFarm) -> None:
    """An operator's wishes are carried out, whatever happens meanwhile."""
    with Client(farm.url, connect_timeout_s=60) as operator:
        operator.models.load("other", timeout_s=60)
        operator.models.unload("other")
        wait_until(lambda: operator.models.status("other").places == {}, timeout_s=60)


def passage(point: str, action: str) -> int:
    """Another one for each case, the same one in every run; late ones while work is waiting."""
    is_rare = bool(POINTS[point].after_death_of) or POINTS[point].after_wish
    return 1 if is_rare else random.Random(f"{point} {action}").randint(1, 4)


@contextmanager
def busy(farm: RunningFarm, jobs: list[Wanted]) -> Iterator[list[float]]:
    """Every job again and again, by clients of their own; gives when frames came.

    At the end each is finished, and then run once more.
    """
    arrivals: list[float] = []
    is_enough = threading.Event()

    def keep_running(job: Wanted) -> None:
        is_last = False
        while not is_last:
            is_last = is_enough.is_set()
            arrivals.extend(run(farm, job))

    with ThreadPoolExecutor(len(jobs)) as clients:
        running = [clients.submit(keep_running, job) for job in jobs]
        try:
            yield arrivals
        finally:
            is_enough.set()
        for client in running:
            client.result()


def run(farm: RunningFarm, job: Wanted) -> list[float]:
    """Run a job and compare its frames; gives when each came."""
    frames, arrivals = [], []
    with Client(farm.url, connect_timeout_s=60) as client:  # longer than any broker's hang
        for jpeg in client.submit(JobSpec(audio=job.speech, avatar=job.avatar)):
            frames.append(jpeg)
            arrivals.append(time.time())
    assert frames == job.frames
    return arrivals


def longest_pause_s(arrivals: list[float], hit_at: float) -> float:
    """From the hit on, between any two frames."""
    after = sorted(at for at in arrivals if at > hit_at)
    return float(np.max(np.diff([hit_at, *after])))


def children(farm: RunningFarm) -> list[psutil.Process]:
    return psutil.Process(farm.process.pid).children()


def is_stopped(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_STOPPED)
    return False
