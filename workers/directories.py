"""Put a finished directory in the place of another one, in one step."""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)


def put_in_place(finished: Path, target: Path) -> None:
    """``finished`` becomes ``target``; what was there before is under ``finished`` afterwards.

    Nobody sees a moment without ``target``, and no signal can fall between two steps: there is one.
    Both must lie on one file system.  Raises OSError, and changes nothing.
    """
    try:
        # Succeeds when nothing is there, and when an empty directory is.
        os.rename(finished, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _exchange(finished, target)


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    paths = (os.fsencode(one), os.fsencode(other))
    if libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))
