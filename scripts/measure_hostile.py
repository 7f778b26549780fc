"""How much a hostile client slows an honest one down.

usage: measure_hostile.py [--rounds N]

Prints, for each kind of them, the honest job's time beside it and its time alone just before, and
how much the broker has grown.  Exit code 1 when a ratio is beyond its aim.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests has small avatars and a running farm

import hostile_clients

from farm.client import Client, JobRefused, JobSpec
from farm.paths import DEMO_SPEECH, TINY_MODEL
from tests.farm_process import WATCHFUL, running_farm
from tests.material import Wanted, read_speech, two_avatars, wanted
from workers.model import Model

RATE_HZ = 16_000
SPEECH_S = 10
CONFIG = WATCHFUL + "start_s = 20\n"
#: How many clients have runnable work while such a client is there, the honest one included.
N_RUNNABLE = {"slow": 2, "silent": 1, "vanishing": 2, "flooding": 1, "greedy": 2, "fuzzing": 1}
AIM = 1.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each kind (default: 5)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the farm
    with tempfile.TemporaryDirectory() as data:
        return measure(Path(data), honest_job(Path(data)), arguments.rounds)


def honest_job(data: Path) -> Wanted:
    two_avatars(data)
    speech = read_speech(DEMO_SPEECH)[: SPEECH_S * RATE_HZ]
    return wanted(data, "anna", speech, Model.load(TINY_MODEL))


def measure(data: Path, honest: Wanted, n_rounds: int) -> int:
    print(f"{'beside':<12}{'alone':>9}{'beside':>9}{'ratio':>8}{'aim':>7}{'broker grew':>14}")
    is_bad = False
    with running_farm(data, config=CONFIG) as farm, Client(farm.url) as client:
        (broker,) = farm.workers("broker")
        seconds(client, honest)
        for kind in hostile_clients.KINDS:
            clear(client)
            before = broker.memory_info().rss
            alone = [seconds(client, honest) for _ in range(n_rounds)]
            beside = []
            for seed in range(n_rounds):
                with hostile(kind, farm.url, seed):
                    beside.append(seconds(client, honest))
            ratio = statistics.median(beside) / statistics.median(alone)
            grown_mib = (broker.memory_info().rss - before) / 2**20
            aim = AIM * N_RUNNABLE[kind]
            is_bad |= ratio > aim
            print(
                f"{kind:<12}{statistics.median(alone):>7.2f} s{statistics.median(beside):>7.2f}"
                f" s{ratio:>8.2f}{aim:>7.1f}{grown_mib:>10.1f} MiB"
            )
    return 1 if is_bad else 0


def clear(client: Client) -> None:
    """A client that hung up leaves jobs that wait for it: the honest one would not be alone."""
    while (report := client.farm_status()).n_jobs:
        for job_id in report.jobs:
            with suppress(JobRefused):  # it has just ended
                client.cancel(job_id)


@contextmanager
def hostile(kind: str, url: str, seed: int) -> Iterator[None]:
    """At the lowest priority: the cores that it burns itself are not the farm's fault."""
    command = ["nice", "-n", "19", sys.executable, hostile_clients.__file__, kind, url]
    with ExitStack() as stack:
        process = subprocess.Popen([*command, "--avatar", "anna", "--seed", str(seed)])
        stack.enter_context(process)
        stack.callback(process.kill)
        time.sleep(1.0)  # until it is at work: it says nothing of it
        yield


def seconds(client: Client, honest: Wanted) -> float:
    begin = time.perf_counter()
    frames = list(client.submit(JobSpec(audio=np.array(honest.speech), avatar=honest.avatar)))
    elapsed_s = time.perf_counter() - begin
    assert frames == honest.frames, "the honest job was harmed"
    return elapsed_s


if __name__ == "__main__":
    sys.exit(main())
