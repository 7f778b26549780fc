"""Who runs in a farm: the broker and the workers, and the command that starts each."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from farm.config import BadConfig, Endpoints, FarmConfig
from farm.errors import UnknownModel
from farm.model_catalog import ModelCatalog
from farm.paths import Paths
from farm.restart import ChildSpec, Incarnation
from farm.supervisor import BROKER
from shm.layout import RingLayout
from workers.devices import Device
from workers.families import FAMILIES

FAMILY = FAMILIES["synctalk-328-ave"]


def child_specs(
    config: FarmConfig, paths: Paths, urls: Endpoints, *, n_cores: int, n_gpus: int = 0
) -> list[ChildSpec]:
    """Every process of the farm, the broker first.

    ``n_gpus`` : that onnxruntime can use.  Raises BadConfig.
    """
    devices = devices_of(config, n_gpus)
    preloaded = _preloaded(config, ModelCatalog(paths, config.model.directory))
    ring = RingLayout(
        n_blocks=config.inference.ring_blocks,
        slots_per_block=config.inference.batch_size,
        slot_bytes=FAMILY.slot_bytes,
    )
    common = {
        "--broker": urls.worker,
        "--cache": str(paths.graphs.absolute()),
        "--heartbeat-s": str(config.health.heartbeat_s),
        "--silent-s": str(config.health.heartbeat_s * config.health.liveness),
    }
    audio = {"--device": config.audio.device, "--preload": json.dumps(preloaded)}
    inference = _inference_options(config, devices, n_cores)
    compositor = {
        "--kernels": config.compositors.kernels,
        "--log-times": str(int(config.compositors.log_compositing_times)),
    }
    n_compositors = config.compositors.count or max(1, n_cores - 1)
    own = {
        "audio": [audio] * config.audio.workers,
        "inference": [
            {
                **inference,
                "--device": device,
                "--preload": json.dumps(_placed(config, preloaded, devices, index)),
            }
            for index, device in enumerate(devices)
        ],
        "compositor": [compositor] * n_compositors,
    }
    n_workers = {role: len(options) for role, options in own.items()}
    broker = ChildSpec(
        name=BROKER,
        role=BROKER,
        command=partial(_broker_command, urls, paths, _broker_config(config, n_workers)),
    )
    return [broker] + [
        ChildSpec(
            name=f"{role}-{index}",
            role=role,
            command=partial(_worker_command, role, f"{role}-{index}", {**common, **options}, ring),
            makes_ring=ring if role == "inference" else None,
        )
        for role, of_role in own.items()
        for index, options in enumerate(of_role)
    ]


def devices_of(config: FarmConfig, n_gpus: int) -> list[str]:
    """Where inference runs, a worker for each."""
    names = list(config.inference.devices)
    if names != ["auto"]:
        return [str(Device.named(name)) for name in names]
    return [f"cuda:{index}" for index in range(n_gpus)] or ["cpu"]


def _inference_options(config: FarmConfig, devices: list[str], n_cores: int) -> dict[str, str]:
    n_cpus = max(1, devices.count("cpu"))
    return {
        "--batch-size": str(config.inference.batch_size),
        "--threads": str(config.inference.threads or max(1, n_cores // n_cpus)),
        "--spinning": str(int(config.inference.spinning)),
        "--precision": config.inference.precision,
        "--may-fall-back": str(int(config.inference.allow_cpu_fallback)),
        "--provider-options": json.dumps(config.inference.provider_options),
    }


def _preloaded(config: FarmConfig, catalog: ModelCatalog) -> dict[str, str]:
    """The directories of the models that are in memory before the farm is ready, by id."""
    if config.model.directory and not Path(config.model.directory).is_dir():
        directory = str(Path(config.model.directory).absolute())
        raise BadConfig(f"model.directory = {directory!r}: there is no such directory")
    try:
        found = [catalog.find(model) for model in config.models.preload]
    except UnknownModel as error:
        raise BadConfig(f"models.preload: {error}") from error
    return {model.model: str(model.directory) for model in found}


def _placed(
    config: FarmConfig, preloaded: Mapping[str, str], devices: list[str], index: int
) -> dict[str, str]:
    """Those of them that device ``index`` gets: all, or its share where each is on one alone."""
    placed = {}
    for turn, (model, directory) in enumerate(preloaded.items()):
        allowed = config.models.devices.get(model, devices)
        own = [k for k, device in enumerate(devices) if device in allowed]
        if not own:
            raise BadConfig(f"models.devices.{model} = {list(allowed)}: the farm has none of them")
        if index in own if config.models.assignment == "spread" else own[turn % len(own)] == index:
            placed[model] = directory
    return placed


def _broker_config(config: FarmConfig, n_workers: Mapping[str, int]) -> str:
    names = ("limits", "health", "journal", "model", "models", "audio")
    sections = {name: asdict(getattr(config, name)) for name in names}
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
    return _python("farm.broker_main", options)


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
