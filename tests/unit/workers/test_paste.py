"""A mouth back into its frame: the identity test, what may change, and the feather's arithmetic."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from farm.demo.avatar import draw_frame
from tests.material import FAMILY, psnr_db
from workers.arrays import F64, U8
from workers.geometry import Box, Rect
from workers.kernels.backends import BACKENDS, kernels
from workers.kernels.crop import crop_canvas
from workers.kernels.paste import (
    PASTES,
    blend,
    changed_rect,
    face,
    feather_edges,
    feather_mask,
    hole_rect,
)
from workers.kernels.patch_memory import PatchMemory
from workers.kernels.reference import mix
from workers.kernels.tensors import as_image

WHITE = np.full((320, 320, 3), 255, np.uint8)


@pytest.fixture(scope="module")
def demo_frame() -> U8:
    """The demo avatar's first frame at 1920x1080, so that large boxes fit."""
    image = Image.fromarray(draw_frame(0).image_rgb)
    return np.asarray(image.resize((1920, 1080), Image.Resampling.LANCZOS))


def pasted(frame: U8, box: Box, paste: str, mouth: U8 | None = None) -> U8:
    """The frame with a mouth in it, uint8 (320, 320, 3), by default its own."""
    canvas = crop_canvas(frame, box, FAMILY.canvas_px)
    everything = Rect(0, 0, frame.shape[1], frame.shape[0])
    return np.asarray(finished(frame, everything, painted(canvas, mouth), box, paste))[..., :3]


def painted(canvas: U8, mouth: U8 | None = None) -> U8:
    """A crop, uint8 (328, 328, 3), as a model gives it back: RGBX, with a mouth or its own."""
    rgbx = np.pad(canvas, [(0, 0), (0, 0), (0, 1)])
    if mouth is not None:
        rgbx[4:324, 4:324, :3] = mouth
    return rgbx


def finished(patch: U8, at: Rect, painted: U8, box: Box, paste: str) -> Image.Image:
    """The pixels ``at`` of the frame, as `workers.frames.Finisher` makes them."""
    return blend(patch, at, face(painted, box.side, paste, FAMILY), box, paste, FAMILY)


def part(frame: U8, rect: Rect) -> U8:
    visible = rect.clipped_to(frame.shape[1], frame.shape[0])
    return frame[visible.y0 : visible.y1, visible.x0 : visible.x1]


@pytest.mark.parametrize("paste", PASTES)
@pytest.mark.parametrize(
    ("box", "least_db"),
    [
        (Box(900, 560, 96), 40),
        (Box(860, 480, 182), 40),
        (Box(780, 420, 330), 40),
        (Box(650, 300, 600), 34),
        (Box(-40, 300, 330), 40),
        (Box(1700, 900, 330), 40),
        (Box(700, -100, 600), 34),
    ],
)
def test_the_true_crop_gives_the_frame_back(
    demo_frame: U8, box: Box, least_db: float, paste: str
) -> None:
    same = pasted(demo_frame, box, paste)

    assert psnr_db(part(demo_frame, box.rect), part(same, box.rect)) >= least_db


@pytest.mark.parametrize("paste", PASTES)
@pytest.mark.parametrize("box", [Box(780, 420, 330), Box(-40, -30, 182), Box(1800, 1000, 330)])
def test_nothing_changes_outside_what_may_change(demo_frame: U8, box: Box, paste: str) -> None:
    before = demo_frame.copy()

    white = pasted(demo_frame, box, paste, WHITE)

    differs = (white != demo_frame).any(axis=-1)
    visible = changed_rect(box, paste, FAMILY).clipped_to(1920, 1080)
    inside = np.s_[visible.y0 : visible.y1, visible.x0 : visible.x1]
    assert differs[inside].mean() > 0.9
    differs[inside] = False
    assert not differs.any()
    assert np.array_equal(demo_frame, before), "the template's own pixels are not written to"


