"""What several commands take."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

CONNECT_TIMEOUT_S = 5.0


def add_connect(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--connect", metavar="URL", help=what)
    command.add_argument(
        "--connect-timeout",
        type=seconds,
        default=CONNECT_TIMEOUT_S,
        metavar="S",
        help=f"seconds until nobody answers (default: {CONNECT_TIMEOUT_S:g})",
    )


def seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: must be above 0")
    return seconds
