"""Read a pickle of numbers without running it.

A pickle is a program, and unpickling it runs whatever it names.  Here its opcodes are only looked
at, and those that write down numbers, tuples and lists are carried out.  numpy's numbers, of which
Wav2Lip's boxes are made, are written as calls: those few are recognised and their bytes read.
Nothing is imported, and nothing is called that the pickle names.
"""

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Value: TypeAlias = Any


class NotNumbers(ValueError):
    """The pickle is damaged, or would give something else than numbers."""


def numbers(content: bytes) -> Value:
    """What the pickle ``content`` writes down: int and float in lists and tuples.

    Texts, bytes, None and bool may be among them: check what comes.  Raises NotNumbers.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            machine.carry_out(opcode.name, argument)
        (value,) = machine.stack
    except NotNumbers:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise NotNumbers("is no sound pickle") from error
    return value


@dataclass(frozen=True, slots=True)
class _Name:
    """What a pickle would import."""

    path: str


@dataclass(frozen=True, slots=True)
class _NumberType:
    """A dtype of numpy's: how the bytes of its numbers are read."""

    struct_code: str


#: By numpy's names; the bytes come little-endian.
_STRUCT_CODES = {
    "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip

_ARGUMENTS = frozenset(
    (
        "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT",
        "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
    )
)  # fmt: skip
"""Opcodes that write their argument down; text and bytes are what numpy's numbers need."""

_CONSTANTS: dict[str, Value] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_TO_MEMO = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_FROM_MEMO = frozenset(("GET", "BINGET", "LONG_BINGET"))
_SILENT = frozenset(("PROTO", "FRAME", "STOP"))


@dataclass(slots=True)
class _Machine:
    """What unpickling keeps while it goes."""

    stack: list[Value] = field(default_factory=list)
    _marks: list[int] = field(default_factory=list)  #: heights of the stack
    _memo: dict[int, Value] = field(default_factory=dict)

    def carry_out(self, name: str, argument: Any) -> None:
        if name in _ARGUMENTS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in _TO_MEMO:
            self._memo[argument] = self.stack[-1]
        elif name in _FROM_MEMO:
            self.stack.append(self._memo[argument])
        elif name in _ACTIONS:
            _ACTIONS[name](self)
        elif name == "GLOBAL":
            self.stack.append(_Name(argument.replace(" ", ".")))
        elif name not in _SILENT:
            raise NotNumbers(f"holds something else than numbers (opcode {name})")

    def mark(self) -> None:
        self._marks.append(len(self.stack))

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def begin_list(self) -> None:
        self.stack.append([])

    def end_list(self) -> None:
        self.stack.append(self._pop_to_mark())

    def end_tuple(self) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def append(self) -> None:
        self._extend(self._pop(1))

    def appends(self) -> None:
        self._extend(self._pop_to_mark())

    def name(self) -> None:
        module, name = self._pop(2)
        self.stack.append(_Name(f"{module}.{name}"))

    def call(self) -> None:
        """A number of numpy's, in three steps; whatever else would be called is refused."""
        function, arguments = self._pop(2)
        match function, arguments:
            case _Name("numpy.dtype"), (str(code), False, True) if code in _STRUCT_CODES:
                self.stack.append(_NumberType(_STRUCT_CODES[code]))
            case _Name("numpy._core.multiarray.scalar" | "numpy.core.multiarray.scalar"), (
                _NumberType(code),
                bytes(content),
            ):
                self.stack.append(struct.unpack(f"<{code}", content)[0])
            case _Name("_codecs.encode"), (str(text), "latin1"):
                self.stack.append(text.encode("latin1"))  # bytes, in pickles of protocol 2
            case _Name(path), _:
                raise NotNumbers(f"would call {path[:60]!r}, and it is read, not run")
            case _:
                raise NotNumbers("is no sound pickle")

    def set_state(self) -> None:
        """Of a dtype: its byte order."""
        dtype, state = self._pop(2)
        match dtype, state:
            case _NumberType(), (3, "<" | "|", None, None, None, -1, -1, 0):
                self.stack.append(dtype)
            case _:
                raise NotNumbers("holds something else than numbers (opcode BUILD)")

    def _pop(self, n: int) -> list[Value]:
        if len(self.stack) < n:
            raise IndexError
        values = self.stack[-n:]
        del self.stack[-n:]
        return values

    def _pop_to_mark(self) -> list[Value]:
        height = self._marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def _extend(self, values: list[Value]) -> None:
        if not isinstance(self.stack[-1], list):
            raise NotNumbers("is no sound pickle")
        self.stack[-1].extend(values)


_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "MEMOIZE": _Machine.memoize,
    "EMPTY_LIST": _Machine.begin_list,
    "LIST": _Machine.end_list,
    "TUPLE": _Machine.end_tuple,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
}
