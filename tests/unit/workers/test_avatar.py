import json
import mmap
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.material import EDGE_BOXES, FAMILY, clouds, noise_avatar
from workers.arrays import U8
from workers.avatar import CROPS, FILES, MANIFEST, OFFSETS, PATCHES, SEGMENTS, Bundle
from workers.avatar_compiler import compile_avatar
from workers.errors import BundleError
from workers.geometry import Box
from workers.kernels.crop import crop_canvas
from workers.kernels.jpeg import encode_jpeg
from workers.kernels.splice import UNCHANGED, join
from workers.manifest import Manifest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(edge_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edge_bundle.directory, tmp_path / "copy"))


def flip_a_byte(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_bundle_gives_back_what_it_was_compiled_from(edge_bundle: Bundle) -> None:
    for index, (frame, box) in enumerate(zip(clouds(4), EDGE_BOXES, strict=True)):
        at = edge_bundle.patch_rect(index)
        assert np.array_equal(edge_bundle.patch(index), frame[at.y0 : at.y1, at.x0 : at.x1])
        whole = encode_jpeg(Image.fromarray(frame), edge_bundle.manifest.grid.settings)
        assert join(edge_bundle.template(index), UNCHANGED) == whole
        assert edge_bundle.box(index) == box
        assert np.array_equal(edge_bundle.crop(index), crop_canvas(frame, box, 328))


def test_pixels_are_mapped_not_read(edge_bundle: Bundle) -> None:
    for pixels in (edge_bundle.crop(0), edge_bundle.patch(0)):
        assert isinstance(owner(pixels), mmap.mmap)
        assert not pixels.flags.writeable
    assert edge_bundle.template(0).body.readonly


def owner(pixels: U8) -> object:
    """Whose memory it is in the end."""
    base: object = pixels
    while isinstance(base, np.ndarray):
        base = base.base
    return base


def test_an_intact_bundle_verifies(edge_bundle: Bundle) -> None:
    Bundle(edge_bundle.directory).verify()


@pytest.mark.parametrize("name", [CROPS, PATCHES, SEGMENTS, OFFSETS])
@pytest.mark.parametrize("at", [0, -1])
def test_one_changed_byte_is_found_when_its_image_is_used(copy: Path, name: str, at: int) -> None:
    flip_a_byte(copy / name, at)
    damaged, intact = (0, 3) if at == 0 else (3, 0)
    bundle = Bundle(copy)
    use = {CROPS: bundle.crop, PATCHES: bundle.patch}.get(name, bundle.template)

    use(intact)

    for fails in (lambda: use(damaged), bundle.verify):
        with pytest.raises(BundleError, match=rf"\.\w+: template {damaged} is damaged"):
            fails()


@pytest.mark.parametrize("at", range(0, 600, 37))
def test_one_changed_byte_in_the_manifest_is_found_at_once(copy: Path, at: int) -> None:
    flip_a_byte(copy / MANIFEST, at)

    with pytest.raises(BundleError, match=MANIFEST):
        Bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(BundleError, match=f"{name}"):
        Bundle(copy)


def test_a_cut_file_is_found_at_once(copy: Path) -> None:
    with open(copy / PATCHES, "rb+") as patches:
        patches.truncate(1000)

    with pytest.raises(BundleError, match="1000 bytes, the manifest says"):
        Bundle(copy)


Fields = dict[str, object]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(format=99), "format 99, not 2: build it again"),
        (lambda m: m.update(width_px=10), "digest"),
        (lambda m: m.pop("boxes"), "fields are missing"),
        (lambda m: m.update(boxes=7), "fields are missing"),
        (lambda m: m.update(extra=1), "fields are missing"),
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


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "{}", "\x00", "[" * 100_000])
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
    before = first.patch(0).copy()

    second = noise_avatar(tmp_path / "a", EDGE_BOXES[:2])

    assert second.manifest.n_templates == 2
    assert np.array_equal(first.patch(0), before), "an open bundle keeps its pixels"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"canvas_px": -1},
        {"canvas_px": "328"},
        {"width_px": 361.0},
        {"boxes": ((1.5, 2, 3),) * 4},
        {"boxes": (Box(0, 0, 5_000),) * 4},
        {"boxes": (Box(4_000, 0, 50),) * 4},
        {"avatar_id": "../../x"},
        {"avatar_id": "\x1b[31m"},
        {"family": 7},
        {"family": "other"},
        {"paste": "wet"},
        {"quality": 0},
        {"quality": 90.0},
        {"chroma": "4:1:1"},
        {"interval": 0},
        {"interval": 7},
        {"head": "xyz"},
        {"head": ""},
        {"body_bytes": 1.0},
        {"jpeg_sha256": ()},
        {"crop_sha256": ()},
    ],
)
def test_a_manifest_whose_digest_is_right_can_still_be_wrong(
    copy: Path, wrong: dict[str, object]
) -> None:
    honest = Manifest.from_json((copy / MANIFEST).read_text())
    boxes = wrong.pop("boxes", honest.boxes)
    lying = replace(honest, boxes=tuple(BoxLike(*astuple_of(b)) for b in boxes), **wrong)  # type: ignore[attr-defined, arg-type]
    (copy / MANIFEST).write_text(lying.to_json())

    with pytest.raises(BundleError, match=f"{MANIFEST}: not a sound manifest"):
        Bundle(copy)


