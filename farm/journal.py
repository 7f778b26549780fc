"""What the farm has promised, on disk.  The one file that knows sqlite3.

A job is here before its client hears that it is accepted, and until its last frame is acknowledged.
Everything that one turn of the broker's loop promises is one transaction and one fsync; a turn that
only acknowledges frames waits for no disk: what a crash of the machine loses of it is rendered
again.  Frames are never stored: they are rendered again, and come out the same.

Killed at any line this file leaves the state before or after a transaction (SQLite, WAL).
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from farm.errors import FarmError
from shm.fail_points import fail_point

VERSION = 2
FILE = "journal.sqlite3"
COMPANIONS = ("", "-wal", "-shm")  #: what SQLite keeps beside it

SCHEMA = """
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY AUTOINCREMENT,  -- names its speech; never used twice
    job_id TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    options TEXT NOT NULL,                  -- JSON
    deadline REAL,                          -- seconds since 1970
    next_frame INTEGER NOT NULL,            -- those before were acknowledged
    total_samples INTEGER,                  -- once the speech has ended
    ended REAL,                             -- seconds since 1970
    outcome TEXT,                           -- JSON, once it has ended
    n_brokers INTEGER NOT NULL DEFAULT 0    -- that took it over since it last got on
);
"""
FROM_VERSION_1 = "ALTER TABLE jobs ADD COLUMN n_brokers INTEGER NOT NULL DEFAULT 0;"


class JournalFailed(FarmError):
    """The disk does not take the journal: the operator's to mend.  Nothing was written."""


class JournalUnusable(FarmError):
    """The file is damaged, or of a newer version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job as it was accepted."""

    job_id: str
    fingerprint: str  #: of its options and avatar
    options: dict[str, object]  #: of its ``open``
    deadline: float | None  #: seconds since 1970
    next_frame: int = 0  #: those before were acknowledged
    key: int = 0  #: names its speech; given by the journal
    total_samples: int | None = None  #: once the speech has ended
    ended: float | None = None  #: seconds since 1970
    outcome: dict[str, object] | None = None  #: what its client is told, once it has ended
    n_brokers: int = 0  #: that took it over since a frame of it was acknowledged


