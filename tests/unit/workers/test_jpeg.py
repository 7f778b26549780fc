import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from tests.material import clouds, psnr_db
from workers.kernels import jpeg
from workers.kernels.jpeg import (
    MCU_PX,
    JpegSettings,
    NotSpliceable,
    encode_by_codec,
    encode_by_save,
    encode_jpeg,
    split,
    with_size,
)
from workers.kernels.tensors import as_image

#: ITU-T T.81, table K.3: counts of codes by length, then the values.
STANDARD_DC_LUMINANCE = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, *range(12)])
SETTINGS = JpegSettings(90, "4:2:0", 3)

Encode = Callable[[Image.Image, JpegSettings], bytes]


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(next(clouds(1, width, height)))


JPEG = encode_jpeg(picture(96, 64), SETTINGS)


@pytest.mark.parametrize(
    ("chroma", "sampling"), [("4:2:0", (2, 2)), ("4:2:2", (2, 1)), ("4:4:4", (1, 1))]
)
def test_what_is_written_is_baseline_with_standard_tables(
    chroma: str, sampling: tuple[int, int]
) -> None:
    jpeg = encode_jpeg(picture(96, 64), JpegSettings(90, chroma, 2))

    with Image.open(io.BytesIO(jpeg)) as image:
        assert "progressive" not in image.info
        layers = image.layer  # type: ignore[attr-defined]
        assert psnr_db(np.asarray(image), np.asarray(picture(96, 64))) > 35
    assert [layer[1:3] for layer in layers] == [sampling, (1, 1), (1, 1)]
    assert MCU_PX[chroma] == (8 * sampling[0], 8 * sampling[1])
    assert STANDARD_DC_LUMINANCE in jpeg


@pytest.mark.parametrize("encode", [encode_jpeg, encode_by_codec, encode_by_save])
@pytest.mark.parametrize("chroma", MCU_PX)
@pytest.mark.parametrize("quality", [95, 100])
def test_a_jpeg_larger_than_pillows_buffer_is_whole(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    quality: int,
    chroma: str,
    encode: Encode,
) -> None:
    """It is taken from libjpeg in pieces of 64 KiB, and libjpeg stops in the middle of rows."""
    image = Image.fromarray(rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8))
    settings = JpegSettings(quality, chroma, 2)

    in_pieces = encode(image, settings)

    monkeypatch.setattr(ImageFile, "MAXBLOCK", 64 * 2**20)
    monkeypatch.setattr(jpeg, "PIECE_BYTES", 64 * 2**20)
    assert len(in_pieces) > 20 * 65_536
    assert in_pieces == encode(image, settings)


@settings(deadline=None)
@given(
    st.sampled_from(["RGB", "RGBX"]),
    st.builds(JpegSettings, st.integers(1, 100), st.sampled_from([*MCU_PX]), st.integers(0, 9)),
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.integers(0, 2**32 - 1),
)
def test_pillows_codec_gives_what_its_public_way_gives(
    mode: str, settings: JpegSettings, size: tuple[int, int], seed: int
) -> None:
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(noise).convert(mode)

    assert encode_by_codec(image, settings) == encode_by_save(image, settings)


def test_pillows_codec_encodes_an_image_that_was_not_loaded_yet() -> None:
    def opened() -> Image.Image:
        return Image.open(io.BytesIO(JPEG))

    assert encode_by_codec(opened(), SETTINGS) == encode_by_save(opened(), SETTINGS)


def gone(_image: Image.Image, _settings: JpegSettings) -> bytes:
    raise AttributeError("no such codec")


def with_other_arguments(_image: Image.Image, _settings: JpegSettings) -> bytes:
    raise TypeError("takes 17 arguments")


def with_other_bytes(image: Image.Image, settings: JpegSettings) -> bytes:
    return encode_by_save(image, replace(settings, interval=7))


@pytest.mark.parametrize("codec", [gone, with_other_arguments, with_other_bytes])
def test_a_codec_that_has_changed_is_not_used(
    monkeypatch: pytest.MonkeyPatch, codec: Encode
) -> None:
    monkeypatch.setattr(jpeg, "encode_by_codec", codec)
    jpeg.is_codec_exact.cache_clear()

    try:
        assert encode_jpeg(picture(96, 64), SETTINGS) == JPEG
    finally:
        jpeg.is_codec_exact.cache_clear()


