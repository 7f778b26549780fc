import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from farm.errors import SourceUnusable
from farm.pictures import read_rgb, size_of
from tests.material import clouds
from workers.arrays import U8


@pytest.fixture
def frame() -> U8:
    return next(clouds(1, 60, 40))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "wrong_ending.jpg"])
def test_lossless_pixels_come_back(tmp_path: Path, frame: U8, name: str) -> None:
    kind = "PNG" if "wrong" in name else None
    Image.fromarray(frame).save(tmp_path / name, kind)

    assert np.array_equal(read_rgb(tmp_path / name), frame)
    assert size_of(tmp_path / name) == (60, 40)


def test_transparency_is_dropped_whatever_is_under_it(tmp_path: Path, frame: U8) -> None:
    alpha = np.tile(np.arange(60, dtype=np.uint8), (40, 1))[:, :, None]
    Image.fromarray(np.concatenate([frame, alpha], 2)).save(tmp_path / "a.png")

    assert np.array_equal(read_rgb(tmp_path / "a.png"), frame)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_other_kinds_of_pixels_become_rgb(tmp_path: Path, frame: U8, mode: str) -> None:
    picture = Image.fromarray(frame).convert(mode)
    picture.save(tmp_path / "a.png")

    assert np.array_equal(read_rgb(tmp_path / "a.png"), np.asarray(picture.convert("RGB")))


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    wide = np.linspace(0, 65_535, 60 * 40).astype(np.uint16).reshape(40, 60)
    Image.fromarray(wide).save(tmp_path / "a.png")

    rgb = read_rgb(tmp_path / "a.png")

    assert np.array_equal(rgb, np.rint(wide / 257).astype(np.uint8)[:, :, None].repeat(3, 2))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1))],
)
def test_pictures_are_turned_upright(
    tmp_path: Path, frame: U8, name: str, orientation: int, upright: Callable[[U8], U8]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(frame).save(tmp_path / "flat.png")
    Image.fromarray(frame).save(tmp_path / name, quality=100, subsampling=0, exif=exif)

    rgb = read_rgb(tmp_path / name)

    assert np.max(np.abs(rgb.astype(int) - upright(frame))) <= 3
    assert size_of(tmp_path / name) == (rgb.shape[1], rgb.shape[0])


def tiny_png_of(width: int, height: int) -> bytes:
    """A header that promises much."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [read_rgb, size_of])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"GIF89a",
        tiny_png_of(60_000, 10),
        tiny_png_of(16_384, 16_384),
        tiny_png_of(0, 0),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
)
def test_what_is_no_picture_or_a_bomb_is_refused_by_name(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(SourceUnusable, match=r"a\.png: "):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_cut_picture_is_refused_by_name(
    tmp_path: Path, frame: U8, name: str, kept: float
) -> None:
    Image.fromarray(frame).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(kept * len(content))])

    with pytest.raises(SourceUnusable, match=name):
        read_rgb(tmp_path / name)


@pytest.mark.skipif(bool(features.check("webp")), reason="this Pillow reads WebP")
def test_webp_without_webp_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"RIFF\x1a\0\0\0WEBPVP8L")

    with pytest.raises(SourceUnusable, match="built without WebP"):
        read_rgb(tmp_path / "a.webp")
