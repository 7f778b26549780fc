"""``python -m farm.broker_main``: the broker's process; the supervisor starts it, nobody else."""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from farm import protocol
from farm.broker import Broker
from farm.catalog import Catalog
from farm.control import Control
from farm.durable import Durable, Keeper, NotDurable
from farm.journal import JournalFailed
from farm.model_catalog import ModelCatalog
from farm.paths import Paths
from farm.places import Capacity
from farm.state import Limits
from workers import wire
from workers.process import die_with_parent
from workers.transport import router

CLIENT_QUEUE = 64  #: messages of one client that may wait to be read; the rest waits with it


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="farm.broker_main")
    for name in ("--client-endpoint", "--worker-endpoint", "--config-json"):
        parser.add_argument(name, required=True)
    for name in ("--control-fd", "--life-fd"):
        parser.add_argument(name, required=True, type=int)
    for name in ("--data", "--cache"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument("--state-dir", type=Path)  # without: nothing outlives us
    arguments = parser.parse_args(argv)
    config = json.loads(arguments.config_json)
    die_with_parent()
    paths = Paths(data=arguments.data, cache=arguments.cache)
    known = {key: config["limits"][key] for key in Limits.__dataclass_fields__}
    try:
        keeper = _keeper(arguments.state_dir, config["journal"])
        clients = router(
            arguments.client_endpoint,
            max_frame_bytes=protocol.MAX_CHUNK_BYTES + wire.MAX_HEADER_BYTES,
            receive_queue=CLIENT_QUEUE,
        )
        workers = router(arguments.worker_endpoint)
    except (OSError, JournalFailed) as error:
        print(f"farm: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        sys.exit(1)
    broker = Broker(
        clients=clients,
        workers=workers,
        control=Control(arguments.control_fd),
        life_fd=arguments.life_fd,
        catalog=Catalog(paths),
        models=ModelCatalog(paths, config["model"]["directory"]),
        limits=Limits(**known),
        capacity=_capacity(config["models"]),
        feature_cache_bytes=config["audio"]["feature_cache_mb"] * 1_000_000,
        keeper=keeper,
        keep_s=config["journal"]["keep_s"],
        expected=config["workers"],
        server=f"lipfarm {version('lipfarm')}",
        epoch=secrets.randbits(48),
    )
    broker.run()
    workers.close()
    keeper.close()


def _capacity(config: dict[str, Any]) -> Capacity:
    return Capacity(
        memory_bytes=config["memory_mb"] * 1_000_000,
        max_loaded=config["max_loaded"],
        eviction=config["eviction"],
        idle_unload_s=config["idle_unload_s"],
        assignment=config["assignment"],
        pinned=frozenset(config["pinned"]),
        devices={model: tuple(names) for model, names in config["devices"].items()},
        load_s=config["load_s"],
    )


def _keeper(state_dir: Path | None, config: dict[str, int]) -> Keeper:
    if state_dir is None:
        return NotDurable()
    return Durable(state_dir, config["max_mb"] * 1_000_000)


if __name__ == "__main__":
    main()
