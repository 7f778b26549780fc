import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from shm import room
from shm.errors import NoRoom, NoSegment, NotARing
from shm.room import SHM_DIR, Room
from shm.segment import PREFIX, Segment, attach, create, segment_name
from shm.sweep import sweep

MIB = 2**20


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_names_say_farm_use_and_number() -> None:
    assert segment_name(farm="a1b2", what="inference", counter=7) == f"{PREFIX}a1b2-inference-7"


@pytest.mark.parametrize("name", ["other-1", "lipfarm-", "lipfarm-a/b", "lipfarm-../x", ""])
def test_a_name_the_sweep_would_miss_or_a_path_is_refused(name: str) -> None:
    for call in (attach, lambda name: create(name, 4096)):
        with pytest.raises(ValueError, match="must match"):
            call(name)


def test_a_new_segment_is_zero_private_and_really_there(name: str) -> None:
    with create(name, 3 * MIB) as segment:
        status = os.stat(SHM_DIR / name)

        assert (segment.name, segment.size, len(segment.view)) == (name, 3 * MIB, 3 * MIB)
        assert bytes(segment.view) == bytes(3 * MIB)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_blocks * 512 >= 3 * MIB


def test_closing_the_owner_unlinks_and_closing_again_is_harmless(name: str) -> None:
    segment = create(name, 4096)

    segment.close()
    segment.close()

    assert not (SHM_DIR / name).exists()
    with pytest.raises(ValueError, match="is closed"):
        _ = segment.view


def test_an_owner_whose_name_was_removed_closes_in_peace(name: str) -> None:
    with create(name, 4096) as segment:
        os.unlink(SHM_DIR / name)

        with create(name, 4096) as second:  # somebody else's by now
            segment.close()
            assert second.is_linked()


def test_a_name_in_use_is_not_taken_over(name: str) -> None:
    with create(name, 4096) as segment:
        segment.view[0] = 7

        with pytest.raises(FileExistsError):
            create(name, 4096)

        assert segment.is_linked()
        assert segment.view[0] == 7


def test_attached_segments_share_their_bytes_both_ways(name: str) -> None:
    with create(name, 4096) as owner, attach(name) as other:
        owner.view[5] = 55
        other.view[6] = 66

        assert (other.view[5], owner.view[6]) == (55, 66)


def test_closing_an_attached_segment_leaves_it_to_its_owner(name: str) -> None:
    with create(name, 4096) as owner:
        attach(name).close()

        assert owner.is_linked()


def test_attaching_to_a_name_that_is_not_there_says_so(name: str) -> None:
    with pytest.raises(NoSegment, match=name):
        attach(name)


def test_an_empty_file_is_not_a_ring_and_stays(name: str) -> None:
    path = SHM_DIR / name
    path.touch(mode=0o600)
    try:
        with pytest.raises(NotARing, match="is empty"):
            attach(name)
        assert path.exists()
    finally:
        path.unlink()


def test_a_process_that_attaches_and_exits_destroys_nothing_and_says_nothing(name: str) -> None:
    # The trap of cpython #82300: the exiting process' resource tracker unlinks.
    attach_and_exit = """
import sys
from shm.segment import attach
segment = attach(sys.argv[1])
assert bytes(segment.view[:3]) == b"abc"
if sys.argv[2] == "close":
    segment.close()
"""
    with create(name, 4096) as owner:
        owner.view[:3] = b"abc"

        for manner in ("close", "just exit"):
            done = python(attach_and_exit, name, manner)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

        assert owner.is_linked()
        with attach(name) as again:
            assert bytes(again.view[:3]) == b"abc"


def test_neither_side_starts_a_resource_tracker(name: str) -> None:
    code = """
import sys
from multiprocessing import resource_tracker
from shm.segment import attach, create
with create(sys.argv[1], 4096), attach(sys.argv[1]):
    assert resource_tracker._resource_tracker._fd is None
assert resource_tracker.register == resource_tracker._resource_tracker.register
"""
    done = python(code, name)

    assert (done.returncode, done.stderr) == (0, "")


