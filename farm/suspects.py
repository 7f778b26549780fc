"""Work that may have killed its worker: who is suspected, who is tried together, who is guilty.

This file knows no workers and no queues.  Three of it are kept: of frames at inference workers,
of frames at compositors, and of spans at audio workers.

    a worker dies         all that it had in hand is suspected, in groups of one job
    a group kills again   it is halved
    a group is done       it is cleared, whatever it was suspected of
    one alone kills       that counts, and at the second time its job fails

All in hand is suspected and not only the oldest, though tasks are done in order: the word that the
oldest is done may have died with the worker, or be read after its death.  An innocent suspect
loses a little time and nothing else, for what counts is a death with a single suspect in hand.
An ordinary task of one is no trial: its first death only makes it a suspect.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Item: TypeAlias = tuple[int, int]  #: serial of a job, and one of its frames or spans

#: One could be an accident, such as an operator's kill -9; each more costs all jobs a restart.
MAX_DEATHS_ALONE = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Suspects of one job that are tried together, with nothing else in their worker's hands."""

    items: tuple[Item, ...]
    n_deaths_alone: int = 0  #: of workers; not counted while it has several items


class Suspects:
    """The suspects of one kind of worker.  True when there are any."""

    def __init__(self, *, max_group: int) -> None:
        self._max_group = max_group
        self._groups: dict[Item, Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, item: Item) -> bool:
        return item in self._groups

    def __iter__(self) -> Iterator[Item]:
        return iter(self._groups)

    def group(self, item: Item) -> tuple[Item, ...]:
        """Those that a suspect is tried with, itself among them."""
        return self._groups[item].items

    def blame(self, tasks: Sequence[Sequence[Item]]) -> Item | None:
        """A worker died with these tasks in hand; gives the item that is guilty now, if one is."""
        in_hand = [item for task in tasks for item in task]
        if len(in_hand) == 1 and in_hand[0] in self._groups:
            return self._count(in_hand[0])
        for task in tasks:
            # Halved also the first time: no second death is needed to say the same.
            largest = min(self._max_group, -(-len(task) // 2))
            for items in _by_job(task, largest):
                self._groups.update(dict.fromkeys(items, Group(items)))
        return None

    def _count(self, alone: Item) -> Item | None:
        n_deaths = self._groups[alone].n_deaths_alone + 1
        self._groups[alone] = Group((alone,), n_deaths)
        return alone if n_deaths == MAX_DEATHS_ALONE else None

    def clear(self, item: Item) -> None:
        """Its task was done, and the worker lived."""
        self._groups.pop(item, None)

    def forget(self, serial: int) -> None:
        """The job is over."""
        self._groups = {item: group for item, group in self._groups.items() if item[0] != serial}

    def validate(self) -> None:
        """Assert what must hold between any two calls."""
        for item, group in self._groups.items():
            assert item in group.items
            assert len({serial for serial, _ in group.items}) == 1, "suspects of several jobs"
            assert len(group.items) <= self._max_group
            assert group.n_deaths_alone == 0 or group.items == (item,)
            assert all(self._groups.get(other) is group for other in group.items)


def _by_job(items: Iterable[Item], largest: int) -> list[tuple[Item, ...]]:
    """The items in groups of one job and at most ``largest``, in their order."""
    of_job: dict[int, list[Item]] = {}
    for item in items:
        of_job.setdefault(item[0], []).append(item)
    return [
        tuple(own[begin : begin + largest])
        for own in of_job.values()
        for begin in range(0, len(own), largest)
    ]
