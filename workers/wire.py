"""Typed messages to bytes and back.  The one file that knows msgpack.

A message is a list of frames: a msgpack map first, then its payloads, raw.  The map names the
protocol's version and the message's kind; its other keys are the fields of a dataclass, and are
checked against it one by one: whatever comes out of ``decode`` has the types it says it has.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgpack

from workers.errors import WorkerError

MAX_HEADER_BYTES = 65_536  #: a header of numbers and names; sizes are checked before unpacking

# One byte on the wire can become 60 in memory: no header needs more than this.
_LIMITS = {
    "max_str_len": 4_096,
    "max_bin_len": 4_096,
    "max_array_len": 1_024,
    "max_map_len": 64,
    "max_ext_len": 0,
}


class WireError(WorkerError):
    """The peer sent something that is no message.  ``code`` is stable, for programs."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def kinds(*messages: type) -> dict[str, type]:
    """The messages one side may send, by their names on the wire: ``AudioChunk`` is audio_chunk."""
    return {_wire_name(message): message for message in messages}


def _wire_name(message: type) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in message.__name__).lstrip("_")


def encode(message: object, version: int) -> bytes:
    """A message's header."""
    assert dataclasses.is_dataclass(message)
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    packed: bytes = msgpack.packb({"v": version, "kind": _wire_name(type(message)), **fields})
    return packed


def decode(
    header: bytes, known: Mapping[str, type], version: int, *, is_lenient: bool = False
) -> Any:
    """A message from its header.

    ``is_lenient`` : leave out fields that are not known, as a newer peer may send.

    Raises WireError: BAD_MESSAGE, BAD_VERSION, UNKNOWN_KIND or TOO_LARGE.
    """
    fields = _unpack(header)
    if fields.pop("v", None) != version:
        raise WireError("BAD_VERSION", f"this side speaks version {version}")
    kind = fields.pop("kind", None)
    if not isinstance(kind, str):
        # Never quoted: of lists in lists Python can take more than it can print.
        raise WireError("UNKNOWN_KIND", "a message's kind is a word")
    message = known.get(kind)
    if message is None:
        raise WireError("UNKNOWN_KIND", f"no message of kind {kind[:40]!r}")
    if is_lenient:
        fields = {name: fields[name] for name in fields.keys() & _annotations(message).keys()}
    return _build(message, fields)


def _unpack(header: bytes) -> dict[str, Any]:
    if len(header) > MAX_HEADER_BYTES:
        raise WireError("TOO_LARGE", f"a header of {len(header)} bytes, at most {MAX_HEADER_BYTES}")
    try:
        fields = msgpack.unpackb(header, strict_map_key=True, **_LIMITS)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError("BAD_MESSAGE", "the header is not msgpack, or too large") from error
    if not isinstance(fields, dict):
        raise WireError("BAD_MESSAGE", "the header is not a map")
    return fields


def _build(message: type, fields: dict[str, Any]) -> Any:
    annotations = _annotations(message)
    unknown = fields.keys() - annotations.keys()
    if unknown:
        raise WireError("BAD_MESSAGE", f"unknown field {sorted(map(str, unknown))[0][:40]!r}")
    for name, value in fields.items():
        if not _fits(value, annotations[name]):
            raise WireError("BAD_MESSAGE", f"field {name!r} has the wrong type")
    try:
        return message(**fields)
    except TypeError as error:
        raise WireError("BAD_MESSAGE", "a field is missing") from error


@cache
def _annotations(message: type) -> dict[str, Any]:
    return typing.get_type_hints(message)


def _fits(value: object, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in arguments)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(v, arguments[1]) for v in value.values())
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return bool(isinstance(value, annotation))
