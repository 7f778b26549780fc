"""Where the command ``farm`` begins: signals first, the rest of lipfarm after them.

A signal ends the command through every cleanup on the way out, with the shell's exit code for it:
130 for Ctrl-C, 143 for SIGTERM, 129 when the terminal was closed.
"""

import signal
import sys

from farm.signals import Ended, catch_ending_signals


def main() -> int:
    """The exit code of the command."""
    catch_ending_signals()
    try:
        from farm.cli import main as run

        return run()
    except Ended as ended:
        name = "interrupted" if ended.signum == signal.SIGINT else "terminated"
        print(f"farm: {name}, nothing was written", file=sys.stderr)
        return 128 + ended.signum


if __name__ == "__main__":
    sys.exit(main())
