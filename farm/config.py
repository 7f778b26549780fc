"""The daemon's configuration: a TOML file, read once, checked at the edge, frozen.

configs/farm.toml holds every key with its unit, range and reason; loaded, it equals `FarmConfig()`.
This file reads no environment and opens nothing but the file it is given.
"""

import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

from farm.errors import BadRequest

MAX_SOCKET_PATH_BYTES = 107
"""sockaddr_un.sun_path is 108 bytes with its closing zero (unix(7))."""
MAX_SHOWN = 200
"""Characters of a wrong value that a message quotes."""


class BadConfig(BadRequest):
    """The configuration cannot be used; the message names file, key, value and what is allowed."""


Rule: TypeAlias = Callable[[object], str]
"""What is wrong with a value, as the end of a sentence; empty when nothing is."""


def whole(least: int, most: int) -> Rule:
    """An integer in a range.  A bool is none, although Python thinks so."""

    def complaint(value: object) -> str:
        is_fine = type(value) is int and least <= value <= most
        return "" if is_fine else f"must be a whole number, {least}..{most}"

    return complaint


def seconds(least: float, most: float) -> Rule:
    """A number in a range; TOML's nan and inf are in none."""

    def complaint(value: object) -> str:
        is_fine = type(value) in (int, float) and least <= value <= most  # type: ignore[operator]
        return "" if is_fine else f"must be a number of seconds, {least:g}..{most:g}"

    return complaint


def yes_or_no(value: object) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def one_of(*words: str) -> Rule:
    def complaint(value: object) -> str:
        return "" if value in words else f"must be one of {', '.join(words)}"

    return complaint


def path_text(value: object) -> str:
    is_fine = isinstance(value, str) and "\0" not in value
    return "" if is_fine else "must be a path"


def absolute_path(value: object) -> str:
    is_fine = isinstance(value, str) and "\0" not in value and (not value or value[0] == "/")
    return "" if is_fine else "must be an absolute path, or empty for the default"


def client_url(value: object) -> str:
    if value == "":
        return ""  # the default
    scheme, _, address = value.partition("://") if isinstance(value, str) else ("", "", "")
    match scheme:
        case "ipc":
            return _ipc_complaint(address)
        case "tcp":
            return _tcp_complaint(address)
    return "must be a URL: ipc:///PATH or tcp://127.0.0.1:PORT"


def _ipc_complaint(path: str) -> str:
    # Neither "*" nor "@name": nobody could find the one, and anybody may connect to the other.
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        return "must be ipc:// and the absolute path of a socket"
    n_bytes = socket_path_bytes(path)
    if n_bytes > MAX_SOCKET_PATH_BYTES:
        return f"is a path of {n_bytes} bytes: must be at most {MAX_SOCKET_PATH_BYTES}"
    return ""


def _tcp_complaint(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        return "must end in a port, 1..65535"
    try:
        is_loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        is_loopback = False
    # Until connections are encrypted and clients have keys, the machine is the border.
    return "" if is_loopback else "must be on 127.0.0.1: TCP from elsewhere would be unencrypted"


def socket_path_bytes(path: str) -> int:
    return len(path.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmSection:
    endpoint: Annotated[str, client_url] = ""
    run_dir: Annotated[str, absolute_path] = ""
    state_dir: Annotated[str, absolute_path] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    directory: Annotated[str, path_text] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSection:
    batch_size: Annotated[int, whole(1, 64)] = 8
    ring_blocks: Annotated[int, whole(2, 64)] = 4
    threads: Annotated[int, whole(0, 64)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSection:
    workers: Annotated[int, whole(1, 16)] = 1


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
        values[key] = kind(value)
    return replace(section, **values)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
