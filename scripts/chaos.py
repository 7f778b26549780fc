"""A farm under a steady load, whose processes die and stop at random: nothing may be lost.

usage: chaos.py [--minutes N] [--seed S] [--jobs N] [--roles audio,inference,...]
       chaos.py --hostile [--rounds N]

Every frame is compared with the sequential renderer's.  Prints what died and how soon frames came
again; exit code 1 when a frame was lost, doubled or changed, a job failed, or a segment was left.
A stopped supervisor, which nobody watches, is resumed after a second; a dead one's farm is started
again, as systemd would.

``--hostile`` measures instead how much a hostile client slows an honest one down.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests has small avatars and a running farm

import hostile_clients

from farm.client import Client, FarmLost, JobFailed, JobSpec, NoFarm
from farm.paths import DEMO_SPEECH, TINY_MODEL
from tests.farm_process import RunningFarm, start, wait_until
from tests.leaks import left_segments
from tests.material import EDGE_BOXES, noise_avatar, read_speech
from workers.arrays import F32
from workers.avatar import Bundle
from workers.model import Model
from workers.sequential import render
from workers.stages import StageTimes

RATE_HZ = 16_000
ROLES = ("audio", "inference", "compositor", "broker", "supervisor")
STOP_SHARE = 0.25  #: of all faults; the others are SIGKILL
PAUSE_S = (0.5, 3.0)  #: between two faults
QUIET_S = 10.0  #: without faults, at first, for comparison
RESUME_S = 1.0
SEEN_AFTER_S = 15.0  #: a pause that begins later is no consequence of the fault
CONFIG = f"""
[model]
directory = "{TINY_MODEL}"
[inference]
threads = 1
[compositors]
count = 2
[health]
heartbeat_s = 0.1
liveness = 15
start_s = 20
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job and what must come of it."""

    avatar: str
    speech: F32
    frames: list[bytes]


@dataclass(frozen=True, slots=True)
class Fault:
    role: str
    signal: signal.Signals
    at: float


@dataclass(slots=True)
class Tally:
    """What happened.  Several threads add to it."""

    counts: Counter[str] = field(default_factory=Counter)
    arrivals: list[float] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, n: int = 1, complaint: str = "") -> None:
        with self.lock:
            self.counts[what] += n
            if complaint:
                self.complaints.append(complaint)


FORBIDDEN = ("lost", "doubled", "corrupt", "poisoned", "failed", "leaked segments")


class Farm:
    """``farm serve``, which may be started again after its death."""

    def __init__(self, data: Path) -> None:
        self.run_dir = Path(tempfile.mkdtemp(prefix="lf-", dir="/tmp"))
        places = f'run_dir = "{self.run_dir}/run"\nstate_dir = "{self.run_dir}/state"\n'
        (self.run_dir / "farm.toml").write_text(f"[farm]\n{places}{CONFIG}")
        self.log = ""
        self._data = data
        self.start()

    def start(self) -> None:
        self._process = start(self.run_dir, self._data, (), {})
        wait_until(lambda: "ready at" in (self.run_dir / "log").read_text(), self._process)
        url = f"ipc://{self.run_dir}/run/client.sock"
        self.running = RunningFarm(url, self.run_dir, self._process)

    def restart(self) -> None:
        """After the supervisor's death; its children follow it by themselves."""
        self._process.wait()
        self.log += self.running.log()
        self.start()

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def pids(self, role: str) -> list[int]:
        if role == "supervisor":
            return [self._process.pid]
        return [process.pid for process in self.running.workers(role)]

    def end(self) -> int:
        self._process.terminate()
        code = self._process.wait(120)
        self.log += self.running.log()
        return code

    def remove(self) -> None:
        if self._process.poll() is None:
            self.resume()
            self.end()
        shutil.rmtree(self.run_dir)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=4, help="at a time (default: 4)")
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5, help="of --hostile (default: 5)")
    arguments = parser.parse_args()
    roles = arguments.roles.split(",")
    if unknown := set(roles) - set(ROLES):
        parser.error(f"--roles: no such role: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the farm
    with tempfile.TemporaryDirectory() as data:
        wanted = some_jobs(Path(data))
        if arguments.hostile:
            return measure_hostile(Path(data), wanted[0], arguments.rounds)
        seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
        return run_chaos(Path(data), wanted, roles, arguments.minutes, arguments.jobs, seed)


def some_jobs(data: Path) -> list[Wanted]:
    noise_avatar(data / "avatars" / "anna")
    noise_avatar(data / "avatars" / "ben", EDGE_BOXES[2:])
    speech, model = read_speech(DEMO_SPEECH), Model.load(TINY_MODEL)
    parts = [("anna", 0, 10), ("ben", 1, 6), ("anna", 2, 5), ("ben", 3, 4.7), ("anna", 0, 0.3)]
    jobs = []
    for avatar, begin_s, end_s in parts:
        samples = speech[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]
        bundle = Bundle(data / "avatars" / avatar)
        frames = list(render([samples], bundle, model, batch_size=8, times=StageTimes()))
        jobs.append(Wanted(avatar, samples, frames))
    return jobs


# Chaos.


def run_chaos(
    data: Path, wanted: list[Wanted], roles: list[str], minutes: float, n_jobs: int, seed: int
) -> int:
    tally, is_over = Tally(), threading.Event()
    farm = Farm(data)
    try:
        clients = [
            threading.Thread(target=keep_busy, args=(farm, wanted, tally, is_over, f"{seed} {k}"))
            for k in range(n_jobs)
        ]
        for client in clients:
            client.start()
        begin = time.time()
        try:
            is_over.wait(QUIET_S)
            strike(farm, roles, tally, random.Random(seed), begin + QUIET_S + 60 * minutes)
        finally:
            is_over.set()
            for client in clients:
                client.join()
        code = farm.end()
        tally.count("failed", code != 0, f"the farm left with exit code {code}")
        farm.start()  # sweeps
        tally.count("leaked segments", len(stale_segments()))
        farm.end()
    finally:
        farm.remove()
    show(tally, seed, time.time() - begin, begin + QUIET_S)
    is_bad = any(tally.counts[what] for what in FORBIDDEN)
    if is_bad:
        print("\n".join([*tally.complaints[:20], "the farm's log:", *farm.log.splitlines()[-40:]]))
    return 1 if is_bad else 0


def keep_busy(
    farm: Farm, wanted: list[Wanted], tally: Tally, is_over: threading.Event, seed: str
) -> None:
    """One job after the other, as several programs would: now and then with a new connection."""
    rng = random.Random(seed)
    while not is_over.is_set():
        with suppress(NoFarm), Client(farm.running.url, connect_timeout_s=5) as client:
            for _ in range(rng.randint(1, 4)):
                if not is_over.is_set():
                    run_job(client, rng.choice(wanted), tally)


def run_job(client: Client, wanted: Wanted, tally: Tally) -> None:
    n = 0
    try:
        for jpeg in client.submit(JobSpec(audio=np.array(wanted.speech), avatar=wanted.avatar)):
            tally.arrivals.append(time.time())
            judge(jpeg, n, wanted, tally)
            n += 1
    except JobFailed as error:
        what = "poisoned" if error.code == "POISON" else "failed"
        tally.count(what, complaint=f"{error.code} after {n} frames: {error}")
    except FarmLost as error:
        what = "doubled" if "came where" in str(error) else "failed"
        tally.count(what, complaint=f"after {n} frames: {error}")
    else:
        tally.count("jobs")
        tally.count("lost", max(0, len(wanted.frames) - n))
    tally.count("frames", n)


def judge(jpeg: bytes, index: int, wanted: Wanted, tally: Tally) -> None:
    frames = wanted.frames
    if index < len(frames) and jpeg == frames[index]:
        return
    if index >= len(frames) or (index > 0 and jpeg == frames[index - 1]):
        tally.count("doubled", complaint=f"frame {index} came twice")
    else:
        tally.count("corrupt", complaint=f"frame {index} of {wanted.avatar} has other bytes")


def strike(farm: Farm, roles: list[str], tally: Tally, rng: random.Random, end: float) -> None:
    """Hit one process after the other until the end."""
    while (now := time.time()) < end:
        role = rng.choice(roles)
        how = signal.SIGSTOP if rng.random() < STOP_SHARE else signal.SIGKILL
        if pids := farm.pids(role):
            pid = rng.choice(pids)
            tally.faults.append(Fault(role, how, now))
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            if role == "supervisor":
                mend(farm, how)
        progress(tally, end - now)
        time.sleep(rng.uniform(*PAUSE_S))


def mend(farm: Farm, how: signal.Signals) -> None:
    """What is done for a supervisor from outside."""
    if how == signal.SIGKILL:
        farm.restart()
    else:
        time.sleep(RESUME_S)
        farm.resume()


def progress(tally: Tally, left_s: float) -> None:
    if sys.stderr.isatty():
        bad = sum(tally.counts[what] for what in FORBIDDEN)
        print(
            f"\r{left_s:5.0f} s left, {len(tally.faults)} faults, {tally.counts['jobs']} jobs, "
            f"{len(tally.arrivals)} frames, {bad} wrong ",
            end="" if left_s > 3 else "\n",
            file=sys.stderr,
            flush=True,
        )


def stale_segments() -> list[str]:
    """Segments whose owner is dead, while a farm of ours lives."""
    with_farm = left_segments()  # our children's own are among them
    return [name for name in with_farm if not is_held(name)]


def is_held(name: str) -> bool:
    path = f"/dev/shm/{name}"
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, OSError):
            if any(os.readlink(fd) == path for fd in Path(f"/proc/{process.pid}/fd").iterdir()):
                return True
    return False


