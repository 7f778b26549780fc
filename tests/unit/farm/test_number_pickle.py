import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.number_pickle import NotNumbers, numbers

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NUMBERS = st.recursive(
    st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple),
)


class Touch:
    """What a hostile pickle does."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self._call = (call, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@settings(deadline=None)
@given(value=NUMBERS, protocol=st.sampled_from(PROTOCOLS))
def test_numbers_come_back_as_they_were_written(value: object, protocol: int) -> None:
    assert numbers(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "float32", "float64"])
def test_numbers_of_numpys_are_numbers(dtype: str, protocol: int) -> None:
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 100]]).astype(dtype)

    found = numbers(pickle.dumps([tuple(box) for box in boxes], protocol))

    assert found == [(1, 2, 3, 4), (5, 6, 7, 100)]
    assert {type(number) for box in found for number in box} <= {int, float}


def test_an_older_numpys_names_are_known_too() -> None:
    content = pickle.dumps(np.int64(7), 2).replace(b"numpy._core.", b"numpy.core.")

    assert numbers(content) == 7


def test_bytes_in_another_order_are_refused_not_misread() -> None:
    content = pickle.dumps(np.int64(7))
    assert content.count(b"<") == 1

    with pytest.raises(NotNumbers):
        numbers(content.replace(b"<", b">"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_is_refused_and_not_made(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "touched"
    hostile = pickle.dumps([(1, 2, 3, Touch(os.system, f"touch {target}"))], protocol)

    with pytest.raises(NotNumbers, match=r"would call 'posix\.system'"):
        numbers(hostile)

    assert not target.exists()
    pickle.loads(hostile)
    assert target.exists(), "the pickle was not hostile after all"


@pytest.mark.parametrize(
    "value",
    [
        {1: 2}, {1}, np.zeros(3), slice(1, 2), Touch(eval, "1"), Touch(getattr, "x", "y"),
        Touch(np.dtype, "O"), Touch(np.dtype, "i8", True, True), bytearray(b"x"), 1j,
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(NotNumbers):
        numbers(pickle.dumps([value]))


@pytest.mark.parametrize(
    "content",
    [
        b"", b".", b"x", b"0.", b"K\x01K\x02.", b"t.", b"(K\x01", b"h\x00.", b"K\x01K\x02a.",
        b"]R.", b"]b.", b"\x93.", b"r\xff\xff\xff\xff.", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"I" + 5000 * b"9" + b"\n.", b"cx\ny\n)R.", b"\x82\x01.", b"P1\n.", b"Q.", b"K\x01\x86.",
    ],
    ids=lambda content: repr(content[:12]),
)  # fmt: skip
def test_what_is_no_pickle_is_refused(content: bytes) -> None:
    with pytest.raises(NotNumbers):
        numbers(content)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_pickle_gives_something_or_is_refused(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps([tuple(box) for box in np.arange(8).reshape(2, 4)]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(content)))

    try:
        numbers(bytes(content[:kept]))
    except NotNumbers:
        return
