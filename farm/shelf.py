"""Which templates a client has, so that of a frame only what changes need travel to it.

Farm and client keep the same account by the same rule, and nothing is asked or confirmed.  With
``open`` and ``resume`` the client says which templates it has and how many bytes more it will keep.
From there on the first frame of every template comes whole.  Its template is on the shelf from then
on, if there was room for the frame's bytes, and later frames of it come as changes.  Nothing is
ever taken off: a walk to and fro asks for all of them again.
"""

from collections.abc import Iterable

MAX_BITS_BYTES = 4_096  #: of the list of those it has: 32,768 templates


class Shelf:
    """The account of one line, from one ``accepted`` to the next."""

    def __init__(self, known: Iterable[int] = (), room_bytes: int = 0) -> None:
        self._known = set(known)
        self._room_bytes = room_bytes

    def __contains__(self, template: int) -> bool:
        return template in self._known

    def put(self, template: int, n_bytes: int) -> bool:
        """A whole frame of a template passes; gives whether its template is new on the shelf."""
        if template in self._known or n_bytes > self._room_bytes:
            return False
        self._known.add(template)
        self._room_bytes -= n_bytes
        return True


def to_bits(templates: Iterable[int]) -> bytes:
    """Indices as bits, the lowest first; those beyond ``MAX_BITS_BYTES`` are left out."""
    bits = sum(1 << template for template in templates if template < 8 * MAX_BITS_BYTES)
    return bits.to_bytes(-(-bits.bit_length() // 8), "little")


def from_bits(data: bytes) -> set[int]:
    """The indices of ``to_bits``."""
    return {8 * at + bit for at, byte in enumerate(data) for bit in range(8) if byte >> bit & 1}