# What is shown.


def show(tally: Tally, seed: int, elapsed_s: float, first_fault_at: float) -> None:
    counts = tally.counts
    print(f"\nseed {seed}, {elapsed_s:.0f} s")
    for what in ("jobs", "frames", *FORBIDDEN):
        mark = "   FORBIDDEN" if what in FORBIDDEN and counts[what] else ""
        print(f"  {what:<18}{counts[what]:>8,}{mark}")
    print(f"\n  {'longest pause':<16}{'by':<10}{'hits':>5}{'p50':>9}{'p90':>9}{'worst':>9}")
    pauses = pauses_s(tally, first_fault_at)
    for (role, how), values in pauses.items():
        p50, p90 = np.percentile(values, [50, 90])
        print(
            f"  {role:<16}{how:<10}{len(values):>5}{p50:>7.2f} s{p90:>7.2f} s{max(values):>7.2f} s"
        )


def pauses_s(tally: Tally, first_fault_at: float) -> dict[tuple[str, str], list[float]]:
    """The longest pause between frames that began after each fault, in s; first without any."""
    arrivals = np.sort(np.array(tally.arrivals))
    pauses: dict[tuple[str, str], list[float]] = defaultdict(list)
    quiet = arrivals[arrivals < first_fault_at]
    pauses["(no fault)", ""] = [float(np.max(np.diff(quiet)))] if len(quiet) > 1 else []
    next_at = [fault.at for fault in tally.faults[1:]] + [float("inf")]
    for fault, end in zip(tally.faults, next_at, strict=True):
        end = min(end, fault.at + SEEN_AFTER_S)
        begun = arrivals[(arrivals > fault.at) & (arrivals < end)]
        moments = [fault.at, *begun, *arrivals[arrivals >= end][:1]]
        if len(moments) > 1:
            pauses[fault.role, fault.signal.name].append(float(np.max(np.diff(moments))))
    return {key: values for key, values in sorted(pauses.items()) if values}


