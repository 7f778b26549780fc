import json
import shutil
from pathlib import Path

import pytest

from farm.catalog import Catalog
from farm.errors import UnknownAvatar
from farm.paths import Paths
from tests.material import EDGE_BOXES, noise_avatar
from workers.avatar import MANIFEST, Bundle
from workers.errors import BundleError


def test_a_drawn_avatar_is_offered_once_it_is_drawn(user_paths: Paths, demo_bundle: Bundle) -> None:
    bundle = Catalog(user_paths).find("demo")

    assert bundle.directory == demo_bundle.directory
    assert bundle.manifest.digest == demo_bundle.manifest.digest


def test_one_that_is_not_drawn_is_refused_with_the_way_to_draw_it(tmp_path: Path) -> None:
    with pytest.raises(UnknownAvatar, match="farm avatar info leo"):
        Catalog(Paths(data=tmp_path, cache=tmp_path)).find("leo")


def test_a_drawing_of_before_is_not_offered(demo_bundle: Bundle, tmp_path: Path) -> None:
    paths = Paths(data=tmp_path / "data", cache=tmp_path / "cache")
    shutil.copytree(demo_bundle.directory, paths.drawn_avatar("demo"))
    path = paths.drawn_avatar("demo") / MANIFEST
    old = {**json.loads(path.read_text()), "source_version": "drawing 0"}
    path.write_text(json.dumps(old))

    with pytest.raises(UnknownAvatar, match="not drawn yet"):
        Catalog(paths).find("demo")


def test_one_that_the_user_built_comes_first(tmp_path: Path) -> None:
    paths = Paths(data=tmp_path, cache=tmp_path / "cache")
    built = noise_avatar(paths.avatars / "leo")

    assert Catalog(paths).find("leo").directory == built.directory


@pytest.mark.parametrize("name", ["../leo", "", "a/b", "nobody"])
def test_what_is_no_avatar_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownAvatar):
        Catalog(Paths(data=tmp_path, cache=tmp_path)).find(name)


def test_a_damaged_one_is_told_without_its_place(tmp_path: Path) -> None:
    paths = Paths(data=tmp_path, cache=tmp_path / "cache")
    (noise_avatar(paths.avatars / "anna").directory / MANIFEST).write_text("{")

    with pytest.raises(BundleError) as raised:
        Catalog(paths).find("anna")
    assert str(tmp_path) not in str(raised.value)


def test_a_bundle_is_opened_again_only_when_it_was_replaced(tmp_path: Path) -> None:
    catalog = Catalog(Paths(data=tmp_path, cache=tmp_path / "cache"))
    noise_avatar(tmp_path / "avatars" / "anna")
    first = catalog.find("anna")
    assert catalog.find("anna") is first

    second = noise_avatar(tmp_path / "avatars" / "anna", EDGE_BOXES[:2])

    assert catalog.find("anna").manifest == second.manifest
    assert catalog.find("anna") is catalog.find("anna")
