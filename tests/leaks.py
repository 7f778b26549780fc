"""What a test may leave behind: nothing.  Other farms on the machine do not count."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from shm.segment import PREFIX


def held() -> dict[str, object]:
    """Everything of this process and its children that must be given back."""
    return {
        "shared memory": left_segments(),
        "descriptors": sorted(_descriptors("self")),
        "children": [child.pid for child in psutil.Process().children()],
    }


def held_beside_a_farm() -> dict[str, object]:
    """The same, where a farm lives on: how many segments, not which."""
    return {**held(), "shared memory": len(left_segments())}


def left_segments() -> list[str]:
    """Segments without a living owner, and those that we or our children own."""
    family = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    ours = {path for pid in family for path in _descriptors(str(pid))}
    paths = [Path("/dev/shm", name) for name in os.listdir("/dev/shm") if name.startswith(PREFIX)]
    return sorted(path.name for path in paths if str(path) in ours or not _has_owner(path))


def _has_owner(path: Path) -> bool:
    with suppress(FileNotFoundError), open(path, "rb") as segment:
        try:
            fcntl.flock(segment, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return os.fstat(segment.fileno()).st_nlink == 0  # swept meanwhile
    return True  # gone meanwhile


def _descriptors(pid: str) -> Iterator[str]:
    with suppress(FileNotFoundError, PermissionError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # the listing's own descriptor is closed by now
                yield os.readlink(f"/proc/{pid}/fd/{name}")
