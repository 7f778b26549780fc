"""Valid messages of every kind, and ways to spoil them.  Everything follows from the seed."""

import dataclasses
import random
import types
import typing
from collections.abc import Iterator, Mapping

from farm import protocol as client_side
from workers import protocol as worker_side
from workers import wire

#: name -> version and messages: what each decoder of the farm takes.
DIRECTIONS: dict[str, tuple[int, Mapping[str, type]]] = {
    "client to broker": (client_side.VERSION, client_side.FROM_CLIENT),
    "broker to client": (client_side.VERSION, client_side.FROM_BROKER),
    "worker to broker": (worker_side.VERSION, worker_side.FROM_WORKER),
    "broker to worker": (worker_side.VERSION, worker_side.FROM_BROKER),
}

INTEGERS = (0, 1, -1, 127, 128, 255, 65_536, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -1.5, 1e308, float("inf"), float("nan"))
STRINGS = ("", "x", "anna", "../../etc/passwd", "\x1b[31m", "a\0b", "ä" * 100, "y" * 4_096)


def valid_messages(rng: random.Random, n_each: int = 3) -> Iterator[tuple[str, str, bytes]]:
    """Direction, kind and header, for every kind of both protocols, both ways."""
    for direction, (version, known) in DIRECTIONS.items():
        for kind, message in known.items():
            for _ in range(n_each):
                yield direction, kind, wire.encode(example(message, rng), version)


def example(message: type, rng: random.Random) -> object:
    """A message with fields of the right types, and of values nobody expects."""
    hints = typing.get_type_hints(message)
    return message(**{f.name: value(hints[f.name], rng) for f in dataclasses.fields(message)})


def value(annotation: object, rng: random.Random) -> object:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return value(rng.choice(arguments), rng)
    if origin is list:
        return [value(arguments[0], rng) for _ in range(rng.randint(0, 4))]
    if origin is dict:
        return {f"key {k}": value(arguments[1], rng) for k in range(rng.randint(0, 4))}
    choices = {
        int: INTEGERS,
        float: FLOATS,
        str: STRINGS,
        bool: (False, True),
        bytes: (b"", b"\xff", bytes(4_096)),
    }
    return rng.choice(choices[annotation]) if annotation in choices else None


def spoiled(message: bytes, other: bytes, rng: random.Random) -> bytes:
    """One message with one to four things done to it; ``other`` is there to be spliced in."""
    for _ in range(rng.randint(1, 4)):
        message = rng.choice(MUTATIONS)(message, other, rng)
    return message


def _flip_bits(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(message)
    for _ in range(rng.randint(1, 3) if spoilt else 0):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _set_byte(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(message) + 1)
    return message[:at] + rng.randbytes(1) + message[at + 1 :]


def _truncate(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    return message[: rng.randrange(len(message) + 1)]


def _splice(message: bytes, other: bytes, rng: random.Random) -> bytes:
    return message[: rng.randrange(len(message) + 1)] + other[rng.randrange(len(other) + 1) :]


def _repeat(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(message) + 1) for _ in range(2))
    return message[:last] + message[first:last] * rng.randint(1, 8) + message[last:]


def _nest(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    """Lists or maps in one another, some deeper than msgpack or Python can go."""
    at = rng.randrange(len(message) + 1)
    level = rng.choice([b"\x91", b"\x81\xa1k", b"\xdc\x00\x01", b"\xde\x00\x01\xa1k"])
    return message[:at] + level * rng.choice([1, 10, 600, 2_000]) + message[at:]


def _claim_length(message: bytes, _other: bytes, rng: random.Random) -> bytes:
    """A header of a string, array, map or extension that promises more than there is."""
    at = rng.randrange(len(message) + 1)
    kind = rng.choice(b"\xc4\xc5\xc6\xc7\xc8\xc9\xd9\xda\xdb\xdc\xdd\xde\xdf")
    length = rng.choice([0, 1, 0x7F, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF])
    n_bytes = {0: 1, 1: 2, 2: 4}[rng.randrange(3)]
    promised = (length & (1 << 8 * n_bytes) - 1).to_bytes(n_bytes, "big")
    return message[:at] + bytes([kind]) + promised + message[at:]


MUTATIONS = (_flip_bits, _set_byte, _truncate, _splice, _repeat, _nest, _claim_length)