@pytest.mark.parametrize("side", [60, 96, 182, 300, 328, 601])
def test_the_hole_is_the_rectangle_that_the_model_was_not_shown(side: int) -> None:
    """Against a picture of it, enlarged: columns 5..314 and rows 5..309 of the inner crop."""
    picture = np.zeros((328, 328), np.uint8)
    picture[4 + 5 : 4 + 310, 4 + 5 : 4 + 315] = 255
    fine = Image.fromarray(picture).resize((side * 8, side * 8), Image.Resampling.NEAREST)
    centres = np.asarray(fine)[4::8, 4::8] > 0
    rows, columns = np.flatnonzero(centres.any(axis=1)), np.flatnonzero(centres.any(axis=0))

    rect = hole_rect(side, FAMILY)

    seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract((rect.x0, rect.y0, rect.x1, rect.y1), seen)).max() <= 1
    if side == 328:
        assert rect == Rect(9, 9, 319, 314)


@pytest.mark.parametrize("side", [96, 182, 300, 601])
def test_the_feather_is_what_its_plain_reference_says(demo_frame: U8, side: int) -> None:
    box = Box(700, 300, side)
    canvas = crop_canvas(demo_frame, box, FAMILY.canvas_px)
    turned = np.ascontiguousarray(canvas[4:324, 4:324][:, ::-1])
    mouth = face(painted(canvas, turned), side, "feather", FAMILY)

    ours = pasted(demo_frame, box, "feather", turned)

    rect = changed_rect(box, "feather", FAMILY)
    new = np.asarray(mouth)[..., :3].astype(np.float64)
    old = part(demo_frame, rect).astype(np.float64)
    share = plain_mask(side)[..., None] / 255
    expected = np.rint(old + (new - old) * share)
    assert np.abs(part(ours, rect) - expected).max() <= 1


def plain_mask(side: int) -> F64:
    """Each pixel by itself: 0 on the hole's edge, 255 twelve canvas pixels inside it."""
    scale, rect = side / 328, hole_rect(side, FAMILY)
    mask = np.zeros((rect.height, rect.width))
    for row in range(rect.height):
        for column in range(rect.width):
            share = 1.0
            x, y = (rect.x0 + column + 0.5) / scale, (rect.y0 + row + 0.5) / scale
            for distance in (min(x - 9, 319 - x), min(y - 9, 314 - y)):
                t = min(max(distance / 12, 0.0), 1.0)
                share *= 3 * t**2 - 2 * t**3
            mask[row, column] = np.rint(255 * share)
    return mask


@pytest.mark.parametrize("side", [60, 96, 182, 300])
def test_the_mask_is_what_its_plain_reference_says(side: int) -> None:
    mask = np.asarray(feather_mask(side, FAMILY))

    assert np.abs(mask - plain_mask(side)).max() <= 1
    assert mask.max() == 255
    if side >= 182:
        assert max(mask[0].max(), mask[:, -1].max()) < 30, "no step at its edge"


@pytest.mark.parametrize("side", [1, 7, 40, 60, 96, 97, 182, 243, 300, 601])
def test_masking_the_edges_alone_gives_what_masking_everything_gives(
    rng: np.random.Generator, side: int
) -> None:
    hole = hole_rect(side, FAMILY)
    old, new = rng.integers(0, 256, (2, hole.height, hole.width, 3), dtype=np.uint8)
    masked = Image.fromarray(old)
    masked.paste(Image.fromarray(new), (0, 0), feather_mask(side, FAMILY))
    box = Box(-hole.x0, -hole.y0, side)

    ours = blend(old, Rect(0, 0, hole.width, hole.height), as_image(new), box, "feather", FAMILY)

    assert np.array_equal(np.asarray(ours)[..., :3], np.asarray(masked))


@dataclass(frozen=True, eq=False)
class Blended:
    """A patch of a frame, and a mouth that goes into it."""

    patch: U8
    at: Rect
    mouth: U8
    box: Box
    paste: str
    backend: str

    def pixels(self, memory: PatchMemory) -> U8:
        mouth, paste_mixed = as_image(self.mouth), kernels(self.backend).paste_mixed
        place = (self.box, self.paste, FAMILY)
        return np.asarray(blend(self.patch, self.at, mouth, *place, paste_mixed, memory))[..., :3]

    def plain(self) -> U8:
        """Every pixel of the mouth mixed with the frame's own, none left out."""
        changed, at, result = changed_rect(self.box, self.paste, FAMILY), self.at, self.patch.copy()
        seen = changed.clipped_within(at)
        if seen.is_empty():
            return result
        there = np.s_[seen.y0 - at.y0 : seen.y1 - at.y0, seen.x0 - at.x0 : seen.x1 - at.x0]
        here = np.s_[
            seen.y0 - changed.y0 : seen.y1 - changed.y0, seen.x0 - changed.x0 : seen.x1 - changed.x0
        ]
        share = np.full((changed.height, changed.width), 255, np.uint8)
        if self.paste == "feather":
            share = np.asarray(feather_mask(self.box.side, FAMILY))
        result[there] = mix(result[there], self.mouth[here][..., :3], share[here][..., None])
        return result


