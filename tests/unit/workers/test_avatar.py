import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.material import EDGE_BOXES, FAMILY, clouds, noise_avatar
from workers.avatar import CROPS, FRAMES, MANIFEST, Bundle
from workers.avatar_compiler import compile_avatar
from workers.errors import BundleError
from workers.geometry import Box
from workers.kernels.crop import crop_canvas


@pytest.fixture
def copy(edge_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edge_bundle.directory, tmp_path / "copy"))


def flip_a_byte(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_bundle_gives_back_what_it_was_compiled_from(edge_bundle: Bundle) -> None:
    for index, (frame, box) in enumerate(zip(clouds(4), EDGE_BOXES, strict=True)):
        assert np.array_equal(edge_bundle.frame(index), frame)
        assert edge_bundle.box(index) == box
        assert np.array_equal(edge_bundle.crop(index), crop_canvas(frame, box, 328))


def test_pixels_are_mapped_not_read(edge_bundle: Bundle) -> None:
    assert isinstance(edge_bundle.frame(0), np.memmap)
    assert not edge_bundle.frame(0).flags.writeable


def test_an_intact_bundle_verifies(edge_bundle: Bundle) -> None:
    Bundle(edge_bundle.directory).verify()


@pytest.mark.parametrize("name", [FRAMES, CROPS])
@pytest.mark.parametrize("at", [0, -1])
def test_one_changed_byte_is_found_when_its_image_is_used(copy: Path, name: str, at: int) -> None:
    flip_a_byte(copy / name, at)
    damaged, intact = (0, 3) if at == 0 else (3, 0)
    bundle = Bundle(copy)
    use = bundle.frame if name == FRAMES else bundle.crop

    use(intact)

    with pytest.raises(BundleError, match=f"{name}: image {damaged} is damaged"):
        use(damaged)
    with pytest.raises(BundleError, match=f"{name}: image {damaged} is damaged"):
        bundle.verify()


@pytest.mark.parametrize("at", range(0, 600, 37))
def test_one_changed_byte_in_the_manifest_is_found_at_once(copy: Path, at: int) -> None:
    flip_a_byte(copy / MANIFEST, at)

    with pytest.raises(BundleError, match=MANIFEST):
        Bundle(copy)


@pytest.mark.parametrize("name", [MANIFEST, FRAMES, CROPS])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(BundleError, match=f"{name}: No such file"):
        Bundle(copy)


def test_a_cut_file_is_found_at_once(copy: Path) -> None:
    with open(copy / FRAMES, "rb+") as frames:
        frames.truncate(1000)

    with pytest.raises(BundleError, match="1000 bytes, the manifest says"):
        Bundle(copy)


Fields = dict[str, object]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(format=99), "format 99, not 1: build it again"),
        (lambda m: m.update(width_px=10**9), "digest"),
        (lambda m: m.pop("boxes"), "boxes"),
        (lambda m: m.update(boxes=7), "not iterable"),
        (lambda m: m.update(extra=1), "extra"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(
    copy: Path, change: Callable[[Fields], object], reason: str
) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(BundleError, match=reason):
        Bundle(copy)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\x00"])
def test_a_manifest_that_is_no_manifest_is_refused(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)

    with pytest.raises(BundleError, match=MANIFEST):
        Bundle(copy)


@pytest.mark.parametrize("box", [Box(500, 0, 20), Box(0, 0, 0), Box(0, 0, 20_000)])
def test_boxes_that_cannot_be_used_are_refused_and_leave_nothing(tmp_path: Path, box: Box) -> None:
    with pytest.raises(ValueError, match=r"side of|outside"):
        noise_avatar(tmp_path / "bad", [box])

    assert list(tmp_path.iterdir()) == []


def test_a_compilation_that_fails_keeps_the_old_bundle(tmp_path: Path) -> None:
    old = noise_avatar(tmp_path / "a").manifest.digest

    with pytest.raises(ValueError, match="one size"):
        compile_avatar(
            zip([*clouds(1), *clouds(1, 640, 480)], EDGE_BOXES, strict=False),
            tmp_path / "a",
            avatar_id="a",
            source_version="2",
            family=FAMILY,
        )

    assert Bundle(tmp_path / "a").manifest.digest == old
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_compiling_again_replaces_the_bundle(tmp_path: Path) -> None:
    first = noise_avatar(tmp_path / "a")
    before = first.frame(0).copy()

    second = noise_avatar(tmp_path / "a", EDGE_BOXES[:2])

    assert second.manifest.n_templates == 2
    assert np.array_equal(first.frame(0), before), "an open bundle keeps its pixels"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
