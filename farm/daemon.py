"""Wires a farm together: where it runs, and who is told how it fares.

The environment and the process's signals are touched here and nowhere below.
"""

import fcntl
import logging
import os
import resource
import secrets
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from farm import systemd
from farm.children import child_specs
from farm.config import BadConfig, Endpoints, FarmConfig, endpoints
from farm.errors import FarmError
from farm.gpus import n_usable_gpus
from farm.paths import Paths
from farm.profiling import NO_PROFILING, Profiling
from farm.restart import END_SIGNALS, Orders, Phase
from farm.supervisor import Supervisor
from shm.sweep import sweep

LOCK_NAME = "farm.lock"

# A pool for each library in each process would be a stall: cores times processes threads.
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
ONE_THREAD = dict.fromkeys(_POOLS, "1")

TOLD = {
    Phase.SERVING: (systemd.READY, systemd.status("serving")),
    Phase.DRAINING: (systemd.STOPPING, systemd.status("finishing running jobs")),
    Phase.STOPPING: (systemd.STOPPING, systemd.status("stopping")),
}

_log = logging.getLogger(__name__)


class AlreadyRunning(FarmError):
    """Another farm has that place: stop it, or give this one other directories and endpoint."""


class UnsafeDirectory(FarmError):
    """The run directory is not ours alone: whoever can write there can speak for us."""


def run(
    config: FarmConfig,
    paths: Paths,
    life_fd: int | None = None,
    on_ready: Callable[[Endpoints], None] = lambda _urls: None,
    profiling: Profiling = NO_PROFILING,
) -> int:
    """Run a farm until it is told to end; gives the exit code.

    Call it from the main thread.  EOF at ``life_fd`` stops the farm.  ``on_ready`` is called, with
    where to connect, once every worker is warm.  Raises FarmError, ShmError and OSError, with
    everything taken down.
    """
    environment = dict(os.environ)
    raise_open_files()
    run_dir = Path(config.farm.run_dir) if config.farm.run_dir else user_run_dir(environment)
    urls = endpoints(config, run_dir)
    state_dir = Path(config.farm.state_dir) if config.farm.state_dir else paths.state
    paths = replace(paths, state=state_dir)
    n_cores = len(os.sched_getaffinity(0))
    specs = child_specs(config, paths, urls, n_cores=n_cores, n_gpus=n_usable_gpus(environment))
    make_private(run_dir, "farm.run_dir")
    if state_dir is not None:
        make_private(state_dir, "farm.state_dir")
    with ExitStack() as stack:
        # The locks come first: without them we would remove a living farm's sockets.
        for lock in lock_files(run_dir, urls, state_dir):
            stack.enter_context(held(lock))
        for name in sweep():
            _log.warning("removed the segment of a dead farm", extra={"segment": name})
        stack.enter_context(no_sockets(urls.socket_files))
        orders = Orders(
            farm_id=secrets.token_hex(4),
            environment=child_environment(environment),
            start_s=config.health.start_s,
            drain_s=config.health.drain_s,
            signals_fd=stack.enter_context(caught_signals()),
            parent_life_fd=life_fd,
            on_phase=partial(_tell, environment, lambda: on_ready(urls)),
        )
        return Supervisor([profiling.over(spec) for spec in specs], orders).run()


def raise_open_files() -> None:
    """libzmq aborts when descriptors run out, and every client is one: take all that we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def user_run_dir(environment: Mapping[str, str]) -> Path:
    """Where this user's farm is found when nobody says otherwise; clients look here too."""
    given = environment.get("XDG_RUNTIME_DIR", "")
    # sudo and su leave the other user's in the environment; of systemd's /run a part is ours.
    if given and (_is_ours(Path(given)) or _is_ours(Path(given, "lipfarm"))):
        return Path(given, "lipfarm")
    return Path(f"/tmp/lipfarm-{os.geteuid()}")


def _is_ours(directory: Path) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What children inherit: one thread a pool, and no voice with systemd."""
    return {k: v for k, v in environment.items() if k != "NOTIFY_SOCKET"} | ONE_THREAD


# Where it runs


def make_private(directory: Path, key: str = "farm.run_dir") -> None:
    """Create the directory, and let nobody else in; raises `UnsafeDirectory`.

    ``key`` : of the configuration, where it can be set.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=True)
    # In /tmp another user may have made it, or a link to one of ours, before us.
    if not _is_ours(directory) or _is_shared(directory):
        raise UnsafeDirectory(f"{directory}: must be a directory of our own, set {key}")
    directory.chmod(0o700)


def _is_shared(directory: Path) -> bool:
    """Like /tmp, or a disk's root: not ours to close to others."""
    return bool(directory.stat().st_mode & stat.S_ISVTX) or directory.is_mount()


def lock_files(run_dir: Path, urls: Endpoints, state_dir: Path | None = None) -> list[Path]:
    """Those of both directories, and one beside a client socket that lives elsewhere."""
    elsewhere = [file for file in urls.socket_files if file.parent != run_dir]
    own = dict.fromkeys([run_dir, *([state_dir] if state_dir is not None else [])])
    beside = [file.with_name(f"{file.name}.lock") for file in elsewhere]
    return [*(directory / LOCK_NAME for directory in own), *beside]


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock file with our pid in it; raises `AlreadyRunning` with the other's."""
    with ExitStack() as stack:
        while not _is_locked(lock, fd := _opened(lock, stack)):
            pass
        stack.callback(lock.unlink, missing_ok=True)  # while we hold it: see _is_locked
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield


def _opened(lock: Path, stack: ExitStack) -> int:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    stack.callback(os.close, fd)
    return fd


def _is_locked(lock: Path, fd: int) -> bool:
    """Lock the file; False if its last holder removed it meanwhile, and nobody will find it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        raise AlreadyRunning(f"a farm runs here already: pid {pid} holds {lock}") from None
    return os.fstat(fd).st_nlink > 0


@contextmanager
def no_sockets(files: list[Path]) -> Iterator[None]:
    """None of these sockets is there before, and none after."""
    _remove_sockets(files)
    try:
        yield
    finally:
        _remove_sockets(files)


def _remove_sockets(files: list[Path]) -> None:
    for file in files:
        with suppress(FileNotFoundError):
            # libzmq would unlink whatever is there: a file of the user's is not ours to lose.
            if not stat.S_ISSOCK(file.lstat().st_mode):
                raise BadConfig(f"farm.endpoint = 'ipc://{file}': a file is there, and no socket")
            file.unlink()


@contextmanager
def caught_signals() -> Iterator[int]:
    """Turn the signals that end a farm into bytes at the descriptor that this gives."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    wakeup_before = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    # nohup's word stands.
    wanted = [s for s in END_SIGNALS if s != signal.SIGHUP or signal.getsignal(s) != signal.SIG_IGN]
    before = {number: signal.signal(number, _only_wake) for number in wanted}
    try:
        yield read_fd
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        os.close(read_fd)
        os.close(write_fd)


def _only_wake(_number: int, _frame: object) -> None:
    """The byte in the pipe is the message."""


# Who is told


def _tell(environment: Mapping[str, str], on_ready: Callable[[], None], phase: Phase) -> None:
    try:
        systemd.notify(environment, *TOLD[phase])
    except OSError as error:  # systemd's loss: the farm works without being watched
        _log.warning("systemd was not told", extra={"error": str(error)})
    if phase is Phase.SERVING:
        on_ready()
