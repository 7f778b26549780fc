"""The identity test: the true crop, handed in as the prediction, must give the frame back."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from farm.demo.avatar import draw_frame
from tests.material import FAMILY, psnr_db
from workers.arrays import U8
from workers.geometry import Box
from workers.kernels.crop import crop_canvas
from workers.kernels.paste import encode_jpeg, paste_prediction


@pytest.fixture(scope="module")
def demo_frame() -> U8:
    """The demo avatar's first frame at 1920x1080, so that large boxes fit."""
    image = Image.fromarray(draw_frame(0).image_rgb)
    return np.asarray(image.resize((1920, 1080), Image.Resampling.LANCZOS))


def identity(frame: U8, box: Box) -> U8:
    canvas = crop_canvas(frame, box, FAMILY.canvas_px)
    inner = FAMILY.inner
    truth = canvas[inner.y0 : inner.y1, inner.x0 : inner.x1]
    return np.asarray(paste_prediction(frame, canvas, truth, inner=inner, box=box))


def box_db(frame: U8, pasted: U8, box: Box) -> float:
    visible = box.rect.clipped_to(frame.shape[1], frame.shape[0])
    part = np.s_[visible.y0 : visible.y1, visible.x0 : visible.x1]
    return psnr_db(frame[part], pasted[part])


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
def test_the_true_crop_gives_the_frame_back(demo_frame: U8, box: Box, least_db: float) -> None:
    pasted = identity(demo_frame, box)

    assert box_db(demo_frame, pasted, box) >= least_db


@pytest.mark.parametrize("box", [Box(780, 420, 330), Box(-40, -30, 182), Box(1800, 1000, 330)])
def test_nothing_changes_outside_the_box(demo_frame: U8, box: Box) -> None:
    canvas = crop_canvas(demo_frame, box, FAMILY.canvas_px)
    white = np.full((320, 320, 3), 255, np.uint8)

    pasted = np.asarray(paste_prediction(demo_frame, canvas, white, inner=FAMILY.inner, box=box))

    changed = (pasted != demo_frame).any(axis=-1)
    visible = box.rect.clipped_to(1920, 1080)
    assert changed[visible.y0 : visible.y1, visible.x0 : visible.x1].mean() > 0.9
    changed[visible.y0 : visible.y1, visible.x0 : visible.x1] = False
    assert not changed.any()


def test_the_templates_own_pixels_are_not_written_to(demo_frame: U8) -> None:
    before = demo_frame.copy()

    identity(demo_frame, Box(780, 420, 330))

    assert np.array_equal(demo_frame, before)


@pytest.mark.parametrize("size", [(64, 48), (641, 361), (43, 67)])
def test_another_decoder_reads_our_jpegs(size: tuple[int, int]) -> None:
    width, height = size
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 200 / width, y * 200 / height, (x + y) * 100 / width], -1)
    image = Image.fromarray(smooth.astype(np.uint8))

    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(image), np.uint8), cv2.IMREAD_COLOR)

    assert psnr_db(decoded[..., ::-1], np.asarray(image)) > 38


def test_our_jpegs_are_baseline_420_with_standard_tables() -> None:
    """Whoever splices JPEGs relies on every one of these."""
    jpeg = encode_jpeg(Image.new("RGB", (64, 48), "teal"))

    with Image.open(io.BytesIO(jpeg)) as image:
        tables, layers = image.quantization, image.layer  # type: ignore[attr-defined]
        assert "progressive" not in image.info
    assert jpeg.count(b"\xff\xc0") == 1, "SOF0: baseline"
    assert b"\xff\xc2" not in jpeg
    assert [layer[1:3] for layer in layers] == [(2, 2), (1, 1), (1, 1)]
    assert [table[0] for table in tables.values()] == [3, 3], "quality 90"
    assert STANDARD_DC_LUMINANCE in jpeg


#: ITU-T T.81, table K.3: counts of codes by length, then the values.
STANDARD_DC_LUMINANCE = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, *range(12)])