class BoxLike(NamedTuple):
    """A box without opinions about its numbers."""

    x: float
    y: float
    side: float


def astuple_of(box: object) -> tuple[float, ...]:
    return box if isinstance(box, tuple) else (box.x, box.y, box.side)  # type: ignore[attr-defined]


def test_a_bundle_for_other_models_is_refused(copy: Path) -> None:
    other = replace(FAMILY, name="other", canvas_px=168)

    Bundle(copy).require_family(FAMILY)

    with pytest.raises(BundleError, match="compiled for synctalk-328-ave at 328 pixels"):
        Bundle(copy).require_family(other)


def test_a_bundle_is_there_and_whole_while_it_is_replaced(tmp_path: Path) -> None:
    """Two writers and this reader: every opening sees one bundle, the old or the new."""
    noise_avatar(tmp_path / "a", EDGE_BOXES[3:])
    program = (
        "import sys; from pathlib import Path; from tests.material import *\n"
        "for k in range(40): noise_avatar(Path(sys.argv[1]), EDGE_BOXES[3 - k % 2:])"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "a"], cwd=ROOT)
        for _ in range(2)
    ]

    n_openings = 0
    while any(writer.poll() is None for writer in writers):
        bundle = Bundle(tmp_path / "a")
        bundle.verify()
        n_openings += 1

    assert [writer.returncode for writer in writers] == [0, 0]
    assert n_openings > 10
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "head", ["00", "ffd8", "ffd8ffda0002", "00" * 700], ids=["no SOI", "only SOI", "cut", "zeros"]
)
def test_a_head_that_we_would_not_write_is_refused(copy: Path, head: str) -> None:
    honest = Manifest.from_json((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(replace(honest, head=head).to_json())

    with pytest.raises(BundleError, match="another JPEG encoder; build it again"):
        Bundle(copy)


@pytest.mark.parametrize("shift", [-(2**62), 2**62, -1, 1])
@pytest.mark.parametrize("at", [0, 1, -1])
def test_offsets_that_lead_elsewhere_are_refused(copy: Path, shift: int, at: int) -> None:
    """Also when whoever changed them has made the checksums right."""
    offsets = np.fromfile(copy / OFFSETS, "<i8").reshape(4, -1)
    offsets[1, at] += shift
    offsets[1, 2::2] += shift if abs(shift) > 1 and at == 1 else 0
    offsets.tofile(copy / OFFSETS)

    with pytest.raises(BundleError, match="template 1 is damaged"):
        Bundle(copy).template(1)


def test_segments_that_are_no_picture_are_refused_when_decoded(copy: Path) -> None:
    bundle = Bundle(copy)
    template = bundle.template(0)
    body = np.frombuffer(template.body, np.uint8).copy()
    body[:] = 0
    bundle._templates[0] = replace(template, body=body.data)

    with pytest.raises(BundleError, match="cannot be decoded"):
        bundle.frame(0)
