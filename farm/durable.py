"""What outlives the broker: promises in the journal, speech in files.  Or nothing, without a place.

`NotDurable` is a farm that lives as short as its one client: it promises nothing.
"""

import os
import sys
from pathlib import Path
from typing import Protocol

from farm.journal import Entry, Journal, JournalUnusable, move_aside
from farm.speech_files import DIRECTORY, SpeechFiles
from shm.fail_points import fail_point

RESERVE_BYTES = 64 << 20  #: of the disk: what runs goes on, what is new must wait


class Keeper(Protocol):
    """What the broker asks of either."""

    def entries(self) -> list[Entry]: ...
    def no_room(self) -> str: ...
    def accept(self, entry: Entry) -> int: ...
    def take_over(self, job_id: str) -> None: ...
    def hear(self, key: int, payload: bytes) -> None: ...
    def end_speech(self, job_id: str, total_samples: int) -> None: ...
    def acknowledge(self, job_id: str, next_frame: int) -> None: ...
    def end(self, job_id: str, key: int, outcome: dict[str, object]) -> None: ...
    def forget(self, job_id: str) -> None: ...
    def commit(self) -> None: ...
    def flushed(self) -> dict[int, int]: ...
    def close(self) -> None: ...


class Durable:
    """A state directory.  Only one farm has it: its supervisor holds the lock."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Raises JournalFailed and OSError; what is unusable is moved aside, with one line."""
        self._directory = directory
        self._max_bytes = max_bytes
        try:
            self._journal = Journal(directory)
            self._entries = self._journal.entries()
        except JournalUnusable as error:
            aside = move_aside(directory, [directory / DIRECTORY])
            print(f"farm: the journal is {error}: moved to {aside}", file=sys.stderr)
            self._journal = Journal(directory)
            self._entries = []
        self._speech = SpeechFiles(directory)
        self._speech.remove_others({entry.key for entry in self._entries if entry.ended is None})
        self._over: set[int] = set()  #: keys whose speech nobody needs after the next commit
        self._lost: set[int] = set()  #: keys whose files the disk refused to go on with

    def entries(self) -> list[Entry]:
        """The jobs of the broker before."""
        return self._entries

    def reopen(self, key: int, sample_bytes: int) -> int:
        """The speech of such a job; gives its bytes, all of whole samples."""
        n_bytes = self._speech.open(key)
        if n_bytes % sample_bytes:
            n_bytes -= n_bytes % sample_bytes
            self._speech.cut(key, n_bytes)
        return n_bytes

    def speech(self, key: int, begin: int, n_bytes: int) -> bytes:
        return self._speech.read(key, begin, n_bytes)

    def no_room(self) -> str:
        """Why no job can be accepted now; empty when one can."""
        room = os.statvfs(self._directory)
        if room.f_bavail * room.f_frsize < RESERVE_BYTES:
            return "the farm's disk is full"
        if self._speech.n_bytes > self._max_bytes:
            return "the farm keeps as much speech as it may"
        return ""

    def accept(self, entry: Entry) -> int:
        """A job is promised with the next commit; gives its key.  Raises OSError."""
        key = self._journal.accept(entry)
        fail_point("journal.job_accepted")
        self._speech.open(key)
        return key

    def take_over(self, job_id: str) -> None:
        """A new broker goes on with it: known with the next commit."""
        self._journal.take_over(job_id)

    def hear(self, key: int, payload: bytes) -> None:
        """Speech of a job.  If the disk refuses it, its client keeps it, and all that follows."""
        if key in self._lost:
            return
        try:
            self._speech.append(key, payload)
            fail_point("journal.speech_appended")
        except OSError as error:
            self._lost.add(key)
            print(f"farm: speech cannot be kept: {error.strerror}", file=sys.stderr)

    def end_speech(self, job_id: str, total_samples: int) -> None:
        self._journal.end_speech(job_id, total_samples)

    def acknowledge(self, job_id: str, next_frame: int) -> None:
        self._journal.acknowledge(job_id, next_frame)

    def end(self, job_id: str, key: int, outcome: dict[str, object]) -> None:
        """It will not be run again: its speech goes with the next commit."""
        self._journal.end(job_id, outcome)
        self._over.add(key)

    def forget(self, job_id: str) -> None:
        self._journal.forget(job_id)

    def commit(self) -> None:
        """Raises JournalFailed."""
        self._journal.commit()
        # Only now: a job that has not ended, and whose speech is gone, would wait for its client.
        while self._over:
            key = self._over.pop()
            self._speech.remove(key)
            fail_point("journal.speech_removed")
            self._lost.discard(key)

    def flushed(self) -> dict[int, int]:
        """Speech that has newly reached the disk: key -> bytes in all."""
        return self._speech.flushed()

    def close(self) -> None:
        self._speech.close()
        self._journal.close()


class NotDurable:
    """Promises nothing."""

    def entries(self) -> list[Entry]:
        return []

    def no_room(self) -> str:
        return ""

    def accept(self, _entry: Entry) -> int:
        return 0

    def take_over(self, _job_id: str) -> None:
        pass

    def hear(self, _key: int, _payload: bytes) -> None:
        pass

    def end_speech(self, _job_id: str, _total_samples: int) -> None:
        pass

    def acknowledge(self, _job_id: str, _next_frame: int) -> None:
        pass

    def end(self, _job_id: str, _key: int, _outcome: dict[str, object]) -> None:
        pass

    def forget(self, _job_id: str) -> None:
        pass

    def commit(self) -> None:
        pass

    def flushed(self) -> dict[int, int]:
        return {}

    def close(self) -> None:
        pass
