"""The oracle is simple: encode the whole composited picture, and expect the same bytes."""

import io
import mmap
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.material import clouds
from workers.arrays import U8
from workers.geometry import Rect
from workers.kernels.jpeg import MCU_PX, JpegSettings, NotSpliceable, encode_jpeg, split
from workers.kernels.splice import (
    CHANGE_HEADER,
    UNCHANGED,
    SpliceGrid,
    TemplateJpeg,
    changed,
    intervals,
    join,
    splice,
)

PRIME_ROWS_PX = [43 * 16, 67 * 16, 43 * 16 - 15, 67 * 8, 67 * 16 - 1]  #: 43 and 67 MCUs

many = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True, eq=False)
class Scene:
    """A template frame, and the same frame with other pixels in a rectangle."""

    grid: SpliceGrid
    rect: Rect
    frame: U8
    composited: U8

    @property
    def template(self) -> TemplateJpeg:
        return TemplateJpeg.parse(self.encode(self.frame), self.grid)

    @property
    def patch_jpeg(self) -> bytes:
        patch = self.grid.patch_rect(self.rect)
        if patch.is_empty():
            return b""
        return self.encode(self.composited[patch.y0 : patch.y1, patch.x0 : patch.x1])

    @property
    def whole_jpeg(self) -> bytes:
        return self.encode(self.composited)

    @property
    def change(self) -> bytes:
        return changed(self.patch_jpeg, self.template, self.rect)

    def encode(self, image: U8) -> bytes:
        return encode_jpeg(Image.fromarray(np.ascontiguousarray(image)), self.grid.settings)


def picture(kind: str, width: int, height: int, rng: np.random.Generator) -> U8:
    if kind == "noisy":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    smooth = next(clouds(1, width, height))
    return smooth if kind == "smooth" else (smooth + rng.integers(0, 9, smooth.shape, np.uint8))


def scene(grid: SpliceGrid, rect: Rect, *, seed: int = 1, kind: str = "grainy") -> Scene:
    rng = np.random.default_rng(seed)
    frame = picture(kind, grid.width_px, grid.height_px, rng)
    composited = frame.copy()
    seen = rect.clipped_to(grid.width_px, grid.height_px)
    if not seen.is_empty():
        mouth = picture(kind, seen.width, seen.height, rng)
        composited[seen.y0 : seen.y1, seen.x0 : seen.x1] = 255 - mouth
    return Scene(grid, rect, frame, composited)


