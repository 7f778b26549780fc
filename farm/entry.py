"""Where the command ``farm`` begins: signals first, the rest of lipfarm after them.

A signal ends the command through every cleanup on the way out, with the shell's exit code for it:
130 for Ctrl-C, 143 for SIGTERM, 129 when the terminal was closed.
"""

import signal
import sys
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal arrived.  Not an Exception: nobody may take it for a failure and go on."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _Signals:
    """Raises Ended for the first signal, at once or when the imports are done."""

    def __init__(self) -> None:
        self._is_importing = True
        self._caught: int | None = None
        for signum in _ENDING:
            # Whoever started us deaf to a signal, nohup say, meant it.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._catch)

    def imports_are_done(self) -> None:
        self._is_importing = False
        if self._caught is not None:
            raise Ended(self._caught)

    def _catch(self, signum: int, _frame: FrameType | None) -> None:
        # A second one must not fall into the cleanup that the first one begins.
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)
        self._caught = signum
        # Some libraries swallow whatever is raised while they are imported.
        if not self._is_importing:
            raise Ended(signum)


def main() -> int:
    """The exit code of the command."""
    signals = _Signals()
    try:
        from farm.cli import main as run

        signals.imports_are_done()
        return run()
    except Ended as ended:
        name = "interrupted" if ended.signum == signal.SIGINT else "terminated"
        print(f"farm: {name}, nothing was written", file=sys.stderr)
        return 128 + ended.signum


if __name__ == "__main__":
    sys.exit(main())
