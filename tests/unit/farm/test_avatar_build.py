import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farm import avatar_build
from farm.avatar_build import BuildOptions, build_avatar
from farm.avatars import DRAWN, avatar_ids, find_avatar, only_builder
from farm.errors import AvatarRefused, SourceUnusable
from farm.paths import Paths
from tests.unit.farm.avatar_material import (
    STEADY,
    coords_folder,
    corners,
    seed_folder,
    synctalk_folder,
    template_frames,
)
from workers.avatar import CROPS, MANIFEST, Bundle
from workers.families import FAMILIES
from workers.geometry import Box
from workers.kernels.crop import crop_canvas

FEW = STEADY[:3]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(data=tmp_path / "data", cache=tmp_path / "cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return seed_folder(tmp_path / "source", FEW)


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(
    "folder",
    [seed_folder, synctalk_folder, lambda root: coords_folder(root, [*map(corners, STEADY)])],
    ids=["seed", "synctalk", "musetalk"],
)
def test_a_bundle_holds_the_crops_of_the_sources_frames_at_its_boxes(
    paths: Paths, tmp_path: Path, folder: Callable[[Path], Path]
) -> None:
    build_avatar(folder(tmp_path / "source"), "anna", paths)

    bundle = find_avatar("anna", paths, on_template=lambda: None)
    bundle.verify()
    assert bundle.manifest.boxes == STEADY
    for index, (frame, box) in enumerate(zip(template_frames(), STEADY, strict=True)):
        assert np.array_equal(bundle.crop(index), crop_canvas(frame, box, 328))


def test_a_box_that_leaves_the_frame_sees_its_edge_repeated(paths: Paths, tmp_path: Path) -> None:
    box = Box(70, -7, 40)

    report = build_avatar(seed_folder(tmp_path / "source", [box]), "anna", paths)

    (frame,) = template_frames(1)
    assert np.array_equal(report.bundle.crop(0), crop_canvas(frame, box, 328))
    assert len(report.notes) == 1


def test_each_step_is_told(paths: Paths, source: Path) -> None:
    steps: list[str] = []

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Callable[[], None]]:
        steps.append(f"{what}: {total}")
        yield lambda: steps.append("+")

    build_avatar(source, "anna", paths, bar=bar)

    assert steps == [
        "reading the frames: 3", "+", "+", "+", "building the avatar anna: 3", "+", "+", "+",
    ]  # fmt: skip


def test_the_same_again_does_nothing_wherever_the_files_are(
    paths: Paths, source: Path, tmp_path: Path
) -> None:
    first = build_avatar(source, "anna", paths)
    inode = first.bundle.directory.stat().st_ino
    moved = source.rename(tmp_path / "elsewhere")

    again = build_avatar(moved, "anna", paths)

    assert (first.is_new, again.is_new) == (True, False)
    assert again.bundle.directory.stat().st_ino == inode
    assert again.bundle.manifest == first.bundle.manifest


SMALLER = replace(BuildOptions().family, name="smaller", canvas_px=168)


def test_crops_are_made_for_the_family_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, paths: Paths, source: Path
) -> None:
    monkeypatch.setitem(FAMILIES, SMALLER.name, SMALLER)
    bundle = build_avatar(source, "anna", paths, BuildOptions(family=SMALLER)).bundle

    bundle.require_family(SMALLER)


@pytest.mark.parametrize(
    "options",
    [BuildOptions(quality=89), BuildOptions(paste="hard"), BuildOptions(family=SMALLER)],
)
def test_other_options_are_another_avatar(
    paths: Paths, source: Path, options: BuildOptions
) -> None:
    build_avatar(source, "anna", paths)

    with pytest.raises(AvatarRefused, match="anna: exists already"):
        build_avatar(source, "anna", paths, options)


@pytest.mark.parametrize("change", ["a pixel", "a box", "a frame more"])
def test_another_avatar_is_replaced_only_by_force(
    paths: Paths, source: Path, tmp_path: Path, change: str
) -> None:
    build_avatar(source, "anna", paths)
    before = content(paths.avatars / "anna")
    match change:
        case "a pixel":
            shutil.copy(source / "frame_0001.png", source / "frame_0002.png")
        case "a box":
            (source / "crop_rects.json").write_text("[[20, 11, 60, 51]]")
        case "a frame more":
            source = seed_folder(tmp_path / "longer", STEADY[:4])

    with pytest.raises(AvatarRefused, match="other material or options; --force replaces it"):
        build_avatar(source, "anna", paths)
    assert content(paths.avatars / "anna") == before
    assert build_avatar(source, "anna", paths, force=True).is_new
    assert content(paths.avatars / "anna") != before
    assert not build_avatar(source, "anna", paths).is_new


def test_force_builds_the_same_again(paths: Paths, source: Path) -> None:
    build_avatar(source, "anna", paths)

    assert build_avatar(source, "anna", paths, force=True).is_new


