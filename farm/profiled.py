"""``python -m farm.profiled DIRECTORY NAME MODULE ARGUMENT...``: one process, under cProfile.

It runs the module's ``main`` with the arguments, as ``python -m MODULE ARGUMENT...`` would.  A
process that nobody profiles never comes here, and pays nothing.  What it took is written now and
then, so that SIGKILL loses little, and at the end: a return, an exception or SIGTERM.

Started by the supervisor; ends as the process that it runs.
"""

import cProfile
import marshal
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

WRITE_EVERY_S = 10.0


def main(argv: list[str]) -> None:
    """Run the module, and write what it did to DIRECTORY/NAME-PID.pstats."""
    directory, name, module, *arguments = argv
    path = Path(directory, f"{name}-{os.getpid()}.pstats")
    run = import_module(module).main
    print(f"farm: profiling child={name} view='python -m pstats {path}'", file=sys.stderr)
    profile = cProfile.Profile()
    _write_on_signals(profile, path)
    profile.enable()
    try:
        run(arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_all(profile, path)


def _write_on_signals(profile: cProfile.Profile, path: Path) -> None:
    """A timer, not a thread: the profiler belongs to the thread that it runs in."""

    def now_and_then(_number: int, _frame: object) -> None:
        write_so_far(profile, path)

    def at_the_end(_number: int, _frame: object) -> None:
        write_all(profile, path)
        # Then as it would have ended without us.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGALRM, now_and_then)
    # System calls go on after it: not every library tries again by itself.  The loops of our
    # processes wait in poll(2), which it wakes all the same.
    signal.siginterrupt(signal.SIGALRM, False)
    signal.signal(signal.SIGTERM, at_the_end)
    signal.setitimer(signal.ITIMER_REAL, WRITE_EVERY_S, WRITE_EVERY_S)


def write_so_far(profile: cProfile.Profile, path: Path) -> None:
    """Every call that has returned: what still runs, the main loop say, is not in it yet."""
    profile.snapshot_stats()
    _write(profile, path)


def write_all(profile: cProfile.Profile, path: Path) -> None:
    """Every call; those that still run end here for the profile, and it with them."""
    profile.create_stats()
    _write(profile, path)


def _write(profile: cProfile.Profile, path: Path) -> None:
    """The new file whole, or the one before: we may be killed at any line.

    A disk that is full must not end the process that is looked at.
    """
    part = path.with_suffix(".part")
    try:
        part.write_bytes(marshal.dumps(profile.stats))
        part.replace(path)
    except OSError as error:
        print(f"farm: no profile was written to {path}: {error.strerror}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
