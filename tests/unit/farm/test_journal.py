"""The journal by itself: what is kept, what is not, and what a damaged one costs."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.durable import Durable
from farm.journal import FILE, VERSION, Entry, Journal, JournalFailed, JournalUnusable
from farm.speech_files import SpeechFiles


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


def entry(job_id: str, **more: object) -> Entry:
    return Entry(job_id=job_id, fingerprint="f", options={"avatar": "a"}, deadline=None, **more)  # type: ignore[arg-type]


def read(directory: Path) -> list[Entry]:
    """As the next broker reads it, while the dead one has not closed it."""
    journal = Journal(directory)
    try:
        return journal.entries()
    finally:
        journal.close()


def test_what_was_committed_is_there_for_the_next_broker(journal: Journal, tmp_path: Path) -> None:
    key = journal.accept(entry("a"))
    journal.end_speech("a", 16_000)
    journal.acknowledge("a", 7)
    journal.commit()

    assert read(tmp_path) == [entry("a", key=key, next_frame=7, total_samples=16_000)]


def test_what_was_not_committed_was_never_promised(journal: Journal, tmp_path: Path) -> None:
    journal.accept(entry("a"))

    assert read(tmp_path) == []


def test_an_ended_job_keeps_its_outcome_until_it_is_forgotten(
    journal: Journal, tmp_path: Path
) -> None:
    journal.accept(entry("a"))
    journal.commit()
    journal.end("a", {"kind": "Done", "frames": 3})
    journal.commit()

    (ended,) = read(tmp_path)
    assert ended.outcome == {"kind": "Done", "frames": 3}
    assert ended.ended is not None
    journal.forget("a")
    journal.commit()
    assert read(tmp_path) == []


def test_keys_are_never_used_again(journal: Journal, tmp_path: Path) -> None:
    first = journal.accept(entry("a"))
    journal.commit()
    journal.forget("a")
    journal.commit()
    journal.close()
    again = Journal(tmp_path)

    assert again.accept(entry("a")) > first
    again.close()


def test_an_id_that_failed_may_begin_anew(journal: Journal, tmp_path: Path) -> None:
    journal.accept(entry("a"))
    journal.end("a", {"kind": "Failed"})
    key = journal.accept(entry("a"))
    journal.commit()

    assert read(tmp_path) == [entry("a", key=key)]


def test_a_commit_that_fails_promises_nothing_and_keeps_the_rest(
    journal: Journal, tmp_path: Path
) -> None:
    journal.accept(entry("old"))
    journal.commit()
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    journal._database.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")  # as good as a full disk: nobody else can write
    journal.accept(entry("new"))
    journal.acknowledge("old", 5)

    with pytest.raises(JournalFailed):
        journal.commit()
    other.execute("ROLLBACK")
    other.close()
    journal.commit()

    assert [(e.job_id, e.next_frame) for e in read(tmp_path)] == [("old", 5)]


def test_a_damaged_journal_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)

    with pytest.raises(JournalUnusable, match="damaged"):
        Journal(tmp_path)


def test_a_newer_journal_is_not_touched(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE)
    database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()

    with pytest.raises(JournalUnusable, match=f"version {VERSION + 1}"):
        Journal(tmp_path)


def test_an_unusable_journal_is_moved_aside_and_the_farm_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # twice within a second, too
        (tmp_path / FILE).write_bytes(b"nothing of ours" * 100)
        durable = Durable(tmp_path, max_bytes=1 << 30)
        assert durable.entries() == []
        durable.close()

    assert capsys.readouterr().err.count("moved to") == 2
    moved = [path for path in tmp_path.iterdir() if path.name.startswith("unusable-")]
    assert len(moved) == 2
    assert all((path / FILE).read_bytes().startswith(b"nothing of ours") for path in moved)


def test_speech_is_read_back_as_it_was_heard(tmp_path: Path) -> None:
    durable = Durable(tmp_path, max_bytes=1 << 30)
    key = durable.accept(entry("a"))
    durable.commit()
    durable.hear(key, b"12345678")
    durable.hear(key, b"abc")
    durable.close()

    again = Durable(tmp_path, max_bytes=1 << 30)
    assert [e.key for e in again.entries()] == [key]
    assert again.reopen(key, 4) == 8  # half a sample is none
    assert again.speech(key, 4, 4) == b"5678"
    again.close()


def test_speech_of_a_job_that_was_never_promised_is_removed(tmp_path: Path) -> None:
    durable = Durable(tmp_path, max_bytes=1 << 30)
    durable.hear(durable.accept(entry("a")), b"1234")
    durable.close()

    Durable(tmp_path, max_bytes=1 << 30).close()

    assert list((tmp_path / "speech").iterdir()) == []


def test_what_is_called_kept_was_flushed(tmp_path: Path) -> None:
    files = SpeechFiles(tmp_path)
    files.open(1)
    files.append(1, b"12345678")

    assert files.flushed() == {}
    assert files._flush is not None
    files._flush.result(10)
    files.append(1, b"1234")

    assert files.flushed() == {1: 8}
    files.close()


def test_a_disk_that_refuses_speech_ends_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    durable = Durable(tmp_path, max_bytes=1 << 30)
    key = durable.accept(entry("a"))
    durable.commit()
    durable.hear(key, b"1234")

    def full(_key: int, _payload: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable._speech, "append", full)
        durable.hear(key, b"5678")
    durable.hear(key, b"9abc")  # would leave a gap
    durable.close()

    assert (tmp_path / "speech" / f"{key}.pcm").read_bytes() == b"1234"
    assert capsys.readouterr().err.count("No space left") == 1


def test_a_farm_with_as_much_speech_as_it_may_keep_takes_no_more(tmp_path: Path) -> None:
    durable = Durable(tmp_path, max_bytes=7)
    assert durable.no_room() == ""
    durable.hear(durable.accept(entry("a")), b"12345678")

    assert "as much speech" in durable.no_room()
    durable.close()


def test_brokers_are_counted_until_a_job_gets_on(journal: Journal, tmp_path: Path) -> None:
    journal.accept(entry("a"))
    for n in (1, 2, 3):
        journal.take_over("a")
        journal.commit()
        assert [e.n_brokers for e in read(tmp_path)] == [n]

    journal.acknowledge("a", 1)
    journal.commit()

    assert [e.n_brokers for e in read(tmp_path)] == [0]


VERSION_1 = """
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY AUTOINCREMENT,  -- names its speech; never used twice
    job_id TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    options TEXT NOT NULL,                  -- JSON
    deadline REAL,                          -- seconds since 1970
    next_frame INTEGER NOT NULL,            -- those before were acknowledged
    total_samples INTEGER,                  -- once the speech has ended
    ended REAL,                             -- seconds since 1970
    outcome TEXT                            -- JSON, once it has ended
);
INSERT INTO jobs (job_id, fingerprint, options, next_frame) VALUES ('a', 'f', '{}', 4);
PRAGMA user_version = 1;
"""


def test_a_journal_of_version_1_is_read(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE)
    database.executescript(VERSION_1)
    database.close()

    for _ in range(2):
        assert [(e.job_id, e.next_frame, e.n_brokers) for e in read(tmp_path)] == [("a", 4, 0)]
