"""The signals that end a command, heard once and never lost.

A signal raises Ended in the main thread.  Libraries may swallow what is raised inside them, so it
is remembered too: loops ask with ``raise_if_ended``.
"""

import signal
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_caught: int | None = None
_is_importing = True


class Ended(BaseException):
    """A signal arrived.  Not an Exception: nobody may take it for a failure and go on."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def catch_ending_signals() -> None:
    """From now on they are caught; they raise once ``imports_are_done``."""
    for signum in ENDING:
        # Whoever started us deaf to a signal, nohup say, meant it.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _catch)


def imports_are_done() -> None:
    """Some libraries fail strangely when they are interrupted while they are imported."""
    global _is_importing
    _is_importing = False
    raise_if_ended()


def raise_if_ended() -> None:
    """Raise Ended again if it was raised before and got lost."""
    if _caught is not None:
        raise Ended(_caught)


def _catch(signum: int, _frame: FrameType | None) -> None:
    global _caught
    # A second one must not fall into the cleanup that the first one begins.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    _caught = signum
    if not _is_importing:
        raise Ended(signum)
