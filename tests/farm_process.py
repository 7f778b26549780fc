"""A real farm for tests: ``farm serve`` in a process of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from farm.client import Client
from farm.paths import TINY_MODEL

START_S = END_S = 120.0

# Configurations.  What is added goes on in the last section, or begins another one.

#: The tiny model on one core.
TINY = f"[model]\ndirectory = '{TINY_MODEL}'\n[inference]\nthreads = 1\n"
#: For a machine so busy that the living are silent for long.
FAST = TINY + "[health]\nliveness = 30\n"
#: Whoever is silent for 1.5 s is taken for dead.
WATCHFUL = TINY + "[compositors]\ncount = 2\n[health]\nheartbeat_s = 0.1\nliveness = 15\n"


@dataclass
class RunningFarm:
    """A farm that is ready."""

    run_dir: Path
    data: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"ipc://{self.run_dir}/run/client.sock"

    def client(self) -> Client:
        return Client(self.url, connect_timeout_s=20)

    def workers(self, role: str) -> list[psutil.Process]:
        """The processes of one role: "broker", "audio", "inference" or "compositor"."""
        wanted = "farm.broker_main" if role == "broker" else role
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if wanted in _words(child)]

    def log(self) -> str:
        """Since its last start."""
        return (self.run_dir / "log").read_text()

    def start_again(self) -> None:
        """After its end, at the same place, as systemd would."""
        self.process = start(self.run_dir, self.data)
        wait_until(lambda: "ready at" in self.log(), self.process)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextmanager
def running_farm(
    data: Path, *, config: str = "", options: tuple[str, ...] = (), **environment: str
) -> Iterator[RunningFarm]:
    """``farm serve`` with avatars from ``data``; ``config`` is TOML.  Ends it with SIGTERM."""
    run_dir = Path(tempfile.mkdtemp(prefix="lf-", dir="/tmp"))  # a socket's path must be short
    try:
        directories = f'run_dir = "{run_dir}/run"\nstate_dir = "{run_dir}/state"\n'
        (run_dir / "farm.toml").write_text(f"[farm]\n{directories}{config}")
        process = start(run_dir, data, options, environment)
        farm = RunningFarm(run_dir, data, process)
        try:
            wait_until(lambda: "ready at" in farm.log(), process)
            yield farm
        finally:  # a test may have started it again, or stopped it
            if farm.process.poll() is None:
                farm.process.terminate()
                farm.process.send_signal(signal.SIGCONT)
            farm.process.wait(END_S)
    finally:
        shutil.rmtree(run_dir)


def start(
    run_dir: Path,
    data: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "farm.entry", "serve"]
    with open(run_dir / "log", "wb") as log:
        return subprocess.Popen(
            [*command, "--config", str(run_dir / "farm.toml"), *options],
            stderr=log,
            env={**os.environ, "LIPFARM_DATA": str(data), **(environment or {})},
        )


def wait_until(
    happened: Callable[[], bool],
    process: "subprocess.Popen[bytes] | None" = None,
    timeout_s: float = START_S,
) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        assert process is None or process.poll() is None, "the process is gone"
        time.sleep(0.01)
