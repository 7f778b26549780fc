"""Removing what killed farms left in /dev/shm; runs at the start of each.

A living owner holds its segment's lock (`shm.segment`), so whoever gets the lock has found a dead
one's.  Two sweeps at once share the work: the name goes while its finder still holds the lock.
"""

import errno
import fcntl
import os
import stat

from shm.room import SHM_DIR
from shm.segment import PREFIX

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Anybody may put anything into /dev/shm: follow no link, wait for no pipe."""

_NOT_OURS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)
"""Gone meanwhile, another user's, a link, a socket."""


def sweep() -> list[str]:
    """Unlink this user's segments whose owner is dead; gives their names, sorted."""
    names = sorted(name for name in os.listdir(SHM_DIR) if name.startswith(PREFIX))
    return [name for name in names if _removed(name)]


def _removed(name: str) -> bool:
    try:
        fd = os.open(SHM_DIR / name, _OPEN)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return False
        raise
    try:
        return _is_ours(fd) and _has_no_owner(fd) and _unlinked(fd, name)
    finally:
        os.close(fd)


def _is_ours(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _has_no_owner(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlinked(fd: int, name: str) -> bool:
    # Look once more under the lock: the name may have gone, and even come again with another
    # owner, since it was opened.
    try:
        is_same = os.path.samestat(os.fstat(fd), os.lstat(SHM_DIR / name))
    except FileNotFoundError:
        return False
    if is_same:
        os.unlink(SHM_DIR / name)
    return is_same
