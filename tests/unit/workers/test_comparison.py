import numpy as np
import pytest

from farm.paths import TINY_MODEL
from tests.material import FAMILY
from workers.comparison import MOST_DB, UNetInputs, fidelity, ms_per_frame, painted, spread
from workers.errors import NotFinite
from workers.pair import ModelPair
from workers.unet import load_unet


def inputs(rng: np.random.Generator, n: int) -> UNetInputs:
    crops = rng.integers(0, 256, (n, *FAMILY.crop_shape), dtype=np.uint8)
    return UNetInputs(crops, rng.random((n, *FAMILY.audio_shape), np.float32))


@pytest.mark.parametrize(
    ("items", "most", "picked"),
    [
        (range(10), 5, [1, 3, 5, 7, 9]),
        (range(100, 103), 1, [101]),
        (range(4, 7), 9, [4, 5, 6]),
        (range(0), 3, []),
    ],
)
def test_items_are_picked_evenly(items: range, most: int, picked: list[int]) -> None:
    assert spread(items, most) == picked


def test_equal_pixels_are_as_good_as_can_be(rng: np.random.Generator) -> None:
    mouths = rng.integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)

    alike = fidelity(mouths, mouths, FAMILY)

    assert (alike.crop_db, alike.hole_db, alike.worst_frame_db) == (MOST_DB,) * 3
    assert (alike.worst_levels, alike.n_frames) == (0, 2)


def test_decibels_are_those_of_the_definition() -> None:
    """One frame of two is 10 levels off in the hole: half of all frames' holes."""
    reference = np.full((2, 320, 320, 3), 200, np.uint8)
    mouths = reference.copy()
    mouths[0, 5:310, 5:315] = 210

    alike = fidelity(mouths, reference, FAMILY)

    in_hole = 305 * 310 / 320**2
    assert alike.hole_db == pytest.approx(10 * np.log10(255**2 / 50))
    assert alike.crop_db == pytest.approx(10 * np.log10(255**2 / (50 * in_hole)))
    assert alike.worst_frame_db == pytest.approx(10 * np.log10(255**2 / (100 * in_hole)))
    assert alike.worst_levels == 10


def test_darker_is_as_far_off_as_lighter() -> None:
    """Bytes must not wrap around."""
    dark, light = (np.full((1, 320, 320, 3), level, np.uint8) for level in (0, 255))

    assert fidelity(dark, light, FAMILY) == fidelity(light, dark, FAMILY)
    assert fidelity(dark, light, FAMILY).crop_db == 0


def test_a_unet_paints_all_frames_whatever_the_calls(rng: np.random.Generator) -> None:
    unet, some = load_unet(ModelPair.find(TINY_MODEL)), inputs(rng, 11)

    mouths = painted(unet, some)

    assert mouths.shape == (11, 320, 320, 3)
    assert np.array_equal(mouths[8:], painted(unet, UNetInputs(some.crops[8:], some.audio[8:])))


def test_what_is_not_finite_is_an_error(rng: np.random.Generator) -> None:
    some = inputs(rng, 2)
    some.audio[1, 0, 0, 0] = np.nan

    with pytest.raises(NotFinite):
        painted(load_unet(ModelPair.find(TINY_MODEL)), some)


def test_each_is_timed(rng: np.random.Generator) -> None:
    unet = load_unet(ModelPair.find(TINY_MODEL))

    ms = ms_per_frame({"one": unet, "other": unet}, inputs(rng, 2), rounds=2)

    assert set(ms) == {"one", "other"}
    assert min(ms.values()) > 0
