"""The command ``farm``: arguments in, exit codes out.

The one place where errors become exit codes: 0 done, 2 the caller's fault, 1 anything else, which
is ours.  Signals are ``farm.entry``'s.  Each command is a module, imported when it is used: the
supervisor of ``farm serve`` must not carry what rendering needs.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from farm.cli.parser import parser
from farm.errors import FarmError
from farm.signals import imports_are_done, raise_if_ended
from shm.errors import ShmError
from workers.errors import CallerFault, WorkerError

EXIT_OURS, EXIT_CALLERS = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    commands = parser()
    arguments = commands.parse_args(argv)
    if not hasattr(arguments, "run"):
        commands.print_help(sys.stderr)
        return EXIT_CALLERS
    try:
        module, function = arguments.run
        command = getattr(import_module(module), function)
        imports_are_done()
        exit_code: int = command(arguments)
        sys.stdout.flush()
        return exit_code
    except CallerFault as error:
        return _fail(EXIT_CALLERS, str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FarmError, WorkerError, ShmError, OSError) as error:
        return _fail(EXIT_OURS, str(error))
    except Exception:  # noqa: BLE001 - the last stop: everything becomes an exit code here
        raise_if_ended()  # what failed was interrupted
        traceback.print_exc()
        return _fail(EXIT_OURS, "this is a bug in lipfarm, please report it with the lines above")


def _fail(exit_code: int, message: str) -> int:
    one_line = " ".join(message.split())
    print(f"farm: {one_line.encode(errors='replace').decode()}", file=sys.stderr)
    return exit_code
