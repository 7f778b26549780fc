"""What a key of the configuration may be: rules that say what is wrong with a value."""

import ipaddress
from collections.abc import Callable
from typing import TypeAlias

from workers.devices import Device
from workers.ids import is_plain_id

MAX_SOCKET_PATH_BYTES = 107
"""sockaddr_un.sun_path is 108 bytes with its closing zero (unix(7))."""
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


def ids(value: object) -> str:
    is_fine = isinstance(value, list | tuple) and all(
        isinstance(word, str) and is_plain_id(word) for word in value
    )
    return "" if is_fine else "must be a list of ids"


def device_names(value: object) -> str:
    """At least one; "auto" stands alone."""
    if not isinstance(value, list | tuple) or not value:
        return "must be a list of devices"
    if list(value) == ["auto"]:
        return ""
    return next((text for text in map(device_name, value) if text), "")


def device_name(value: object) -> str:
    try:
        Device.named(value if isinstance(value, str) else "")
    except ValueError:
        return "must be devices: cpu, cuda:N or tensorrt:N"
    return ""


def devices_by_id(value: object) -> str:
    if not isinstance(value, dict) or ids(list(value)):
        return "must be a table: an id, and its devices"
    return next((text for text in map(device_names, value.values()) if text), "")


def words_by_name(value: object) -> str:
    is_fine = isinstance(value, dict) and all(isinstance(word, str) for word in value.values())
    return "" if is_fine else "must be a table of names and words"


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
