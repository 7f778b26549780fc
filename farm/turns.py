"""Whose turn it is: jobs that have something to do, kept in order.

The order is one of few levels, so that a turn that was taken moves one entry and not all:

    rank      priority first, then the earliest deadline; restored jobs come last
    client    the one whose jobs got a turn longest ago
    job       of those, the one that got a turn longest ago
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from farm.jobs import Job

NEVER = float("inf")

Rank: TypeAlias = tuple[bool, int, float]
Key: TypeAlias = tuple[Rank, int, bytes, int, int]  #: what jobs are in order of


def rank(job: Job) -> Rank:
    """Of a whole class of jobs; the lowest goes first."""
    return job.is_restored, -job.priority, NEVER if job.deadline is None else job.deadline


class TurnQueue:
    """Jobs of which each may be in or out, by their serial."""

    def __init__(self, client_turns: Mapping[bytes, int]) -> None:
        """``client_turns`` : when each client's jobs last got a turn; see ``moved``."""
        self._client_turns = client_turns
        self._lanes: dict[tuple[Rank, bytes], list[tuple[int, int]]] = {}  #: (last turn, serial)
        self._order: list[tuple[Rank, int, bytes]] = []  #: of the lanes
        self._ranks: defaultdict[bytes, dict[Rank, int]] = defaultdict(dict)  #: -> turn in _order
        self._where: dict[int, tuple[Rank, bytes, int]] = {}  #: serial -> rank, client, last turn

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, serial: int) -> bool:
        return serial in self._where

    def put(self, job: Job) -> None:
        """It has something to do, and its place is the one that it has now."""
        where = (rank(job), job.client, job.last_turn)
        if self._where.get(job.serial) == where:
            return
        self.discard(job.serial)
        self._where[job.serial] = where
        lane = (where[0], job.client)
        if lane not in self._lanes:
            self._lanes[lane] = []
            self._enter(*lane)
        insort(self._lanes[lane], (job.last_turn, job.serial))

    def discard(self, serial: int) -> None:
        where = self._where.pop(serial, None)
        if where is None:
            return
        lane_rank, client, last_turn = where
        lane = self._lanes[lane_rank, client]
        del lane[bisect_left(lane, (last_turn, serial))]
        if not lane:
            del self._lanes[lane_rank, client]
            self._leave(lane_rank, client)

    def moved(self, client: bytes) -> None:
        """The client's last turn has changed: its lanes go where they belong now."""
        for lane_rank in list(self._ranks.get(client, ())):
            self._leave(lane_rank, client)
            self._enter(lane_rank, client)

    def _enter(self, lane_rank: Rank, client: bytes) -> None:
        turn = self._ranks[client][lane_rank] = self._client_turns.get(client, 0)
        insort(self._order, (lane_rank, turn, client))

    def _leave(self, lane_rank: Rank, client: bytes) -> None:
        turn = self._ranks[client].pop(lane_rank)
        if not self._ranks[client]:
            del self._ranks[client]
        del self._order[bisect_left(self._order, (lane_rank, turn, client))]

    def serials(self) -> Iterator[int]:
        """In the order of their turns.  Nothing may be put or discarded meanwhile."""
        for lane_rank, _, client in self._order:
            for _, serial in self._lanes[lane_rank, client]:
                yield serial

    def first_key(self) -> Key | None:
        """Where the first one stands, to be compared with other queues' first ones."""
        if not self._order:
            return None
        lane_rank, turn, client = self._order[0]
        return lane_rank, turn, client, *self._lanes[lane_rank, client][0]