class Journal:
    """Promises are collected, and kept from `commit` on.  One thread of one process has it."""

    def __init__(self, directory: Path) -> None:
        """Opens, or begins; raises JournalUnusable and JournalFailed."""
        self._pending: list[tuple[str, tuple[object, ...]]] = []
        self._acknowledged: dict[str, int] = {}
        self._is_urgent = False
        try:
            self._database = sqlite3.connect(directory / FILE, isolation_level=None)
            try:
                self._open()
                self._next_key = 1 + self._largest_key()
            except BaseException:
                self._database.close()
                raise
        except sqlite3.OperationalError as error:
            raise JournalFailed(f"{directory / FILE}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise JournalUnusable(f"damaged: {error}") from error

    def _open(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise JournalUnusable(f"of version {version}, this farm reads {VERSION}")
        self._database.execute("PRAGMA journal_mode = WAL")
        if version < VERSION:
            change = SCHEMA if version == 0 else FROM_VERSION_1
            self._database.executescript(f"BEGIN;{change}PRAGMA user_version = {VERSION};COMMIT")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise JournalUnusable(f"damaged: {verdict.splitlines()[0]}")

    def _largest_key(self) -> int:
        row = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")
        (key,) = row.fetchone() or (0,)
        return int(key)

    def close(self) -> None:
        self._database.close()

    def entries(self) -> list[Entry]:
        """Every job that is remembered, the oldest first."""
        columns = "key, job_id, fingerprint, options, deadline, next_frame, total_samples, ended"
        rows = self._database.execute(
            f"SELECT {columns}, outcome, n_brokers FROM jobs ORDER BY key"
        )
        return [_entry(row) for row in rows]

    # What one turn of the loop promises.

    def accept(self, entry: Entry) -> int:
        """A new job, in the place of an ended one of the same id; gives its key."""
        key, self._next_key = self._next_key, self._next_key + 1
        self._do("DELETE FROM jobs WHERE job_id = ?", entry.job_id)
        self._do(
            "INSERT INTO jobs (key, job_id, fingerprint, options, deadline, next_frame)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            key,
            entry.job_id,
            entry.fingerprint,
            json.dumps(entry.options),
            entry.deadline,
            entry.next_frame,
        )
        self._is_urgent = True
        return key

    def acknowledge(self, job_id: str, next_frame: int) -> None:
        """The client has the frames before ``next_frame``."""
        self._acknowledged[job_id] = next_frame

    def take_over(self, job_id: str) -> None:
        """Another broker goes on with it."""
        self._do("UPDATE jobs SET n_brokers = n_brokers + 1 WHERE job_id = ?", job_id)

    def end_speech(self, job_id: str, total_samples: int) -> None:
        self._do("UPDATE jobs SET total_samples = ? WHERE job_id = ?", total_samples, job_id)

    def end(self, job_id: str, outcome: dict[str, object]) -> None:
        """It is over, and will not be run again."""
        self._acknowledged.pop(job_id, None)
        self._do(
            "UPDATE jobs SET ended = ?, outcome = ? WHERE job_id = ?",
            time.time(),
            json.dumps(outcome),
            job_id,
        )

    def forget(self, job_id: str) -> None:
        self._acknowledged.pop(job_id, None)
        self._do("DELETE FROM jobs WHERE job_id = ?", job_id)

    def commit(self) -> None:
        """Keep the turn's promises.  Raises JournalFailed: then none of them is kept.

        What was not accepted is dropped; the rest is tried again with the next commit.
        """
        acknowledged = [
            ("UPDATE jobs SET next_frame = ?, n_brokers = 0 WHERE job_id = ?", (frame, job_id))
            for job_id, frame in self._acknowledged.items()
        ]
        if not (self._pending or acknowledged):
            return
        try:
            with self._transaction():
                for statement, values in [*self._pending, *acknowledged]:
                    self._database.execute(statement, values)
        except sqlite3.Error as error:
            # Also what else spoke of a job that is not accepted after all finds no row.
            self._pending = [p for p in self._pending if not p[0].startswith("INSERT")]
            self._is_urgent = False
            raise JournalFailed(f"the journal cannot be written: {error}") from error
        self._pending, self._acknowledged, self._is_urgent = [], {}, False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        level = "FULL" if self._is_urgent else "NORMAL"  # NORMAL: no fsync in WAL mode
        self._database.execute(f"PRAGMA synchronous = {level}")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            fail_point("journal.written")
            self._database.execute("COMMIT")
            fail_point("journal.committed")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _do(self, statement: str, *values: object) -> None:
        self._pending.append((statement, values))


def _entry(row: tuple[object, ...]) -> Entry:
    key, job_id, fingerprint, options, deadline, next_frame, total, ended, outcome, lives = row
    try:
        return Entry(
            key=int(key),  # type: ignore[call-overload]
            job_id=str(job_id),
            fingerprint=str(fingerprint),
            options=json.loads(str(options)),
            deadline=deadline,  # type: ignore[arg-type]
            next_frame=int(next_frame),  # type: ignore[call-overload]
            total_samples=total,  # type: ignore[arg-type]
            ended=ended,  # type: ignore[arg-type]
            outcome=None if outcome is None else json.loads(str(outcome)),
            n_brokers=int(lives),  # type: ignore[call-overload]
        )
    except ValueError as error:
        raise JournalUnusable(f"damaged: job {job_id!r}: {error}") from error


def move_aside(directory: Path, others: list[Path]) -> Path:
    """Put an unusable journal, and what belongs to it, where nobody looks; gives the directory."""
    aside = directory / time.strftime("unusable-%Y%m%d-%H%M%S")
    n = 0
    while aside.exists():
        n += 1
        aside = aside.with_name(f"{aside.name.split('.')[0]}.{n}")
    aside.mkdir()
    for path in [*(directory / f"{FILE}{suffix}" for suffix in COMPANIONS), *others]:
        if path.exists():
            path.rename(aside / path.name)
    return aside