# Hostile clients.

#: How many clients have runnable work while such a client is there, the honest one included.
N_RUNNABLE = {"slow": 2, "silent": 1, "vanishing": 2, "flooding": 1, "greedy": 2, "fuzzing": 1}
AIM = 1.1


def measure_hostile(data: Path, wanted: Wanted, n_rounds: int) -> int:
    """The honest job's time beside each kind, against its time alone just before."""
    print(f"{'beside':<12}{'alone':>9}{'beside':>9}{'ratio':>8}{'aim':>7}{'broker grew':>14}")
    is_bad = False
    farm = Farm(data)
    try:
        with Client(farm.running.url) as client:
            (broker,) = farm.running.workers("broker")
            seconds(client, wanted)
            for kind in hostile_clients.KINDS:
                # A client that hung up leaves a job that waits for it: they would not be alone.
                wait_until(lambda: client.farm_status().n_jobs == 0)
                before = broker.memory_info().rss
                alone = [seconds(client, wanted) for _ in range(n_rounds)]
                beside = []
                for seed in range(n_rounds):
                    with hostile(kind, farm.running.url, seed):
                        beside.append(seconds(client, wanted))
                ratio = statistics.median(beside) / statistics.median(alone)
                grown_mib = (broker.memory_info().rss - before) / 2**20
                aim = AIM * N_RUNNABLE[kind]
                is_bad |= ratio > aim
                print(
                    f"{kind:<12}{statistics.median(alone):>7.2f} s{statistics.median(beside):>7.2f}"
                    f" s{ratio:>8.2f}{aim:>7.1f}{grown_mib:>10.1f} MiB"
                )
        farm.end()
    finally:
        farm.remove()
    return 1 if is_bad else 0


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


def seconds(client: Client, wanted: Wanted) -> float:
    begin = time.perf_counter()
    frames = list(client.submit(JobSpec(audio=np.array(wanted.speech), avatar=wanted.avatar)))
    elapsed_s = time.perf_counter() - begin
    assert frames == wanted.frames, "the honest job was harmed"
    return elapsed_s


if __name__ == "__main__":
    sys.exit(main())
