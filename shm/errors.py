"""What can go wrong with shared memory, and whose fault it is."""

from enum import Enum


class ShmError(Exception):
    """Root of this layer's errors."""


class NoRoom(ShmError):
    """The machine has not the memory asked for: the operator's to mend, the message says how."""

    def __init__(self, *, needed_bytes: int, free_bytes: int, where: str, remedy: str) -> None:
        super().__init__(needed_bytes, free_bytes, where, remedy)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"a segment needs {_mib(self.needed_bytes)} MiB, "
            f"{self.where} has {_mib(self.free_bytes)} MiB free: {self.remedy}"
        )


class RingFull(ShmError):
    """Every block is being written or read: wait for a release.  Nobody's fault."""


class StaleDescriptor(ShmError):
    """A descriptor names another ring, an earlier epoch or generation, or no slot: drop it.

    Its sender spoke of bytes that are gone.  After a restart that is normal, otherwise it broke
    the protocol.
    """


class NoSegment(ShmError):
    """No segment has that name: its owner is gone, so ask for the new ring's name."""


class NotARing(ShmError):
    """The segment holds no ring of this version and size: two versions of lipfarm met, or a bug."""


class IllegalTransition(ShmError):
    """A move that the table of states does not know: we are wrong.  Nothing was changed."""

    def __init__(self, subject: str, state: Enum, event: str) -> None:
        super().__init__(subject, state, event)
        self.subject = subject
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"{self.subject} is {self.state.name}: {self.event} is not legal"


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f}"