def test_closing_does_not_wait_for_arrays_to_die(name: str) -> None:
    with create(name, 4096) as segment:
        array = np.frombuffer(segment.view, np.uint8)
        array[0] = 3
        kept = segment.part(0, 64)

    assert not (SHM_DIR / name).exists()
    assert array[0] == 3, "an array keeps what it looks at"
    with pytest.raises(ValueError, match="released"):
        _ = kept[0]


def test_too_little_dev_shm_is_refused_with_both_numbers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmpfs = Room(where="/dev/shm", free_bytes=64 * MIB, remedy="enlarge it")
    group = Room(where="the memory limit", free_bytes=100 * MIB, remedy="raise it")
    monkeypatch.setattr(room, "rooms", lambda: [tmpfs, group])

    with pytest.raises(NoRoom) as caught:
        create(name, 2048 * MIB)

    assert str(caught.value) == (
        "a segment needs 2,048.0 MiB, /dev/shm has 64.0 MiB free: enlarge it"
    )
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (2048 * MIB, 64 * MIB)
    assert not (SHM_DIR / name).exists()


def test_the_tighter_limit_is_the_one_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tmpfs = Room(where="/dev/shm", free_bytes=64 * MIB, remedy="enlarge it")
    group = Room(where="the memory limit", free_bytes=8 * MIB, remedy="raise it")
    monkeypatch.setattr(room, "rooms", lambda: [tmpfs, group])

    with pytest.raises(NoRoom, match=r"the memory limit has 8\.0 MiB free: raise it"):
        create(name, 16 * MIB)


def test_the_real_dev_shm_refuses_what_no_machine_has(name: str) -> None:
    with pytest.raises(NoRoom, match=r"a segment needs 1,073,741,824\.0 MiB, .* MiB free: "):
        create(name, 2**50)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
def test_room_that_vanishes_after_the_check_is_no_room_either(
    name: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", raising(OSError(number, os.strerror(number))))

    with pytest.raises(NoRoom, match=r"a segment needs 1\.0 MiB, /dev/shm has .* MiB free"):
        create(name, MIB)

    assert not (SHM_DIR / name).exists()


@pytest.mark.parametrize("failing", ["ftruncate", "posix_fallocate"])
def test_a_creation_that_fails_leaves_no_name(
    name: str, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    monkeypatch.setattr(os, failing, raising(OSError(errno.EFBIG, "too big")))

    with pytest.raises(OSError, match="too big"):
        create(name, 4096)

    assert not (SHM_DIR / name).exists()


def test_an_attachment_that_fails_to_map_leaves_the_owner_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(name, 4096) as owner:
        monkeypatch.setattr("mmap.mmap", raising(OSError(errno.ENOMEM, "no map")))

        with pytest.raises(OSError, match="no map"):
            attach(name)

        assert owner.is_linked()


def test_a_sweep_between_creation_and_lock_is_survived(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    swept: list[str] = []

    def flock_after_a_sweep(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        swept.extend(sweep())
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_a_sweep)

    with create(name, 4096) as segment:
        assert name in swept
        assert segment.is_linked()
        assert not is_lockable(segment)


def test_the_owner_holds_the_lock_for_life_and_attachers_none(name: str) -> None:
    with create(name, 4096) as owner:
        with attach(name):
            assert not is_lockable(owner)
        assert not is_lockable(owner)
        with attach(name) as attached:
            owner.close()
            fcntl.flock(attached.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_lockable(segment: Segment) -> bool:
    """Whether a stranger gets the lock."""
    fd = os.open(SHM_DIR / segment.name, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def raising(error: Exception) -> Callable[..., object]:
    def call(*_args: object, **_options: object) -> object:
        raise error

    return call
