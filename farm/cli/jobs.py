"""``farm submit | status | cancel``: jobs on a farm that runs."""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farm.cli.render import JobOptions, RenderRequest, on_a_farm, say
from farm.client import Client
from farm.config import FarmConfig, endpoints
from farm.daemon import user_run_dir
from farm.progress import print_table


def submit(arguments: argparse.Namespace) -> int:
    request = RenderRequest.of(arguments)
    request.check_output()
    with client_of(arguments) as client:
        options = JobOptions(
            avatar=arguments.avatar,
            model=arguments.model,
            job_id=arguments.job_id,
            priority=arguments.priority,
            deadline_s=arguments.deadline,
            says_id=True,
        )
        report = on_a_farm(client, request, options)
    return say(report, as_json=arguments.json)


def status(arguments: argparse.Namespace) -> int:
    with client_of(arguments) as client:
        report = (
            client.farm_status(arguments.connect_timeout)
            if arguments.job is None
            else client.job_status(arguments.job, arguments.connect_timeout)
        )
    fields = asdict(report)
    if arguments.json:
        print(json.dumps(fields, indent=2))
    else:
        _print(fields)
    return 0 if fields.get("is_ready", True) else 1


def _print(report: dict[str, Any]) -> None:
    steps = report.pop("steps", {})
    print_table([(name.replace("_", " "), _shown(value)) for name, value in report.items()])
    if steps:
        print()
        print_table(step_rows(steps))


def step_rows(steps: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """A table of what the steps of compositing took; figures are aligned at their ends."""
    titles = ("frames", "mean ms", "p50 ms", "p90 ms", "p99 ms")
    rows = [("step", *(title.rjust(8) for title in titles))]
    for name, step in steps.items():
        times = (step.get(title.replace(" ", "_"), 0.0) for title in titles[1:])
        frames = f"{step.get('frames', 0):.0f}"
        rows.append((name, frames.rjust(8), *(f"{ms:8.2f}" for ms in times)))
    return rows


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {what}" for what, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def cancel(arguments: argparse.Namespace) -> int:
    with client_of(arguments) as client:
        client.cancel(arguments.job)
    return 0


def client_of(arguments: argparse.Namespace) -> Client:
    """Of the farm that was named, or of this user's own."""
    url = arguments.connect or _own_farm()
    return Client(url, connect_timeout_s=arguments.connect_timeout)


def _own_farm() -> str:
    """Where ``farm serve`` of the same user listens when nobody says otherwise."""
    return endpoints(FarmConfig(), Path(user_run_dir(os.environ))).client
