import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from shm import sweep as module
from shm.segment import create
from shm.sweep import sweep


@pytest.fixture
def shm_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/shm of the test's own: any file can be locked and unlinked."""
    monkeypatch.setattr(module, "SHM_DIR", tmp_path)
    return tmp_path


def dead(shm_dir: Path, name: str) -> Path:
    """A segment without an owner."""
    path = shm_dir / name
    path.write_bytes(b"x")
    return path


def test_what_dead_owners_left_is_removed_and_named(shm_dir: Path) -> None:
    dead(shm_dir, "lipfarm-b-ring-0")
    dead(shm_dir, "lipfarm-a-ring-1")

    assert sweep() == ["lipfarm-a-ring-1", "lipfarm-b-ring-0"]
    assert list(shm_dir.iterdir()) == []


@pytest.mark.usefixtures("shm_dir")
def test_a_clean_directory_stays_so() -> None:
    assert sweep() == []


def test_a_living_owner_keeps_its_segment(name: str) -> None:
    with create(name, 4096) as segment:
        assert name not in sweep()
        assert segment.is_linked()


def test_names_of_other_programs_stay(shm_dir: Path) -> None:
    dead(shm_dir, "psm_1234")
    dead(shm_dir, "not-lipfarm-x")

    assert sweep() == []
    assert len(list(shm_dir.iterdir())) == 2


def test_files_of_other_users_stay_and_are_not_mentioned(
    shm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dead(shm_dir, "lipfarm-theirs-ring-0")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)

    assert sweep() == []
    assert path.exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENXIO])
def test_a_file_that_cannot_be_opened_is_skipped(
    shm_dir: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = dead(shm_dir, "lipfarm-theirs-ring-0")
    monkeypatch.setattr(os, "open", raising(OSError(number, os.strerror(number))))

    assert sweep() == []
    assert path.exists()


def test_running_out_of_descriptors_is_not_taken_for_somebody_elses_file(
    shm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead(shm_dir, "lipfarm-a-ring-0")
    monkeypatch.setattr(os, "open", raising(OSError(errno.EMFILE, "too many")))

    with pytest.raises(OSError, match="too many"):
        sweep()


@pytest.mark.parametrize(
    ("plant", "is_kind"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), stat.S_ISLNK),
        (lambda path: path.symlink_to("nowhere"), stat.S_ISLNK),
        (os.mkfifo, stat.S_ISFIFO),
        (Path.mkdir, stat.S_ISDIR),
    ],
)
def test_links_pipes_and_directories_are_neither_followed_nor_removed(
    shm_dir: Path, plant: Callable[[Path], object], is_kind: Callable[[int], bool]
) -> None:
    path = shm_dir / "lipfarm-trap-ring-0"
    plant(path)

    assert sweep() == []
    assert is_kind(path.lstat().st_mode)


def test_a_second_sweep_leaves_what_the_first_one_holds(shm_dir: Path) -> None:
    path = dead(shm_dir, "lipfarm-a-ring-0")
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)

        assert sweep() == []
    finally:
        os.close(fd)

    assert sweep() == [path.name]


@pytest.mark.parametrize("comes_again", [False, True])
def test_a_name_that_goes_while_we_look_is_not_ours_to_remove(
    shm_dir: Path, monkeypatch: pytest.MonkeyPatch, comes_again: bool
) -> None:
    path = dead(shm_dir, "lipfarm-a-ring-0")
    flock = fcntl.flock

    def flock_after_another_sweep(fd: int, operation: int) -> None:
        path.unlink()
        if comes_again:
            dead(shm_dir, path.name)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_another_sweep)

    assert sweep() == []
    assert path.exists() == comes_again


def raising(error: Exception) -> Callable[..., object]:
    def call(*_args: object, **_options: object) -> object:
        raise error

    return call