def test_a_sources_comment_does_not_come_along() -> None:
    image = picture(16, 16)
    image.info["comment"] = b"made with love"

    assert encode_jpeg(image, SETTINGS) == encode_jpeg(picture(16, 16), SETTINGS)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_only_rgb_is_encoded(mode: str) -> None:
    with pytest.raises(ValueError, match="must be RGB"):
        encode_jpeg(Image.new(mode, (16, 16)), SETTINGS)


@pytest.mark.parametrize(
    ("quality", "chroma", "interval"),
    [
        (0, "4:2:0", 1),
        (101, "4:2:0", 1),
        (75, "4:1:1", 1),
        (75, "", 1),
        (75, "4:2:0", -1),
        (75, "4:2:0", 65_536),
    ],
)
def test_settings_out_of_range_are_refused(quality: int, chroma: str, interval: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        JpegSettings(quality, chroma, interval)


@pytest.mark.parametrize(("interval", "n_segments"), [(0, 1), (1, 24), (3, 8), (6, 4), (24, 1)])
def test_a_split_jpeg_has_a_segment_for_each_interval(interval: int, n_segments: int) -> None:
    jpeg = encode_jpeg(picture(96, 64), JpegSettings(90, "4:2:0", interval))

    parts = split(jpeg)

    assert parts.head + bytes(parts.body) == jpeg
    assert parts.offsets[0] == 0
    assert parts.offsets[-1] == len(parts.body)
    assert len(parts.offsets) == n_segments + 1
    markers = [bytes(parts.body[end - 2 : end]) for end in parts.offsets[1:]]
    assert markers[:-1] == [bytes((0xFF, 0xD0 + k % 8)) for k in range(n_segments - 1)]
    assert markers[-1] == b"\xff\xd9"


def test_a_head_of_another_size_is_that_of_the_other_jpeg() -> None:
    other = split(encode_jpeg(picture(33, 1), SETTINGS))

    assert with_size(split(JPEG).head, 33, 1) == other.head


def saved(**options: object) -> bytes:
    out = io.BytesIO()
    picture(96, 64).save(out, **options)  # type: ignore[arg-type]
    return out.getvalue()


BODY = len(split(JPEG).head)
NO_JPEGS = {
    "nothing": b"",
    "only SOI": b"\xff\xd8",
    "PNG": saved(format="PNG"),
    "progressive": saved(format="JPEG", progressive=True),
    "a byte after EOI": JPEG + b"\0",
    "half of EOI": JPEG[:-1],
    "no EOI": JPEG[:-2],
    "part of a segment": JPEG[: BODY + 20],
    "no segments": JPEG[:BODY],
    "part of a head": JPEG[:40],
    "markers out of order": JPEG.replace(b"\xff\xd1", b"\xff\xd3"),
    "a marker of ones": JPEG.replace(b"\xff\xd1", b"\xff\xff"),
    "a marker without a length": JPEG[:4] + b"\0\0" + JPEG[6:],
    "two": JPEG + JPEG,
}


@pytest.mark.parametrize("no_jpeg", NO_JPEGS.values(), ids=NO_JPEGS.keys())
def test_what_is_no_jpeg_of_ours_is_not_split(no_jpeg: bytes) -> None:
    with pytest.raises(NotSpliceable):
        split(no_jpeg)


@settings(deadline=None)
@given(st.integers(0, len(JPEG) - 1), st.binary(max_size=6), st.integers(0, 6))
@also(2, b"\xff\xda\x00\x02", 4)
def test_damage_is_refused_or_leaves_segments(at: int, new: bytes, n_replaced: int) -> None:
    damaged = JPEG[:at] + new + JPEG[at + n_replaced :]

    try:
        parts = split(damaged)
    except NotSpliceable:
        return

    assert parts.head + bytes(parts.body) == damaged
    assert (np.diff(parts.offsets) >= 2).all()


@pytest.mark.parametrize("no_head", [b"", b"\xff\xd8", split(JPEG).head[:30], JPEG[BODY:]])
def test_a_head_without_a_size_is_refused(no_head: bytes) -> None:
    with pytest.raises(NotSpliceable):
        with_size(no_head, 16, 16)


def test_a_fourth_byte_of_pixels_changes_nothing(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (50, 70, 4), dtype=np.uint8)
    rgb = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    for chroma in MCU_PX:
        settings = JpegSettings(90, chroma, 2)

        assert encode_jpeg(as_image(pixels), settings) == encode_jpeg(rgb, settings)
