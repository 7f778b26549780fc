import shutil
from pathlib import Path

import pytest

from farm import avatars
from farm.avatars import DRAWN, avatar_ids, find_avatar
from farm.demo.avatar import draw_frame
from farm.errors import CacheUnusable, UnknownAvatar
from farm.paths import Paths
from tests.material import EDGE_BOXES, noise_avatar
from workers.avatar import PATCHES, Bundle
from workers.errors import BundleError


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(data=tmp_path / "data", cache=tmp_path / "cache")


def no_progress() -> None:
    raise AssertionError("nothing should be drawn")


def test_an_avatar_is_found_by_id_and_by_path(paths: Paths) -> None:
    built = noise_avatar(paths.avatars / "anna", EDGE_BOXES[:1])

    by_id = find_avatar("anna", paths, on_template=no_progress)
    by_path = find_avatar(str(built.directory), paths, on_template=no_progress)

    assert by_id.manifest == by_path.manifest == built.manifest


def test_ids_are_listed_with_the_demo_first(paths: Paths) -> None:
    noise_avatar(paths.avatars / "zoe", EDGE_BOXES[:1])
    noise_avatar(paths.avatars / "anna", EDGE_BOXES[:1])

    assert avatar_ids(paths) == [*DRAWN, "anna", "zoe"]
    assert avatar_ids(paths)[0] == "demo"


@pytest.mark.parametrize("name", ["nobody", "../anna", "", "a/b", "\x00"])
def test_an_unknown_avatar_is_refused_with_the_known_ones(paths: Paths, name: str) -> None:
    with pytest.raises(UnknownAvatar, match=r"there are: demo"):
        find_avatar(name, paths, on_template=no_progress)


def test_a_directory_that_is_no_bundle_says_so(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not an avatar bundle"):
        find_avatar(str(tmp_path), paths, on_template=no_progress)


def test_the_demo_is_drawn_once(user_paths: Paths, demo_bundle: Bundle) -> None:
    again = find_avatar("demo", user_paths, on_template=no_progress)

    assert again.manifest.digest == demo_bundle.manifest.digest


@pytest.mark.parametrize("change", ["missing file", "older drawing", "older compiler"])
def test_the_demo_is_drawn_again_when_its_cache_is_not_what_we_would_make(
    paths: Paths, demo_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    shutil.copytree(demo_bundle.directory, paths.drawn_avatar("demo"))
    find_avatar("demo", paths, on_template=no_progress)
    match change:
        case "missing file":
            (paths.drawn_avatar("demo") / PATCHES).unlink()
        case "older drawing":
            monkeypatch.setattr(avatars, "DEMO_SOURCE_VERSION", "tomorrow's")
        case "older compiler":
            monkeypatch.setattr(avatars, "COMPILER_VERSION", 99)
    monkeypatch.setattr(avatars, "draw_frames", lambda look: iter([draw_frame(0, look)]))
    n_drawn: list[int] = []

    find_avatar("demo", paths, on_template=lambda: n_drawn.append(1))

    assert len(n_drawn) == 1


def test_what_a_killed_drawing_left_is_removed(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover = paths.drawn_avatar("demo").parent / ".demo.abc.partial"
    leftover.mkdir(parents=True)
    monkeypatch.setattr(avatars, "draw_frames", lambda look: iter([draw_frame(0, look)]))

    find_avatar("demo", paths, on_template=lambda: None)

    assert not leftover.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths = Paths(data=tmp_path, cache=tmp_path / "file" / "cache")

    with pytest.raises(CacheUnusable, match="LIPFARM_CACHE"):
        find_avatar("demo", paths, on_template=no_progress)


def test_each_drawn_avatar_has_its_own_cache_and_picture(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(avatars, "draw_frames", lambda look: iter([draw_frame(0, look)]))

    leo, ines = (find_avatar(name, paths, on_template=lambda: None) for name in ("leo", "ines"))

    assert (leo.manifest.avatar_id, ines.manifest.avatar_id) == ("leo", "ines")
    assert leo.directory != ines.directory
    assert leo.manifest.digest != ines.manifest.digest
