"""What people see while they wait.  The one file that knows rich.

Everything goes to standard error, so that standard output holds results only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_console = Console(stderr=True, highlight=False)


class Advance(Protocol):
    """One more is done."""

    def __call__(self) -> None: ...


@contextmanager
def progress_bar(what: str, total: int | None, unit: str = "frames") -> Iterator[Advance]:
    """A bar on a terminal, nothing anywhere else.  ``total`` None: how many is not known.

    ``unit`` : of what is counted.
    """
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    with Progress(
        *columns, console=_console, transient=True, disable=not _console.is_terminal
    ) as bars:
        task = bars.add_task(what, total=total, rate="", start=True)

        def advance() -> None:
            speed = bars.tasks[0].speed
            bars.update(task, advance=1, rate=f"{speed:.0f} {unit}/s" if speed else "")

        yield advance


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Aligned columns on standard output; the last one is as long as it needs to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, last in rows:
        aligned = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        print("  ".join([*aligned, last]))