@pytest.mark.parametrize("damage", ["a flipped byte", "a missing file", "an older compiler"])
def test_what_was_damaged_or_is_outdated_is_built_again_without_force(
    paths: Paths, source: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    crops = build_avatar(source, "anna", paths).bundle.directory / CROPS
    match damage:
        case "a flipped byte":
            crops.write_bytes(crops.read_bytes()[:-1] + b"\x99")
        case "a missing file":
            crops.unlink()
        case "an older compiler":
            monkeypatch.setattr(avatar_build, "COMPILER_VERSION", 99)

    report = build_avatar(source, "anna", paths)

    assert report.is_new
    report.bundle.verify()


def test_a_manifest_that_cannot_be_read_needs_force(paths: Paths, source: Path) -> None:
    directory = build_avatar(source, "anna", paths).bundle.directory
    (directory / MANIFEST).write_text('{"format": 99}')

    with pytest.raises(AvatarRefused, match="of what cannot be read; --force replaces it"):
        build_avatar(source, "anna", paths)
    assert build_avatar(source, "anna", paths, force=True).is_new


@pytest.mark.parametrize("avatar_id", ["", ".", "..", "a/b", "../a", "-a", "a b", "ä", 65 * "a"])
def test_an_id_that_is_none_is_refused(paths: Paths, source: Path, avatar_id: str) -> None:
    with pytest.raises(AvatarRefused, match="is no id of an avatar"):
        build_avatar(source, avatar_id, paths)


@pytest.mark.parametrize("avatar_id", DRAWN)
def test_a_built_in_id_is_refused(paths: Paths, source: Path, avatar_id: str) -> None:
    with pytest.raises(AvatarRefused, match="is a built-in avatar"):
        build_avatar(source, avatar_id, paths, force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("what", ["a file", "a directory with files", "the source"])
def test_nothing_but_a_bundle_is_ever_replaced(
    paths: Paths, source: Path, what: str, force: bool
) -> None:
    target = paths.avatars / "anna"
    paths.avatars.mkdir(parents=True)
    match what:
        case "a file":
            target.write_text("mine")
        case "a directory with files":
            target.mkdir()
            (target / "thesis.txt").write_text("mine")
        case "the source":
            source = source.rename(target)

    with pytest.raises(AvatarRefused, match="move it away"):
        build_avatar(source, "anna", paths, force=force)

    assert target.is_file() or {path.name for path in target.iterdir()} >= (
        {"thesis.txt"} if what == "a directory with files" else {"frame_0000.png"}
    )


def test_material_inside_the_bundle_it_would_become_is_refused(paths: Paths, source: Path) -> None:
    directory = build_avatar(source, "anna", paths).bundle.directory
    inside = shutil.move(source, directory / "source")

    with pytest.raises(AvatarRefused, match="would be replaced"):
        build_avatar(Path(inside), "anna", paths, force=True)


@pytest.mark.parametrize("at", ["frame_0000.png", "frame_0002.png"])
def test_a_build_that_fails_leaves_everything_as_it_was(
    paths: Paths, source: Path, at: str
) -> None:
    build_avatar(source, "anna", paths)
    before = content(paths.avatars / "anna")
    (source / at).write_bytes((source / at).read_bytes()[:-100])

    with pytest.raises(SourceUnusable, match=at):
        build_avatar(source, "anna", paths, force=True)

    assert [path.name for path in paths.avatars.iterdir()] == ["anna"]
    assert content(paths.avatars / "anna") == before


def test_a_data_directory_that_cannot_be_written_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths = Paths(data=tmp_path / "file" / "data", cache=tmp_path)

    with pytest.raises(AvatarRefused, match="LIPFARM_DATA names another place"):
        build_avatar(source, "anna", paths)


def test_what_a_killed_build_left_goes_but_not_what_another_one_writes(
    paths: Paths, source: Path
) -> None:
    killed = paths.avatars / ".anna.ab_12xyz.partial"
    others = [paths.avatars / name for name in (".anna.b.ab_12xyz.partial", ".ann.x.partial")]
    for directory in (killed, *others):
        directory.mkdir(parents=True)
        (directory / MANIFEST).touch()

    build_avatar(source, "anna", paths)

    assert {path.name for path in paths.avatars.iterdir()} == {
        "anna", *(path.name for path in others)
    }  # fmt: skip
    assert avatar_ids(paths) == [*DRAWN, "anna"]


def test_two_builds_of_one_id_give_one_bundle(paths: Paths, source: Path) -> None:
    reports: list[bool] = []
    together = threading.Barrier(4)

    def build() -> None:
        together.wait()
        reports.append(build_avatar(source, "anna", paths).is_new)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(reports) == [False, False, False, True]
    assert [path.name for path in paths.avatars.iterdir()] == ["anna"]


def test_builders_come_one_after_another_though_the_locks_name_goes(tmp_path: Path) -> None:
    inside: list[int] = []
    n_at_once: list[int] = []

    def build() -> None:
        for _ in range(50):
            with only_builder(tmp_path / "anna"):
                inside.append(1)
                n_at_once.append(len(inside))
                os.sched_yield()
                inside.pop()

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (set(n_at_once), len(n_at_once)) == ({1}, 200)
    assert list(tmp_path.iterdir()) == []


def test_frames_kept_to_and_fro_are_taken_once(paths: Paths, tmp_path: Path) -> None:
    frames, boxes = template_frames(3), [corners(box) for box in FEW]
    cycle = coords_folder(tmp_path / "a", boxes + boxes[::-1], frames + frames[::-1])

    report = build_avatar(cycle, "anna", paths)

    assert report.bundle.manifest.boxes == FEW
    assert report.notes == ("frames 3 and on are the first 3 backwards, and left out",)


def test_frames_that_only_nearly_come_back_are_all_taken(paths: Paths, tmp_path: Path) -> None:
    frames, boxes = template_frames(4), [corners(box) for box in FEW]
    cycle = coords_folder(
        tmp_path / "a", boxes + boxes[::-1], [*frames[:3], *frames[2:0:-1], frames[3]]
    )

    assert build_avatar(cycle, "anna", paths).bundle.manifest.n_templates == 6


def test_a_bundle_is_listed_and_opened_by_its_id(paths: Paths, source: Path) -> None:
    report = build_avatar(source, "anna", paths)

    assert avatar_ids(paths)[-1] == "anna"
    assert Bundle(paths.avatars / "anna").manifest.avatar_id == "anna"
    assert report.bundle.n_bytes == sum(
        len(file) for file in content(paths.avatars / "anna").values()
    )