@st.composite
def blended(draw: st.DrawFn) -> Blended:
    """In frames of up to 120 pixels: mouths inside them, over their edges, all around them."""
    width, height = draw(st.integers(1, 120)), draw(st.integers(1, 120))
    side = draw(st.integers(2, 200))
    box = Box(draw(st.integers(-side, width)), draw(st.integers(-side, height)), side)
    paste = draw(st.sampled_from(PASTES))
    changed = changed_rect(box, paste, FAMILY)
    assume(not changed.is_empty())
    seen = changed.clipped_to(width, height)
    if seen.is_empty():
        seen = Rect(0, 0, 1, 1)
    left, up, right, down = (draw(st.integers(0, 20)) for _ in range(4))
    at = Rect(seen.x0 - left, seen.y0 - up, seen.x1 + right, seen.y1 + down)
    at = at.clipped_to(width, height)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    patch = rng.integers(0, 256, (at.height, at.width, 3), np.uint8)
    mouth = rng.integers(0, 256, (changed.height, changed.width, 4), np.uint8)
    return Blended(patch, at, mouth, box, paste, draw(st.sampled_from(BACKENDS)))


@settings(deadline=None, max_examples=150)
@given(st.lists(blended(), min_size=1, max_size=6))
def test_no_pixel_of_an_earlier_frame_is_seen_in_a_later_one(sequence: list[Blended]) -> None:
    memory = PatchMemory()
    for frame in sequence:
        before = frame.patch.copy()

        assert np.array_equal(frame.pixels(memory), frame.plain())
        assert np.array_equal(frame.patch, before)


@pytest.mark.parametrize("side", [40, 96, 131, 182, 300, 328, 601])
def test_the_hole_is_resized_as_if_with_all_of_its_box(rng: np.random.Generator, side: int) -> None:
    noise = rng.integers(0, 256, (328, 328, 4), dtype=np.uint8)
    hole = hole_rect(side, FAMILY)

    part = face(noise, side, "feather", FAMILY)

    whole = np.asarray(face(noise, side, "hard", FAMILY)).astype(int)
    differ = np.abs(whole[hole.y0 : hole.y1, hole.x0 : hole.x1] - np.asarray(part))[..., :3]
    assert differ.max() <= 2
    assert (differ > 1).mean() < 1e-3


@pytest.mark.parametrize("box", [Box(780, 420, 330), Box(-40, -30, 182), Box(1800, 1000, 330)])
def test_a_hard_mouth_is_the_canvas_resized_and_written_over_the_box(
    rng: np.random.Generator, demo_frame: U8, box: Box
) -> None:
    """Byte for byte what Pillow's plain calls give."""
    mouth = rng.integers(0, 256, (320, 320, 3), dtype=np.uint8)
    image = Image.fromarray(crop_canvas(demo_frame, box, FAMILY.canvas_px))
    image.paste(Image.fromarray(mouth), (4, 4))
    plain = Image.fromarray(demo_frame)
    plain.paste(image.resize((box.side, box.side), Image.Resampling.BICUBIC), (box.x, box.y))

    assert np.array_equal(pasted(demo_frame, box, "hard", mouth), np.asarray(plain))


def test_a_mask_is_made_once_for_each_size() -> None:
    assert feather_edges(182, FAMILY) is feather_edges(182, FAMILY)


@pytest.mark.parametrize("paste", PASTES)
def test_a_patch_of_the_frame_gets_the_same_pixels_as_the_frame(demo_frame: U8, paste: str) -> None:
    box, at = Box(-40, 300, 330), Rect(0, 288, 320, 640)
    canvas = crop_canvas(demo_frame, box, FAMILY.canvas_px)

    patch = np.asarray(finished(part(demo_frame, at), at, painted(canvas, WHITE), box, paste))[
        ..., :3
    ]

    assert np.array_equal(patch, part(pasted(demo_frame, box, paste, WHITE), at))
