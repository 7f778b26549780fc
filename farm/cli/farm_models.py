"""``farm model list | load | unload | stats``."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from farm.cli.jobs import client_of
from farm.model_catalog import ModelCatalog
from farm.paths import user_paths
from farm.progress import print_table
from farm.protocol import ModelReport


def list_ids(arguments: argparse.Namespace) -> int:
    """Of this user; a running farm offers the same, and what its configuration names."""
    catalog = ModelCatalog(user_paths())
    found = [catalog.find(model) for model in catalog.ids()]
    if arguments.json:
        rows = [
            {"model": m.model, "directory": str(m.directory), "file_bytes": m.file_bytes}
            for m in found
        ]
        print(json.dumps(rows, indent=2))
    else:
        print_table([(m.model, f"{m.file_bytes / 1e6:7.1f} MB", str(m.directory)) for m in found])
    return 0


def load(arguments: argparse.Namespace) -> int:
    with client_of(arguments) as client:
        client.models.load(arguments.model, pin=arguments.pin)
        report = client.models.status(arguments.model)
    print(f"{report.model}: in memory, {_memory(report)}{_pinned(report)}")
    return 0


def unload(arguments: argparse.Namespace) -> int:
    with client_of(arguments) as client:
        client.models.unload(arguments.model)
    return 0


def stats(arguments: argparse.Namespace) -> int:
    with client_of(arguments) as client:
        wanted = [arguments.model] if arguments.model else client.models.ids()
        reports = [client.models.status(model) for model in wanted]
    if arguments.json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print_table(stats_rows(reports))
    return 0


TITLES = (
    *("model", "state", "memory", "jobs", "requests", "frames"),
    *("ms/frame", "batch p50", "p90", "p99", "unused"),
)


def stats_rows(reports: Sequence[ModelReport]) -> list[tuple[str, ...]]:
    """A table, its figures aligned at their ends."""
    lines = [
        (
            f"{report.model}{' (default)' if report.is_default else ''}",
            _state(report),
            _memory(report),
            *(str(n) for n in (report.jobs, report.requests, report.frames)),
            *(
                f"{ms:.1f}" if report.batches else "-"
                for ms in (
                    report.frame_ms,
                    report.batch_p50_ms,
                    report.batch_p90_ms,
                    report.batch_p99_ms,
                )
            ),
            "-" if report.unused_s is None else f"{report.unused_s:.0f} s",
        )
        for report in reports
    ]
    widths = [max(map(len, column)) for column in zip(TITLES, *lines, strict=True)]
    return [
        tuple(
            cell if k < 3 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (TITLES, *lines)
    ]


def _state(report: ModelReport) -> str:
    places = ", ".join(f"{state} on {n}" if n > 1 else state for state, n in report.places.items())
    return f"{places or 'on disk'}{_pinned(report)}"


def _pinned(report: ModelReport) -> str:
    return ", pinned" if report.is_pinned else ""


def _memory(report: ModelReport) -> str:
    taken = (f"{n / 1e6:.0f} MB {device}" for device, n in report.memory_bytes.items())
    return ", ".join(taken) or "-"
