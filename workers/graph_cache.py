"""Model files with other ends, made once and kept on disk by what they were made from.

onnx is only imported where one has to be made: it takes longer than reading one.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

VERSION = 1  #: of what `workers.graph` makes


def cached(cache: Path | None, path: Path, what: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` gives for the model file ``path``, from the cache if it has it.

    Parameters
    ----------
    cache : a directory; None, or one that cannot be written, keeps nothing.
    what : names what is made, with all that it depends on besides the file.
    """
    if cache is None:
        return make()
    kept = cache / f"{_digest(path, what)}.onnx"
    with suppress(OSError):
        return kept.read_bytes()
    made = make()
    with suppress(OSError):  # a disk that is full or read-only costs the next start a second
        _write(kept, made)
    return made


def _digest(path: Path, what: str) -> str:
    """Of the model with its weights, which may lie in files beside it, of any name."""
    digest = hashlib.sha256(f"{VERSION}\n{what}\n".encode())
    beside = [p for p in path.parent.iterdir() if p.is_file() and p.suffix != ".onnx"]
    for part in (path, *sorted(beside)):
        with open(part, "rb") as file:
            of_part = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{part.name if part != path else ''}\n{of_part}\n".encode())
    return digest.hexdigest()


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
