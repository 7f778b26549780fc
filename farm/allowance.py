"""How many words that lead nowhere the broker hears: garbage, questions, refused jobs.

All clients share one allowance.  When it is used up the broker reads nothing from any client until
some is left again.  ZeroMQ takes turns between clients, so that a word that counts waits at most
for one word of each that floods, and the flood itself waits with who sends it.
"""

from typing import Any

from farm import protocol

RATE_HZ = 1_000.0  #: 3 % of the broker's core
BURST = 2_000.0  #: as many as fifty programs that start at once and open ten jobs each
OPEN_COST = 4.0  #: looks the avatar up, and writes to the journal
CREDIT_COST = 1 / 16  #: honest ones come for 16 frames, those of a plain client for one


class Allowance:
    """A token bucket; ``now`` in seconds, on any clock that does not go back."""

    def __init__(self, now: float, *, rate_hz: float = RATE_HZ, burst: float = BURST) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._left = burst
        self._at = now

    def spend(self, cost: float, now: float) -> None:
        self._left = min(self._left + self._rate_hz * (now - self._at), self._burst) - cost
        self._at = now

    def wait_s(self, now: float) -> float:
        """Until the next word may be heard; 0 while any is allowed."""
        missing = 1 - self._left - self._rate_hz * (now - self._at)
        return max(0.0, missing / self._rate_hz)


def cost(message: Any, *, is_at_work: bool, n_payload_bytes: int) -> float:
    """What a message counts; ``is_at_work`` : it is about a running job of who sent it."""
    match message:
        case protocol.Audio() if is_at_work and n_payload_bytes > 0:
            return 0.0  # what was granted bounds these
        case protocol.End() if is_at_work:
            return 0.0
        case protocol.Credit() if is_at_work:
            return CREDIT_COST
        case protocol.Open():
            return OPEN_COST
    return 1.0
