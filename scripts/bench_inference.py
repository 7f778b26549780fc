"""The whole farm against a bare onnxruntime loop: how much of the device's speed is delivered.

The bare loop runs the same wrapped graph, its output bound, with the same batch and threads, and
does nothing else; the quicker one of spinning on and off counts.  The farm delivers finished JPEG
frames of 1280x720 to clients.

    rate        frames a second while all jobs run: their begin and end are left out
    busy        of the inference worker's time, while all jobs run
    idle gaps   its device stood still though a batch was there
"""

import argparse
import os
from collections.abc import Sequence

import make_full_model
from bench_beside_bare import Setting, beside_bare, first_calls
from bench_material import scratch_directory
from bench_rows import Row, table, value, values

from farm.paths import DEMO_MODEL, TINY_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", default="full,demo", help="of full, demo, tiny")
    parser.add_argument("--jobs", default="1,8", help="at a time (default: 1,8)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=6.0, help="that each turn is to take")
    parser.add_argument("--rounds", type=int, default=5)


def run(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with scratch_directory() as directory:
        directories = {"demo": DEMO_MODEL, "tiny": TINY_MODEL, "full": directory / "full"}
        names = arguments.models.split(",")
        if "full" in names:
            make_full_model.write(directories["full"])
        for name in names:
            setting = Setting(
                directory=directories[name],
                batch_size=arguments.batch_size,
                threads=arguments.threads,
                seconds=arguments.seconds,
                rounds=arguments.rounds,
                n_jobs=tuple(int(n) for n in arguments.jobs.split(",")),
            )
            measured = [*first_calls(setting), *beside_bare(setting)]
            rows += [{"model": name, **r} for r in measured]
    return rows


def shown(rows: list[Row]) -> str:
    titles = ("model", "path", "jobs", "frames/s", "of bare", "busy", "idle gaps")
    firsts = [(r["model"], r["measure"], r["value"]) for r in rows if r["unit"] == "ms"]
    lines = [shown_rate(r, rows) for r in rows if r["unit"] == "frames/s"]
    return "\n\n".join(
        [table(titles, lines), table(("model", "what", "ms"), firsts), _conditions(rows)]
    )


def shown_rate(rate: Row, rows: list[Row]) -> Sequence[object]:
    """A line of the table: a rate, and what belongs to it."""
    keys = {k: rate[k] for k in ("model", "path", "jobs", "precision", "batch")}
    if rate["path"] == "bare":
        spinning = {True: ", spinning on", False: ", spinning off"}[rate["spinning"]]
        return (rate["model"], f"bare{spinning}", None, rate["value"], None, None, None)
    of_bare = value(rows, unit="of bare", **keys)
    shares = [value(rows, unit=unit, **keys) for unit in ("busy", "idle gaps")]
    percents = [share if share is None else f"{100 * share:.1f} %" for share in shares]
    return (rate["model"], "farm", rate["jobs"], rate["value"], of_bare, *percents)


def _conditions(rows: list[Row]) -> str:
    batch, threads = rows[0]["batch"], rows[0]["threads"]
    worst = min(values(rows, unit="of bare"))
    return f"batch {batch}, {threads} threads; the farm delivers at least {worst:.3f} of bare"
