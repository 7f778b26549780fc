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

    def __init__(self, known: bytes = b"", room_bytes: int = 0) -> None:
        """``known`` : templates that are there already, as bits; see `to_bits`."""
        self._known = known
        self._new: set[int] = set()
        self._room_bytes = room_bytes

    def __contains__(self, template: int) -> bool:
        at, bit = divmod(template, 8)
        return template in self._new or (at < len(self._known) and bool(self._known[at] >> bit & 1))

    def put(self, template: int, n_bytes: int) -> bool:
        """A whole frame of a template passes; gives whether its template is new on the shelf."""
        if template in self or n_bytes > self._room_bytes:
            return False
        self._new.add(template)
        self._room_bytes -= n_bytes
        return True


def to_bits(templates: Iterable[int]) -> bytes:
    """Indices as bits, the lowest first; those beyond ``MAX_BITS_BYTES`` are left out."""
    bits = bytearray()
    for template in templates:
        at, bit = divmod(template, 8)
        if at < MAX_BITS_BYTES:
            bits.extend(bytes(max(0, at + 1 - len(bits))))
            bits[at] |= 1 << bit
    return bytes(bits)
