"""Who runs in a farm: the broker and the workers, and the command that starts each."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from farm.config import BadConfig, Endpoints, FarmConfig
from farm.paths import DEMO_MODEL, Paths
from farm.restart import ChildSpec, Incarnation
from farm.supervisor import BROKER
from shm.layout import RingLayout
from workers.families import FAMILIES

FAMILY = FAMILIES["synctalk-328-ave"]


def child_specs(
    config: FarmConfig, paths: Paths, urls: Endpoints, *, n_cores: int
) -> list[ChildSpec]:
    """Every process of the farm, the broker first."""
    n_workers = {
        "audio": config.audio.workers,
        "inference": 1,  # one for each device; the CPU is one
        "compositor": config.compositors.count or max(1, n_cores - 1),
    }
    common = {
        "--broker": urls.worker,
        "--model": str(_model_directory(config)),
        "--cache": str(paths.models.absolute()),
        "--batch-size": str(config.inference.batch_size),
        "--threads": str(config.inference.threads or n_cores),
        "--kernels": config.compositors.kernels,
        "--heartbeat-s": str(config.health.heartbeat_s),
        "--silent-s": str(config.health.heartbeat_s * config.health.liveness),
        "--log-times": str(int(config.compositors.log_compositing_times)),
    }
    ring = RingLayout(
        n_blocks=config.inference.ring_blocks,
        slots_per_block=config.inference.batch_size,
        slot_bytes=FAMILY.slot_bytes,
    )
    broker = ChildSpec(
        name=BROKER,
        role=BROKER,
        command=partial(_broker_command, urls, paths, _broker_config(config, n_workers)),
    )
    return [broker] + [
        ChildSpec(
            name=f"{role}-{index}",
            role=role,
            command=partial(_worker_command, role, f"{role}-{index}", common, ring),
            makes_ring=ring if role == "inference" else None,
        )
        for role, count in n_workers.items()
        for index in range(count)
    ]


def _broker_config(config: FarmConfig, n_workers: Mapping[str, int]) -> str:
    sections = {name: asdict(getattr(config, name)) for name in ("limits", "health", "journal")}
    return json.dumps({**sections, "workers": n_workers})


def _broker_command(
    urls: Endpoints, paths: Paths, config_json: str, incarnation: Incarnation
) -> list[str]:
    options = {
        "--client-endpoint": urls.client,
        "--worker-endpoint": urls.worker,
        "--control-fd": str(incarnation.control_fd),
        "--life-fd": str(incarnation.life_fd),
        "--data": str(paths.data.absolute()),
        "--cache": str(paths.cache.absolute()),
        "--config-json": config_json,
    }
    if paths.state is not None:
        options["--state-dir"] = str(paths.state.absolute())
    return _python("farm.broker", options)


def _worker_command(
    role: str, name: str, common: Mapping[str, str], ring: RingLayout, incarnation: Incarnation
) -> list[str]:
    options = {
        "--role": role,
        "--name": name,
        "--life-fd": str(incarnation.life_fd),
        **common,
    }
    if incarnation.ring is not None:
        options["--ring"] = incarnation.ring
        options["--ring-blocks"] = str(ring.n_blocks)
        options["--epoch"] = str(incarnation.number)
    return _python("workers.main", options)


def _python(module: str, options: Mapping[str, str]) -> list[str]:
    # -P: the names farm, workers and shm are common; one in the current directory is not ours.
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-P", "-m", module, *words]


def _model_directory(config: FarmConfig) -> Path:
    directory = Path(config.model.directory or DEMO_MODEL).absolute()
    if not directory.is_dir():
        raise BadConfig(f"model.directory = {str(directory)!r}: there is no such directory")
    return directory
