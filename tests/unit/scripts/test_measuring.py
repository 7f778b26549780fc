"""The gate's ruler, held against drawings whose measures are known."""

import numpy as np
import pytest
from demo_training.judging import drawn_crop, mouth_middle
from demo_training.measuring import Reading, best_lag, psnr_db, read_mouth, ssim

from farm.demo.avatar import Portrait
from farm.demo.lips import gap_px
from farm.demo.look import LOOKS
from farm.demo.motion import pose
from farm.demo.mouth import AT_REST, MouthShape
from workers.families.synctalk_328_ave import SYNCTALK_328_AVE


@pytest.fixture(scope="module")
def maya() -> Portrait:
    return Portrait(LOOKS["maya"])


def reading(maya: Portrait, **parts: float) -> Reading:
    shape = {"open": 0, "width": 0, "rounding": 0, "teeth": 0, "tongue": 0, "tuck": 0, "press": 0}
    return read(maya, MouthShape(**{**shape, **parts}))


def read(maya: Portrait, mouth: MouthShape, template: int = 10) -> Reading:
    box = maya.box(pose(template))
    crop = drawn_crop(maya, template, mouth, box, SYNCTALK_328_AVE)
    return read_mouth(crop, mouth_middle(maya, template, box, SYNCTALK_328_AVE))


def test_a_shut_mouth_reads_shut(maya: Portrait) -> None:
    for template in (0, 30, 60, 99):
        assert read(maya, AT_REST, template).opening_px <= 2
    assert reading(maya, press=1).opening_px <= 2


@pytest.mark.parametrize("template", [5, 45, 85])
def test_lips_a_few_pixels_apart_do_not_read_closed(maya: Portrait, template: int) -> None:
    from demo_training.figures import CLOSED_PX

    parted = MouthShape(open=0.15, width=0, rounding=0, teeth=0.2, tongue=0, tuck=0, press=0)
    assert gap_px(parted) < 8
    assert read(maya, parted, template).opening_px > CLOSED_PX


def test_the_opening_grows_with_the_mouth(maya: Portrait) -> None:
    openings = [reading(maya, open=o, teeth=0.3).opening_px for o in (0.1, 0.3, 0.5, 0.7, 0.9)]

    assert openings == sorted(openings)
    assert openings[-1] > 20


def test_width_tells_spread_from_pursed_lips(maya: Portrait) -> None:
    widths = [
        reading(maya, open=0.3, rounding=1, width=-0.6).width_px,
        reading(maya, open=0.3).width_px,
        reading(maya, open=0.3, width=0.8, teeth=0.7).width_px,
    ]

    assert widths[0] + 20 < widths[1] < widths[2] - 5


def test_likeness_is_perfect_only_for_the_same_picture(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (60, 60, 3), np.uint8)
    near = np.clip(picture.astype(int) + rng.integers(-9, 10, picture.shape), 0, 255)
    near = near.astype(np.uint8)

    assert ssim(picture, picture) == pytest.approx(1)
    assert 0.9 < ssim(picture, near) < 1
    assert psnr_db(picture, picture) > 50
    assert psnr_db(picture, near) == pytest.approx(10 * np.log10(255**2 / 30), abs=0.5)


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_a_late_mouth_is_found_late(lag: int, rng: np.random.Generator) -> None:
    truth = rng.normal(0, 1, 60)

    assert best_lag(truth, np.roll(truth, lag)) == lag
