"""The daemon's configuration: a TOML file, read once, checked at the edge, frozen.

configs/farm.toml holds every key with its unit, range and reason; loaded, it equals `FarmConfig()`.
This file reads no environment and opens nothing but the file it is given.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from farm.config_rules import (
    MAX_SOCKET_PATH_BYTES,
    absolute_path,
    client_url,
    device_name,
    device_names,
    devices_by_id,
    ids,
    one_of,
    path_text,
    seconds,
    socket_path_bytes,
    whole,
    words_by_name,
    yes_or_no,
)
from farm.errors import BadRequest
from workers.devices import PRECISIONS

MAX_SHOWN = 200
"""Characters of a wrong value that a message quotes."""


class BadConfig(BadRequest):
    """The configuration cannot be used; the message names file, key, value and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmSection:
    endpoint: Annotated[str, client_url] = ""
    run_dir: Annotated[str, absolute_path] = ""
    state_dir: Annotated[str, absolute_path] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    directory: Annotated[str, path_text] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsSection:
    preload: Annotated[tuple[str, ...], ids] = ("default",)
    pinned: Annotated[tuple[str, ...], ids] = ()
    memory_mb: Annotated[int, whole(0, 16_777_216)] = 0
    max_loaded: Annotated[int, whole(0, 64)] = 0
    eviction: Annotated[str, one_of("lru", "lfu")] = "lru"
    idle_unload_s: Annotated[float, seconds(0, 31_536_000)] = 0.0
    load_s: Annotated[float, seconds(1, 3600)] = 300.0
    assignment: Annotated[str, one_of("spread", "round-robin", "least-loaded")] = "spread"
    devices: Annotated[dict[str, tuple[str, ...]], devices_by_id] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSection:
    devices: Annotated[tuple[str, ...], device_names] = ("auto",)
    precision: Annotated[str, one_of(*PRECISIONS)] = "fp32"
    allow_cpu_fallback: Annotated[bool, yes_or_no] = False
    provider_options: Annotated[dict[str, str], words_by_name] = field(default_factory=dict)
    batch_size: Annotated[int, whole(1, 64)] = 8
    ring_blocks: Annotated[int, whole(2, 64)] = 4
    threads: Annotated[int, whole(0, 64)] = 0
    spinning: Annotated[bool, yes_or_no] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSection:
    workers: Annotated[int, whole(1, 16)] = 1
    device: Annotated[str, device_name] = "cpu"
    feature_cache_mb: Annotated[int, whole(0, 65_536)] = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositorsSection:
    count: Annotated[int, whole(0, 256)] = 0
    log_compositing_times: Annotated[bool, yes_or_no] = False
    kernels: Annotated[str, one_of("fastest", "numpy", "numexpr")] = "fastest"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    max_jobs: Annotated[int, whole(1, 10_000)] = 256
    max_jobs_per_client: Annotated[int, whole(1, 10_000)] = 64
    window_frames: Annotated[int, whole(1, 4096)] = 64
    client_silence_s: Annotated[float, seconds(1, 3600)] = 30.0
    detached_s: Annotated[float, seconds(0.1, 86_400)] = 60.0
    client_mb: Annotated[int, whole(1, 65_536)] = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSection:
    keep_s: Annotated[float, seconds(0, 31_536_000)] = 3600.0
    max_mb: Annotated[int, whole(16, 1_048_576)] = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSection:
    heartbeat_s: Annotated[float, seconds(0.05, 60)] = 1.0
    liveness: Annotated[int, whole(2, 100)] = 5
    start_s: Annotated[float, seconds(1, 3600)] = 300.0
    drain_s: Annotated[float, seconds(0, 86_400)] = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmConfig:
    """One field for each section of the file; configs/farm.toml says what the keys mean."""

    farm: FarmSection = field(default_factory=FarmSection)
    model: ModelSection = field(default_factory=ModelSection)
    models: ModelsSection = field(default_factory=ModelsSection)
    inference: InferenceSection = field(default_factory=InferenceSection)
    audio: AudioSection = field(default_factory=AudioSection)
    compositors: CompositorsSection = field(default_factory=CompositorsSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    journal: JournalSection = field(default_factory=JournalSection)
    health: HealthSection = field(default_factory=HealthSection)


def load_config(path: Path | None) -> FarmConfig:
    """What the file says, and the defaults for the rest; raises `BadConfig`."""
    if path is None:
        return FarmConfig()
    return _with_tables(FarmConfig(), _read(path), source=str(path))


def with_overrides(config: FarmConfig, values: Mapping[str, object], *, source: str) -> FarmConfig:
    """Set ``{"section.key": value}``, under the same rules as a file; None leaves a key alone."""
    tables: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        if value is not None:
            section, _, key = name.partition(".")
            tables.setdefault(section, {})[key] = value
    return _with_tables(config, tables, source=source)


@dataclass(frozen=True, slots=True)
class Endpoints:
    client: str  #: where clients connect
    worker: str  #: where our own workers do

    @property
    def socket_files(self) -> list[Path]:
        ipc = "ipc://"
        return [Path(u.removeprefix(ipc)) for u in (self.client, self.worker) if u.startswith(ipc)]


def endpoints(config: FarmConfig, run_dir: Path) -> Endpoints:
    """The farm's two URLs; raises `BadConfig` when the run directory's path is too long."""
    # Both names are equally long, so that one check is enough.
    client, worker = (str(run_dir / name) for name in ("client.sock", "worker.sock"))
    n_bytes = socket_path_bytes(worker)
    if n_bytes > MAX_SOCKET_PATH_BYTES:
        raise BadConfig(
            f"farm.run_dir = {_shown(str(run_dir))}: its sockets' paths take {n_bytes} bytes, "
            f"must be at most {MAX_SOCKET_PATH_BYTES}"
        )
    return Endpoints(client=config.farm.endpoint or f"ipc://{client}", worker=f"ipc://{worker}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is no TOML file: {error}") from error


def _with_tables(config: FarmConfig, tables: Mapping[str, object], *, source: str) -> FarmConfig:
    known = [section.name for section in fields(config)]
    sections = {}
    for name, table in tables.items():
        if name not in known:
            raise BadConfig(f"{name} in {source}: no such section, there are {', '.join(known)}")
        if not isinstance(table, dict):
            raise BadConfig(f"{name} = {_shown(table)} in {source}: must be a section, [{name}]")
        sections[name] = _with_keys(getattr(config, name), name, table, source)
    return replace(config, **sections)


def _with_keys(section: Any, name: str, table: Mapping[str, object], source: str) -> Any:
    hints = get_type_hints(type(section), include_extras=True)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise BadConfig(
                f"{name}.{key} in {source}: no such key, [{name}] has {', '.join(hints)}"
            )
        kind, rule = get_args(hints[key])
        if complaint := rule(value):
            raise BadConfig(f"{name}.{key} = {_shown(value)} in {source}: {complaint}")
        # tuple[str, ...] cannot be called on what was checked already; tuple can.
        values[key] = (get_origin(kind) or kind)(value)
    return replace(section, **values)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
