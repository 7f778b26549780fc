"""What all benchmarks share: rows of one measurement each, timing in turns, and tables.

A row is a flat dict: keys that name the measurement, then ``value`` and ``unit``.  What is compared
is timed in turns in one run: a machine that slows down then slows all of it.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]


def row(value: float, unit: str, **keys: Any) -> Row:
    return {**keys, "value": round(value, 6), "unit": unit}


def cpu_ms(works: Mapping[Any, Callable[[], object]], *, rounds: int) -> dict[Any, float]:
    """Milliseconds of one core that a call of each costs: the median of all rounds.

    Counted is the thread's own CPU time, so that neighbours cost caches and no turns.
    """
    taken = _in_turns(works, rounds, time.thread_time)
    return {name: median(ms) for name, ms in taken.items()}


def wall_ms(works: Mapping[Any, Callable[[], object]], *, rounds: int) -> dict[Any, float]:
    """Milliseconds until a call of each is done, on all its threads: the quickest round."""
    taken = _in_turns(works, rounds, time.perf_counter)
    return {name: min(ms) for name, ms in taken.items()}


def _in_turns(
    works: Mapping[Any, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[Any, list[float]]:
    taken: dict[Any, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            begin = clock()
            work()
            taken[name].append(1e3 * (clock() - begin))
    return taken


def values(rows: Iterable[Row], **keys: Any) -> list[float]:
    """Of the rows that have all these keys."""
    return [r["value"] for r in rows if all(r.get(key) == want for key, want in keys.items())]


def value(rows: Iterable[Row], **keys: Any) -> float | None:
    return next(iter(values(rows, **keys)), None)


def table(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Columns of text: words to the left, numbers to the right."""
    shown = [list(titles), *([_text(cell) for cell in line] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    is_number = [_is_number(column[1:]) for column in zip(*shown, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in (shown[0], rule, *shown[1:])
    )


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.3f}" if abs(cell) < 10 else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _is_number(column: Iterable[str]) -> bool:
    return all(cell[:1].isdigit() or cell[:1] in "-+" for cell in column)
