"""A farm under a steady load, whose processes die and stop at random: nothing may be lost.

usage: chaos.py [--minutes N] [--seed S] [--jobs N] [--roles audio,inference,...]

Every frame is compared with the sequential renderer's.  Prints what died and how soon frames came
again; exit code 1 when a frame was lost, doubled or changed, a job failed, or a segment was left.
A stopped supervisor, which nobody watches, is resumed after a second; a dead one's farm is started
again, as systemd would.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests has small avatars and a running farm

from farm.client import Client, FarmLost, JobFailed, JobSpec, NoFarm
from farm.paths import DEMO_SPEECH, TINY_MODEL
from tests.farm_process import END_S, WATCHFUL, RunningFarm, running_farm
from tests.leaks import left_segments
from tests.material import Wanted, read_speech, two_avatars, wanted
from workers.model import Model

RATE_HZ = 16_000
ROLES = ("audio", "inference", "compositor", "broker", "supervisor")
STOP_SHARE = 0.25  #: of all faults; the others are SIGKILL
PAUSE_S = (0.5, 3.0)  #: between two faults
QUIET_S = 10.0  #: without faults, at first, for comparison
RESUME_S = 1.0
SEEN_AFTER_S = 15.0  #: a pause that begins later is no consequence of the fault
CONFIG = WATCHFUL + "start_s = 20\n"


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
    log: str = ""  #: the farm's
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, n: int = 1, complaint: str = "") -> None:
        with self.lock:
            self.counts[what] += n
            if complaint:
                self.complaints.append(complaint)


FORBIDDEN = ("lost", "doubled", "corrupt", "poisoned", "failed", "leaked segments")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=4, help="at a time (default: 4)")
    parser.add_argument("--roles", default=",".join(ROLES))
    arguments = parser.parse_args()
    roles = arguments.roles.split(",")
    if unknown := set(roles) - set(ROLES):
        parser.error(f"--roles: no such role: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the farm
    with tempfile.TemporaryDirectory() as data:
        jobs = some_jobs(Path(data))
        seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
        return run_chaos(Path(data), jobs, roles, arguments.minutes, arguments.jobs, seed)


def some_jobs(data: Path) -> list[Wanted]:
    two_avatars(data)
    speech, model = read_speech(DEMO_SPEECH), Model.load(TINY_MODEL)
    parts = [("anna", 0, 10), ("ben", 1, 6), ("anna", 2, 5), ("ben", 3, 4.7), ("anna", 0, 0.3)]
    return [
        wanted(data, avatar, speech[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)], model)
        for avatar, begin_s, end_s in parts
    ]


# Chaos.


def run_chaos(
    data: Path, jobs: list[Wanted], roles: list[str], minutes: float, n_clients: int, seed: int
) -> int:
    tally, is_over = Tally(), threading.Event()
    with running_farm(data, config=CONFIG) as farm:
        clients = [
            threading.Thread(target=keep_busy, args=(farm, jobs, tally, is_over, f"{seed} {k}"))
            for k in range(n_clients)
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
        code = end(farm, tally)
        tally.count("failed", code != 0, f"the farm left with exit code {code}")
        farm.start_again()  # sweeps
        tally.count("leaked segments", len(stale_segments()))
        end(farm, tally)
    show(tally, seed, time.time() - begin, begin + QUIET_S)
    is_bad = any(tally.counts[what] for what in FORBIDDEN)
    if is_bad:
        print("\n".join([*tally.complaints[:20], "the farm's log:", *tally.log.splitlines()[-40:]]))
    return 1 if is_bad else 0


def end(farm: RunningFarm, tally: Tally) -> int:
    farm.process.terminate()
    code = farm.process.wait(END_S)
    tally.log += farm.log()
    return code


def keep_busy(
    farm: RunningFarm, jobs: list[Wanted], tally: Tally, is_over: threading.Event, seed: str
) -> None:
    """One job after the other, as several programs would: now and then with a new connection."""
    rng = random.Random(seed)
    while not is_over.is_set():
        with suppress(NoFarm), Client(farm.url, connect_timeout_s=5) as client:
            for _ in range(rng.randint(1, 4)):
                if not is_over.is_set():
                    run_job(client, rng.choice(jobs), tally)


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


def strike(
    farm: RunningFarm, roles: list[str], tally: Tally, rng: random.Random, end_at: float
) -> None:
    """Hit one process after the other until the end."""
    while (now := time.time()) < end_at:
        role = rng.choice(roles)
        how = signal.SIGSTOP if rng.random() < STOP_SHARE else signal.SIGKILL
        if pids := pids_of(farm, role):
            pid = rng.choice(pids)
            tally.faults.append(Fault(role, how, now))
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            if role == "supervisor":
                mend(farm, tally, how)
        progress(tally, end_at - now)
        time.sleep(rng.uniform(*PAUSE_S))


def pids_of(farm: RunningFarm, role: str) -> list[int]:
    if role == "supervisor":
        return [farm.process.pid]
    return [process.pid for process in farm.workers(role)]


def mend(farm: RunningFarm, tally: Tally, how: signal.Signals) -> None:
    """What is done for a supervisor from outside."""
    if how == signal.SIGKILL:
        farm.process.wait()  # its children follow it by themselves
        tally.log += farm.log()
        farm.start_again()
    else:
        time.sleep(RESUME_S)
        farm.process.send_signal(signal.SIGCONT)


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


if __name__ == "__main__":
    sys.exit(main())