@st.composite
def grids(draw: st.DrawFn) -> SpliceGrid:
    width = draw(st.integers(1, 420) | st.sampled_from(PRIME_ROWS_PX))
    height = draw(st.integers(1, 150))
    chroma = draw(st.sampled_from(sorted(MCU_PX)))
    interval = draw(st.sampled_from(intervals(-(-width // MCU_PX[chroma][0]))))
    quality = draw(st.integers(1, 95) | st.just(100))
    return SpliceGrid(width, height, JpegSettings(quality, chroma, interval))


@st.composite
def rects(draw: st.DrawFn, grid: SpliceGrid) -> Rect:
    """Inside, across edges, along edges, outside, or all of the frame."""
    x0, x1 = draw(_ends(grid.width_px)), draw(_ends(grid.width_px))
    y0, y1 = draw(_ends(grid.height_px)), draw(_ends(grid.height_px))
    return Rect(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _ends(side_px: int) -> st.SearchStrategy[int]:
    return st.integers(-40, side_px + 40) | st.sampled_from([0, side_px])


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    grid = draw(grids())
    kind = draw(st.sampled_from(["smooth", "grainy", "noisy"]))
    return scene(grid, draw(rects(grid)), seed=draw(st.integers(0, 2**32 - 1)), kind=kind)


@many
@given(scenes())
def test_a_spliced_frame_is_the_whole_frame_encoded(scene: Scene) -> None:
    spliced = splice(scene.template, scene.patch_jpeg, scene.rect)

    assert spliced == scene.whole_jpeg


@pytest.mark.parametrize("chroma", MCU_PX)
@pytest.mark.parametrize(
    "rect",
    [
        Rect(0, 0, 1, 1),
        Rect(360, 242, 361, 243),
        Rect(-20, 100, 30, 300),
        Rect(300, -9, 400, 40),
        Rect(0, 240, 361, 243),
        Rect(0, 0, 361, 243),
        Rect(-1, -1, 400, 400),
    ],
)
def test_changes_at_the_frames_edges_give_the_whole_frame(chroma: str, rect: Rect) -> None:
    for interval in intervals(-(-361 // MCU_PX[chroma][0])):
        frames = scene(SpliceGrid(361, 243, JpegSettings(85, chroma, interval)), rect)

        spliced = splice(frames.template, frames.patch_jpeg, frames.rect)

        assert spliced == frames.whole_jpeg


@pytest.mark.parametrize("chroma", MCU_PX)
def test_every_interval_of_a_full_hd_row_gives_the_whole_frame(chroma: str) -> None:
    for interval in intervals(1920 // MCU_PX[chroma][0]):
        grid = SpliceGrid(1920, 72, JpegSettings(90, chroma, interval))
        frames = scene(grid, Rect(811, 19, 1111, 60))

        spliced = splice(frames.template, frames.patch_jpeg, frames.rect)

        assert spliced == frames.whole_jpeg


@many
@given(st.data())
def test_a_patch_is_the_segments_that_touch_the_rectangle(data: st.DataObject) -> None:
    grid = data.draw(grids())
    rect = data.draw(rects(grid))

    patch = grid.patch_rect(rect)

    seen = rect.clipped_to(grid.width_px, grid.height_px)
    width, height = grid.segment_px
    if seen.is_empty():
        assert patch.is_empty()
        return
    assert patch.x0 <= seen.x0 < patch.x0 + width
    assert patch.y0 <= seen.y0 < patch.y0 + height
    assert patch.x1 - width < seen.x1 <= patch.x1
    assert patch.y1 - height < seen.y1 <= patch.y1
    assert patch.x0 % width == patch.y0 % height == 0
    assert patch.x1 % width == 0 or patch.x1 == grid.width_px
    assert patch.y1 % height == 0 or patch.y1 == grid.height_px


@pytest.mark.parametrize("chroma", MCU_PX)
def test_another_decoder_reads_spliced_frames(chroma: str) -> None:
    frames = scene(SpliceGrid(361, 243, JpegSettings(90, chroma, 1)), Rect(101, 43, 298, 140))

    jpeg = splice(frames.template, frames.patch_jpeg, frames.rect)

    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    assert np.abs(bgr[..., ::-1].astype(int) - decoded(jpeg)).max() <= 2
    assert np.abs(decoded(jpeg).astype(int) - frames.composited).mean() < 4


def decoded(jpeg: bytes) -> U8:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image)


GRID = SpliceGrid(200, 100, JpegSettings(80, "4:4:4", 5))
FRAMES = scene(GRID, Rect(70, 30, 130, 77))


def test_many_templates_lie_in_one_mapped_file(tmp_path: Path) -> None:
    every = [scene(GRID, FRAMES.rect, seed=seed, kind="noisy") for seed in range(3)]
    parts = [split(frames.encode(frames.frame)) for frames in every]
    begins = np.cumsum([0, *[len(part.body) for part in parts]])
    path = tmp_path / "templates"
    path.write_bytes(b"".join(part.body for part in parts))

    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as body,
    ):
        for frames, part, begin in zip(every, parts, begins, strict=False):
            template = TemplateJpeg(GRID, part.head, body, part.offsets + begin)
            assert splice(template, frames.patch_jpeg, frames.rect) == frames.whole_jpeg


@pytest.mark.parametrize("rect", [Rect(-9, 5, 0, 9), Rect(200, 0, 300, 9), Rect(7, 7, 7, 9)])
def test_a_rectangle_without_pixels_changes_nothing(rect: Rect) -> None:
    change = changed(b"", FRAMES.template, rect)

    assert change == UNCHANGED
    assert join(FRAMES.template, change) == FRAMES.encode(FRAMES.frame)


def test_a_change_is_joined_from_a_view_as_well() -> None:
    assert join(FRAMES.template, memoryview(FRAMES.change)) == FRAMES.whole_jpeg


def test_a_change_is_hardly_larger_than_its_patch() -> None:
    patch = split(FRAMES.patch_jpeg)

    assert len(FRAMES.change) == len(patch.body) + CHANGE_HEADER.size


@pytest.mark.parametrize(
    "other",
    [
        replace(GRID.settings, quality=81),
        replace(GRID.settings, chroma="4:2:2"),
        replace(GRID.settings, interval=1),
        replace(GRID.settings, interval=0),
    ],
)
def test_a_patch_or_template_of_other_settings_is_refused(other: JpegSettings) -> None:
    patch = GRID.patch_rect(FRAMES.rect)
    image = Image.fromarray(FRAMES.composited)
    pixels = image.crop((patch.x0, patch.y0, patch.x1, patch.y1))

    with pytest.raises(NotSpliceable, match="encoded as the template"):
        changed(encode_jpeg(pixels, other), FRAMES.template, FRAMES.rect)
    with pytest.raises(NotSpliceable, match="encoded otherwise"):
        TemplateJpeg.parse(encode_jpeg(image, other), GRID)


def test_a_patch_of_another_size_is_refused() -> None:
    with pytest.raises(NotSpliceable, match="pixels encoded"):
        changed(FRAMES.patch_jpeg, FRAMES.template, Rect(0, 0, 9, 9))


def test_a_patch_that_lacks_segments_is_refused() -> None:
    jpeg = FRAMES.patch_jpeg
    cut = jpeg[: jpeg.rindex(b"\xff", 0, -2)] + b"\xff\xd9"

    with pytest.raises(NotSpliceable, match="segments where"):
        changed(cut, FRAMES.template, FRAMES.rect)


@pytest.mark.parametrize("interval", [0, 2, 24, 50])
def test_segments_that_straddle_rows_are_refused(interval: int) -> None:
    with pytest.raises(ValueError, match="one of 1, 5, 25"):
        SpliceGrid(200, 100, JpegSettings(80, "4:4:4", interval))


@pytest.mark.parametrize(("width", "height"), [(0, 9), (9, 0), (65_501, 9), (9, 65_501)])
def test_frames_that_libjpeg_cannot_encode_are_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=r"sides must be 1\.\.65500"):
        SpliceGrid(width, height, JpegSettings(80, "4:4:4", 1))


def test_the_prime_widths_leave_two_intervals() -> None:
    assert intervals(67) == [1, 67]
    assert intervals(120)[:7] == [1, 2, 3, 4, 5, 6, 8]


@pytest.mark.parametrize("spoil", ["short", "back", "negative", "long", "type"])
def test_offsets_that_do_not_fit_the_template_are_refused(spoil: str) -> None:
    template = FRAMES.template
    offsets = template.offsets.copy()
    if spoil == "short":
        offsets = offsets[:-1]
    elif spoil == "back":
        offsets[5] = offsets[6]
    elif spoil == "negative":
        offsets[0] = -1
    elif spoil == "long":
        offsets[-1] += 1

    with pytest.raises(NotSpliceable, match="offsets"):
        replace(template, offsets=offsets.astype(np.uint32) if spoil == "type" else offsets)


CHANGE = FRAMES.change
AREA = CHANGE_HEADER.unpack_from(CHANGE)


BODY = CHANGE[CHANGE_HEADER.size :]
HOSTILE = {
    "nothing": b"",
    "part of a header": CHANGE[:7],
    "no segments": CHANGE[:8],
    "cut short": CHANGE[:-1],
    "a byte too many": CHANGE + b"\0",
    "a marker too many at the end": CHANGE + CHANGE[-2:],
    "a marker too many at the start": CHANGE[:8] + b"\xff\xd1" + BODY,
    "unchanged, with segments": UNCHANGED + BODY,
    "the end of the image": CHANGE[:8] + b"\xff\xd9",
    "a marker out of order": CHANGE[:8] + BODY.replace(b"\xff\xd4", b"\xff\xd5", 1),
    "a marker from the head": CHANGE[:8] + BODY.replace(b"\xff\xd4", b"\xff\xc4", 1),
    "columns moved": CHANGE_HEADER.pack(*AREA[:2], AREA[2] + 1, AREA[3] + 1) + BODY,
    "rows moved": CHANGE_HEADER.pack(AREA[0] + 1, AREA[1] + 1, *AREA[2:]) + BODY,
    "rows reversed": CHANGE_HEADER.pack(AREA[1], AREA[0], *AREA[2:]) + BODY,
    "outside the grid": CHANGE_HEADER.pack(*AREA[:2], 65_534, 65_535) + BODY,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_change_that_breaks_the_layout_is_refused(hostile: bytes) -> None:
    with pytest.raises(NotSpliceable):
        join(FRAMES.template, hostile)


@many
@given(
    st.integers(0, len(CHANGE)),
    st.binary(max_size=8) | st.sampled_from([CHANGE[k : k + 40] for k in range(8, 300, 9)]),
    st.integers(0, 8) | st.integers(0, 400),
)
def test_a_mutated_change_is_refused_or_gives_a_jpeg_of_the_grid(
    at: int, new: bytes, n_replaced: int
) -> None:
    try:
        jpeg = join(FRAMES.template, CHANGE[:at] + new + CHANGE[at + n_replaced :])
    except NotSpliceable:
        return

    parts = split(jpeg)
    assert parts.head == FRAMES.template.head
    assert len(parts.offsets) == GRID.n_segments + 1


@many
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(junk: bytes) -> None:
    if junk != UNCHANGED:
        with pytest.raises(NotSpliceable):
            join(FRAMES.template, junk)


@pytest.mark.parametrize("seed", range(20))
def test_damage_inside_a_segment_shows_in_that_segment_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = split(FRAMES.whole_jpeg)
    row0, _, column0, _ = AREA
    k = row0 * GRID.segments_per_row + column0
    n_bytes = int(parts.offsets[k + 1] - parts.offsets[k]) - 2
    junk = rng.integers(0, 255, n_bytes, dtype=np.uint8).tobytes()

    jpeg = join(FRAMES.template, CHANGE[:8] + junk + CHANGE[8 + n_bytes :])

    differs = (decoded(jpeg) != decoded(FRAMES.whole_jpeg)).any(axis=-1)
    width, height = GRID.segment_px
    y0, x0 = row0 * height, column0 * width
    assert differs[y0 : y0 + height, x0 : x0 + width].any()
    differs[y0 : y0 + height, x0 : x0 + width] = False
    assert not differs.any()
