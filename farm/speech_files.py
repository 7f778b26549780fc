"""The speech of accepted jobs on disk: one append-only file a job, samples as they were received.

The broker's loop never waits for the disk here: a thread of its own flushes, and only what it has
flushed is called kept.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

DIRECTORY = "speech"
SUFFIX = ".pcm"


class SpeechFiles:
    """Files by the journal's keys.  Made once, closed with the process."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / DIRECTORY
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._files: dict[int, int] = {}  #: key -> descriptor
        self._sizes: dict[int, int] = {}
        self._dirty: set[int] = set()
        self._flusher: ThreadPoolExecutor | None = None
        self._flush: Future[dict[int, int]] | None = None

    @property
    def n_bytes(self) -> int:
        """Of all files that are open."""
        return sum(self._sizes.values())

    def open(self, key: int) -> int:
        """Begin a file, or go on with it; gives its bytes.  Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._files[key] = fd = os.open(self._path(key), flags, 0o600)
        self._sizes[key] = os.fstat(fd).st_size
        return self._sizes[key]

    def append(self, key: int, payload: bytes) -> None:
        """Raises OSError; then the file ends where it ended before."""
        fd, size = self._files[key], self._sizes[key]
        try:
            n = os.write(fd, payload)
            if n < len(payload):
                os.write(fd, payload[n:])  # raises, for the reason why it was cut short
        except OSError:
            os.ftruncate(fd, size)
            raise
        self._sizes[key] = size + len(payload)
        self._dirty.add(key)

    def cut(self, key: int, n_bytes: int) -> None:
        """Forget what follows: half a sample that a full disk left."""
        os.ftruncate(self._files[key], n_bytes)
        self._sizes[key] = n_bytes

    def read(self, key: int, begin: int, n_bytes: int) -> bytes:
        return os.pread(self._files[key], n_bytes, begin)

    def remove(self, key: int) -> None:
        """Its job is over."""
        self._dirty.discard(key)
        self._sizes.pop(key, None)
        if (fd := self._files.pop(key, None)) is not None:
            self._close(fd)
        with suppress(FileNotFoundError):
            self._path(key).unlink()

    def remove_others(self, keys: set[int]) -> None:
        """Files of jobs that nobody remembers: their acceptance was never committed."""
        for path in self._directory.glob(f"*{SUFFIX}"):
            if path.stem not in map(str, keys):
                path.unlink()

    def flushed(self) -> dict[int, int]:
        """What has newly reached the disk: key -> bytes in all.  Begins the next flush."""
        done: dict[int, int] = {}
        if self._flush is not None and self._flush.done():
            with suppress(OSError):  # not kept; said by the next append
                done = self._flush.result()
            self._flush = None
        if self._flush is None and self._dirty:
            if self._flusher is None:
                self._flusher = ThreadPoolExecutor(1)
            wanted = {key: (os.dup(self._files[key]), self._sizes[key]) for key in self._dirty}
            self._dirty.clear()
            self._flush = self._flusher.submit(_flush, wanted)
        return done

    def close(self) -> None:
        if self._flusher is not None:
            self._flusher.shutdown()
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _close(self, fd: int) -> None:
        os.close(fd)

    def _path(self, key: int) -> Path:
        return self._directory / f"{key}{SUFFIX}"


def _flush(files: dict[int, tuple[int, int]]) -> dict[int, int]:
    """In the flusher's thread.  Descriptors are its own: a job may end meanwhile."""
    try:
        for fd, _ in files.values():
            os.fdatasync(fd)
    finally:
        for fd, _ in files.values():
            os.close(fd)
    return {key: n_bytes for key, (_, n_bytes) in files.items()}
