from pathlib import Path

import pytest

from shm.room import cgroup_rooms

MIB = 2**20


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A service's group two levels down, as version 2 shows it."""
    group = tmp_path / "cgroup" / "system.slice" / "farm.service"
    group.mkdir(parents=True)
    return group


@pytest.fixture
def of_self(tmp_path: Path) -> Path:
    path = tmp_path / "self"
    path.write_text("4:memory:/elsewhere\n0::/system.slice/farm.service\n")
    return path


def limit(group: Path, maximum: str, current: int, inactive_file: int = 0) -> None:
    (group / "memory.max").write_text(f"{maximum}\n")
    (group / "memory.current").write_text(f"{current}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {inactive_file}\nshmem 2\n")


def free(tmp_path: Path, of_self: Path) -> list[int]:
    return [room.free_bytes for room in cgroup_rooms(tmp_path / "cgroup", of_self)]


def test_without_a_limit_there_is_nothing_to_keep(
    tmp_path: Path, group: Path, of_self: Path
) -> None:
    limit(group, "max", 5 * MIB)

    assert free(tmp_path, of_self) == []


def test_every_level_has_a_limit_of_its_own(tmp_path: Path, group: Path, of_self: Path) -> None:
    limit(group, str(100 * MIB), 60 * MIB)
    limit(group.parent, str(500 * MIB), 490 * MIB)

    assert free(tmp_path, of_self) == [40 * MIB, 10 * MIB]


def test_cached_files_do_not_count_as_used(tmp_path: Path, group: Path, of_self: Path) -> None:
    limit(group, str(100 * MIB), 90 * MIB, inactive_file=50 * MIB)

    assert free(tmp_path, of_self) == [60 * MIB]


def test_a_group_above_its_limit_has_nothing_left(
    tmp_path: Path, group: Path, of_self: Path
) -> None:
    limit(group, str(10 * MIB), 12 * MIB)

    assert free(tmp_path, of_self) == [0]


@pytest.mark.usefixtures("group")
def test_a_container_that_sees_only_its_own_group_finds_the_limit_at_the_root(
    tmp_path: Path, of_self: Path
) -> None:
    of_self.write_text("0::/../../docker/not-shown\n")
    limit(tmp_path / "cgroup", str(64 * MIB), 4 * MIB)

    assert free(tmp_path, of_self) == [60 * MIB]


def test_version_1_shows_no_limit(tmp_path: Path, of_self: Path) -> None:
    of_self.write_text("4:memory:/docker/x\n")

    assert free(tmp_path, of_self) == []


def test_without_proc_there_is_no_limit_to_see(tmp_path: Path) -> None:
    assert free(tmp_path, tmp_path / "missing") == []
