"""``farm submit | status | cancel``: jobs on a farm that runs."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from farm.cli.render import JobOptions, RenderRequest, on_a_farm, say
from farm.client import Client
from farm.config import FarmConfig, endpoints
from farm.daemon import user_run_dir
from farm.progress import print_table


def submit(arguments: argparse.Namespace) -> int:
    request = RenderRequest.of(arguments)
    request.check_output()
    with _client(arguments) as client:
        options = JobOptions(
            avatar=arguments.avatar,
            job_id=arguments.job_id,
            priority=arguments.priority,
            deadline_s=arguments.deadline,
            says_id=True,
        )
        report = on_a_farm(client, request, options)
    return say(report, as_json=arguments.json)


def status(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        report = (
            client.farm_status(arguments.connect_timeout)
            if arguments.job is None
            else client.job_status(arguments.job, arguments.connect_timeout)
        )
    fields = asdict(report)
    if arguments.json:
        print(json.dumps(fields, indent=2))
    else:
        print_table([(name.replace("_", " "), _shown(value)) for name, value in fields.items()])
    return 0 if fields.get("is_ready", True) else 1


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {what}" for what, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def cancel(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        client.cancel(arguments.job)
    return 0


def _client(arguments: argparse.Namespace) -> Client:
    url = arguments.connect or _own_farm()
    return Client(url, connect_timeout_s=arguments.connect_timeout)


def _own_farm() -> str:
    """Where ``farm serve`` of the same user listens when nobody says otherwise."""
    return endpoints(FarmConfig(), Path(user_run_dir(os.environ))).client
