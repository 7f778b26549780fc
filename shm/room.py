"""How much shared memory may still be taken, and what to do when that is too little.

Two limits hold at once: the size of the tmpfs at /dev/shm (64 MB in a container that was not told
otherwise), and the memory limit of the control group, which tmpfs pages count against.  Past the
first, a write to memory that ``ftruncate`` seemed to give ends the process with SIGBUS (cpython
#114390); past the second, the kernel kills.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shm.errors import NoRoom

SHM_DIR = Path("/dev/shm")
"""Where Linux keeps POSIX shared memory, as files (shm_overview(7))."""
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_SELF = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Room:
    """One limit: what is free under it, and how to raise it."""

    where: str
    free_bytes: int
    remedy: str


def require_room(needed_bytes: int) -> None:
    """Raise `NoRoom` unless every limit leaves that much."""
    tightest = min(rooms(), key=lambda room: room.free_bytes)
    if needed_bytes > tightest.free_bytes:
        raise no_room(needed_bytes, tightest)


def no_room(needed_bytes: int, room: Room) -> NoRoom:
    return NoRoom(
        needed_bytes=needed_bytes,
        free_bytes=room.free_bytes,
        where=room.where,
        remedy=room.remedy,
    )


def rooms() -> list[Room]:
    """Every limit that a new segment counts against; /dev/shm is the first."""
    return [_tmpfs_room(), *cgroup_rooms(CGROUP_ROOT, CGROUP_OF_SELF)]


def _tmpfs_room() -> Room:
    stat = os.statvfs(SHM_DIR)
    return Room(
        where=str(SHM_DIR),
        free_bytes=stat.f_bavail * stat.f_frsize,
        remedy=f"enlarge it (mount -o remount,size=SIZE {SHM_DIR}; docker run --shm-size SIZE), "
        "or ask for smaller batches or fewer processes",
    )


def cgroup_rooms(root: Path, of_self: Path) -> Iterator[Room]:
    """The memory limits (version 2) of our group and of every group above it.

    Under version 1, or where the files are hidden, there is none to see.
    """
    for group in _groups(root, of_self):
        # A group without a limit says "max"; one without the controller has no such file.
        with suppress(FileNotFoundError, PermissionError, ValueError):
            limit = int((group / "memory.max").read_text())
            used = int((group / "memory.current").read_text()) - _reclaimable(group)
            yield Room(
                where=f"the memory limit of control group {group}",
                free_bytes=max(limit - used, 0),
                remedy="raise it (MemoryMax= of the service; docker run --memory SIZE), "
                "or ask for smaller batches or fewer processes",
            )


def _groups(root: Path, of_self: Path) -> Iterator[Path]:
    """Our group and its ancestors, from the inside out."""
    with suppress(FileNotFoundError):
        for line in of_self.read_text().splitlines():
            hierarchy, _, path = line.split(":", 2)
            if hierarchy == "0":
                # ".." leads above what a container is shown.
                names = [name for name in path.split("/") if name not in ("", "..")]
                yield from (root.joinpath(*names[:n]) for n in range(len(names), -1, -1))


def _reclaimable(group: Path) -> int:
    """Cached file pages the kernel would drop first: used, but not in our way.

    The same sum as Kubernetes' working set: current minus inactive_file.
    """
    for line in (group / "memory.stat").read_text().splitlines():
        name, value = line.split()
        if name == "inactive_file":
            return int(value)
    return 0
