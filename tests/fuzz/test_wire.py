"""Whatever bytes come: a message with the types it says it has, or a WireError."""

import dataclasses
import importlib.util
import random
import typing
from typing import Any

import msgpack
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import fuzz_wire
from tests.fuzz.messages import DIRECTIONS, example, spoiled, valid_messages
from tests.fuzz.mutate_messages import mutate
from workers import wire

MEMORY_KIB = 8 * 1024  #: of growth: 20,000 kept messages of 2 KB would be five times this

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
directions = st.sampled_from(list(DIRECTIONS))


def take(direction: str, header: bytes, *, is_lenient: bool) -> Any:
    """The decoder; a WireError is an answer and None here, anything else fails the test."""
    version, known = DIRECTIONS[direction]
    refusal: wire.WireError | None = None
    message = None
    try:
        message = wire.decode(header, known, version, is_lenient=is_lenient)
    except wire.WireError as error:
        refusal = error
    if refusal is None:
        assert type(message) in known.values()
    else:
        assert refusal.code in ("BAD_MESSAGE", "BAD_VERSION", "UNKNOWN_KIND", "TOO_LARGE")
        assert len(str(refusal)) < 200, "an answer is no echo"
    return message


@given(directions, st.binary(max_size=2_000), st.booleans())
@also("client to broker", b"\xdd\xff\xff\xff\xff", False)
@also("client to broker", b"\xdf\xff\xff\xff\xff", False)
@also("client to broker", b"\xc6\xff\xff\xff\xff", False)
@also("client to broker", b"\xc7\x00\x01", False)
@also("client to broker", b"\x91" * 60_000, False)
@also("client to broker", b"\x81\xa1k" * 20_000, False)
@also("client to broker", b"\x81\xc0\xc0", False)
@also("client to broker", b"\x81\xa2\xff\xfe\xc0", True)
@also("client to broker", bytes(wire.MAX_HEADER_BYTES + 1), False)
@also("client to broker", b"\x82\xa1v\x01\xa4kind" + b"\x91" * 1_000 + b"\x01", False)
def test_random_bytes(direction: str, header: bytes, is_lenient: bool) -> None:
    take(direction, header, is_lenient=is_lenient)


@given(directions, st.dictionaries(st.text() | st.binary(), values, max_size=6), st.booleans())
def test_any_map(direction: str, fields: dict[str | bytes, Any], is_lenient: bool) -> None:
    take(direction, packed({**fields, "v": 1}), is_lenient=is_lenient)


@given(directions, values, values)
def test_any_version_and_any_kind(direction: str, version: Any, kind: Any) -> None:
    message = take(direction, packed({"v": version, "kind": kind}), is_lenient=False)

    assert message is None or (version == 1 and kind in DIRECTIONS[direction][1])


@pytest.mark.parametrize(
    ("direction", "kind"),
    [(direction, kind) for direction, (_, known) in DIRECTIONS.items() for kind in known],
)
@settings(max_examples=20)
@given(data=st.data())
def test_a_field_of_another_type(direction: str, kind: str, data: st.DataObject) -> None:
    version, known = DIRECTIONS[direction]
    good = dataclasses.asdict(typing.cast(Any, example(known[kind], random.Random(0))))
    for name in good:
        fields = {**good, name: data.draw(values)}
        message = take(direction, packed({"v": version, "kind": kind, **fields}), is_lenient=False)

        if message is not None:
            assert wire.decode(wire.encode(message, version), known, version) is not None


@given(st.integers(0, 2**32), st.booleans())
def test_spoiled_messages(seed: int, is_lenient: bool) -> None:
    rng = random.Random(seed)
    corpus = list(valid_messages(rng, n_each=1))
    (direction, _, message), (_, _, other) = rng.choice(corpus), rng.choice(corpus)

    take(direction, spoiled(message, other, rng), is_lenient=is_lenient)


def test_many_spoiled_messages_leave_memory_as_it_was(pytestconfig: pytest.Config) -> None:
    tally = mutate(1_000_000 if pytestconfig.getoption("--all") else 20_000, seed=20_261_124)

    assert tally.surprises == []
    assert tally.outcomes.keys() >= {"a message", "BAD_MESSAGE", "BAD_VERSION", "UNKNOWN_KIND"}
    assert tally.grown_kib < MEMORY_KIB


def test_the_atheris_target_takes_its_corpus() -> None:
    seeds = sorted(fuzz_wire.CORPUS.iterdir())

    assert len(seeds) == sum(len(known) for _, known in DIRECTIONS.values())
    for seed in seeds:
        fuzz_wire.test_one_input(seed.read_bytes())
    fuzz_wire.test_one_input(b"")
    if importlib.util.find_spec("atheris") is None:
        with pytest.raises(ModuleNotFoundError, match="atheris"):
            fuzz_wire.main()


def packed(fields: dict[Any, Any]) -> bytes:
    header: bytes = msgpack.packb(fields)
    return header
