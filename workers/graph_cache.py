"""What was made of model files, or found out about them, kept on disk by what it came from.

A graph with other ends is made once: onnx is only imported where one has to be made, which takes
longer than reading it.  So is the size of batches that a model takes, which only trying shows.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

VERSION = 2  #: of what `workers.graph` makes


def cached(cache: Path | None, path: Path, what: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` gives for the model file ``path``, from the cache if it has it.

    Parameters
    ----------
    cache : a directory; None, or one that cannot be written, keeps nothing.
    what : names what is made, with all that it depends on besides the file.
    """
    if cache is None:
        return make()
    of_what = hashlib.sha256(f"{VERSION}\n{what}\n".encode())
    of_what.update(_digest_of(path).encode())
    kept = cache / of_what.hexdigest()
    with suppress(OSError):
        return kept.read_bytes()
    made = make()
    with suppress(OSError):  # a disk that is full or read-only costs the next start a second
        _write(kept, made)
    return made


def _digest_of(path: Path) -> str:
    """Of the model with its weights, which may lie in files beside it, of any name."""
    beside = [p for p in path.parent.iterdir() if p.is_file() and p.suffix != ".onnx"]
    digest = hashlib.sha256()
    for part in (path, *sorted(beside)):
        status = part.stat()
        of_part = _digest_of_file(part, status.st_ino, status.st_size, status.st_mtime_ns)
        digest.update(f"{part.name if part != path else ''}\n{of_part}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _digest_of_file(path: Path, *_version: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(kept: Path, made: bytes) -> None:
    """Several workers may start at once: whoever is last wins, with the same bytes."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=kept.parent, prefix=".")
    try:
        with open(descriptor, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(descriptor)  # a power cut must not leave half a model under its name
        os.rename(name, kept)
    except BaseException:
        os.unlink(name)
        raise
