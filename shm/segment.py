"""Creating, attaching and unlinking segments: the one file that does.

The supervisor creates and unlinks, workers attach.  A creator holds an exclusive ``flock`` on its
descriptor for life; the kernel drops it with the process, however that ends, so `shm.sweep` can
tell a dead owner's segment where a pid could not (containers number theirs anew).

Nothing here is known to multiprocessing's resource tracker, on either side.  For an attacher it
would destroy the segment under everybody when the attacher exits (cpython #82300, before Python
3.13).  For the owner it would be a second janitor, racing the sweep by name, that dies with the
control group when it is needed most.  So: the owner unlinks at close, and after a kill -9 the next
start sweeps.
"""

import errno
import fcntl
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import shared_memory
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from shm.errors import NoSegment, NotARing
from shm.fail_points import fail_point
from shm.room import SHM_DIR, no_room, require_room, rooms

PREFIX = "lipfarm-"
"""Every segment of every farm starts so, and nothing else may: the sweep goes by it."""

_NAME = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9._-]{1,200}")
"""Within the 255 bytes of a file name, and never a path."""


def segment_name(*, farm: str, what: str, counter: int) -> str:
    """A name for the ``counter``-th segment that the farm instance ``farm`` uses for ``what``."""
    return _checked(f"{PREFIX}{farm}-{what}-{counter}")


def create(name: str, size: int) -> "Segment":
    """A new segment of ``size`` bytes, all zero and all really there; ours until closed.

    Raises `NoRoom`, and `FileExistsError` if the name is taken.
    """
    _checked(name)
    require_room(size)
    while True:
        segment = Segment(_Mapping(name, size=size), is_owner=True)
        fail_point("segment.unlocked")
        try:
            # Waits only for a sweep that came between the two lines and is looking.
            fcntl.flock(segment.fileno(), fcntl.LOCK_EX)
            fail_point("segment.unreserved")
            if segment.is_linked():
                _reserve(segment)
                return segment
        except BaseException:
            segment.close()
            raise
        segment.close()  # swept before the lock was ours: once more


def attach(name: str) -> "Segment":
    """A segment that another process created; closing it leaves it to its owner.

    Raises `NoSegment`.  Takes no lock: an orphan that still looks must not keep the name alive.
    """
    _checked(name)
    try:
        return Segment(_Mapping(name), is_owner=False)
    except FileNotFoundError:
        raise NoSegment(name) from None
    except ValueError:  # mmap's word for a file of no bytes
        raise NotARing(f"{name} is empty") from None


class Segment:
    """A mapped segment.  Use it in ``with``: closing unmaps it and, for the owner, unlinks it.

    An array over memory taken from ``view`` may outlive the segment: what it covers stays mapped
    until it dies, and no process is told (``BufferError``) to tidy its variables first.
    """

    def __init__(self, mapping: "_Mapping", *, is_owner: bool) -> None:
        self.name = mapping.name
        self.size = mapping.size
        self.is_owner = is_owner
        self._mapping = mapping
        self._parts: list[memoryview] = []

    @property
    def view(self) -> memoryview:
        """All bytes, writable."""
        view = self._mapping.buf
        if view is None:
            raise ValueError(f"segment {self.name} is closed")
        return view

    def part(self, start: int, stop: int) -> memoryview:
        """Bytes ``start`` to ``stop``, to keep as long as the segment: closing releases it."""
        return self._keep(self.view[start:stop])

    def words(self, n_words: int) -> memoryview:
        """The first words, as unsigned 64-bit integers; kept and released like `part`."""
        return self._keep(self.part(0, n_words * 8).cast("Q"))

    def fileno(self) -> int:
        return self._mapping.fileno()

    def is_linked(self) -> bool:
        """Whether the name still leads here."""
        return os.fstat(self.fileno()).st_nlink > 0

    def close(self) -> None:
        """Unmap, and unlink if we created it.  A second call does nothing."""
        if self._mapping.buf is None:
            return
        # Before the lock goes with the descriptor, or a sweep could be at the name too.
        if self.is_owner and self.is_linked():
            _path(self.name).unlink(missing_ok=True)
        for part in reversed(self._parts):
            with suppress(BufferError):  # an array lives: see the class
                part.release()
        self._parts.clear()
        self._mapping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep(self, part: memoryview) -> memoryview:
        self._parts.append(part)
        return part


def _reserve(segment: Segment) -> None:
    """Take the pages now: otherwise a full tmpfs is a SIGBUS in whoever writes first."""
    try:
        os.posix_fallocate(segment.fileno(), 0, segment.size)
    except OSError as error:
        # Somebody else took it since we looked.
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise no_room(segment.size, rooms()[0]) from error
        raise


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"segment name {name!r}: must match {_NAME.pattern}")
    return name


def _path(name: str) -> Path:
    return SHM_DIR / name


class _Mapping(shared_memory.SharedMemory):
    """The standard library's shared memory without its surprises.

    It never registers with the resource tracker, does not unlink somebody else's segment when
    mapping it fails, and closes while arrays over it still live.
    """

    _fd: int
    _buf: memoryview | None
    _mmap: object

    def __init__(self, name: str, *, size: int = 0) -> None:
        self._is_new = size > 0
        try:
            with _no_tracker() as options:
                super().__init__(name, create=self._is_new, size=size, **options)
        except BaseException:
            self.close()  # the descriptor: it may be open although the map failed
            raise

    def fileno(self) -> int:
        return self._fd

    def unlink(self) -> None:
        """The library calls this when mapping fails; otherwise `Segment.close` sees to the name."""
        if self._is_new:
            _path(self.name).unlink(missing_ok=True)

    def close(self) -> None:
        try:
            super().close()
        except BufferError:
            # The map goes with its last array: whoever looks at it holds it.
            self._buf = self._mmap = None
            super().close()


_tracker_lock = threading.Lock()


@contextmanager
def _no_tracker() -> Iterator[dict[str, Any]]:
    """What to pass to SharedMemory, and where, so that it registers nothing.

    Registering and unregistering afterwards would not do: processes may share a tracker, which
    keeps a set, so the attacher's unregistering would undo what somebody else registered.
    """
    if sys.version_info >= (3, 13):
        yield {"track": False}
        return
    with _tracker_lock:
        # The name in that module only: locks and queues find the real tracker where it is.
        tracker = vars(shared_memory)["resource_tracker"]
        vars(shared_memory)["resource_tracker"] = SimpleNamespace(register=lambda *_: None)
        try:
            yield {}
        finally:
            vars(shared_memory)["resource_tracker"] = tracker
