"""A farm for one command: started with it, gone with it.

The farm runs in a process of its own, whose life hangs on a pipe: however this process ends, the
farm and everything it holds go too.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm import daemon
from farm.config import FarmConfig, endpoints, load_config, with_overrides
from farm.errors import FarmError
from farm.paths import Paths, user_paths

if TYPE_CHECKING:
    from farm.client import Client

_OF_A_WORKER = re.compile(r"farm: [a-z]+-[0-9]+: ")

START_S = 120.0  #: a large model, a cold GPU
STOP_S = 15.0
PATIENCE_S = 15.0  #: nobody starts this farm again


class NoStart(FarmError):
    """The embedded farm did not become ready."""


@contextmanager
def embedded_farm(bundle: Path, overrides: dict[str, Any]) -> Iterator["Client"]:
    """A client of a farm of our own, which offers one avatar, ``avatar``: the bundle given.

    ``overrides`` : config keys, like "inference.batch_size".
    """
    # Short: a socket's path ends at 107 bytes, and TMPDIR may be long.
    with tempfile.TemporaryDirectory(prefix="lipfarm-", dir="/tmp") as place:
        root = Path(place)
        paths = Paths(data=root / "data", cache=user_paths().cache)
        paths.avatars.mkdir(parents=True)
        (paths.avatars / "avatar").symlink_to(bundle.resolve())
        keys = {**overrides, "farm.run_dir": str(root / "run")}
        life, ours = os.pipe()
        process = _spawn(root, paths, keys, life)
        os.close(life)
        try:
            with _connected(process, keys, root) as client:
                yield client
        finally:
            os.close(ours)
            _wait(process)


def _spawn(root: Path, paths: Paths, keys: dict[str, Any], life: int) -> "subprocess.Popen[bytes]":
    places = {"data": str(paths.data.absolute()), "cache": str(paths.cache.absolute())}
    argument = json.dumps({"keys": keys, "life_fd": life, **places})
    with open(root / "log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "farm.embedded", argument],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[life],
            # Ctrl-C is for the command, which then lets go of the farm.
            start_new_session=True,
        )


@contextmanager
def _connected(
    process: "subprocess.Popen[bytes]", keys: dict[str, Any], root: Path
) -> Iterator["Client"]:
    from farm.client import Client, NoFarm

    url = endpoints(_config(keys), root / "run").client
    deadline = time.monotonic() + START_S
    while True:
        _require_alive(process, root)
        try:
            client = Client(url, connect_timeout_s=1.0, patience_s=PATIENCE_S)
            break
        except NoFarm:
            if time.monotonic() > deadline:
                raise NoStart(f"no answer after {START_S:g} s: {_last_line(root)}") from None
    with client:
        while not _is_ready(client):
            _require_alive(process, root)
            if time.monotonic() > deadline:
                raise NoStart(f"not ready after {START_S:g} s: {_last_line(root)}")
            time.sleep(0.02)
        yield client


def _is_ready(client: "Client") -> bool:
    from farm.client import NoAnswer

    try:
        return client.farm_status(timeout_s=1.0).is_ready
    except NoAnswer:
        return False


def _require_alive(process: "subprocess.Popen[bytes]", root: Path) -> None:
    if process.poll() is not None:
        raise NoStart(f"the farm did not start: {_last_line(root)}")


def _last_line(root: Path) -> str:
    """What went wrong: a worker's own words, if it had any, say more than that it ended."""
    lines = (root / "log").read_text(errors="replace").strip().splitlines()
    of_workers = [line for line in lines if _OF_A_WORKER.match(line)]
    said = (of_workers or lines or ["it said nothing"])[-1]
    return said.removeprefix("farm: ")


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _config(keys: dict[str, Any]) -> FarmConfig:
    return with_overrides(load_config(None), keys, source="the command line")


def main() -> int:
    """The farm's own process."""
    given = json.loads(sys.argv[1])
    paths = Paths(data=Path(given["data"]), cache=Path(given["cache"]))
    try:
        return daemon.run(_config(given["keys"]), paths, life_fd=given["life_fd"])
    except Exception as error:  # noqa: BLE001 - the last line of the log is what the caller shows
        print(f"farm: {error or type(error).__name__}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
