import numpy as np
import pytest

from tests.material import FAMILY
from workers.errors import NotFinite
from workers.kernels.tensors import to_pixels, visual_tensor


def test_visual_tensor_is_bgr_true_then_blacked_out(rng: np.random.Generator) -> None:
    crops = rng.integers(1, 256, (2, 320, 320, 3), dtype=np.uint8)

    tensor = visual_tensor(crops, FAMILY.blackout)

    for plane, channel in enumerate((2, 1, 0)):
        true = crops[..., channel].astype(np.float32) / 255
        black = true.copy()
        black[:, 5:310, 5:315] = 0
        assert np.array_equal(tensor[:, plane], true)
        assert np.array_equal(tensor[:, 3 + plane], black)


def test_five_pixels_stay_above_and_beside_the_hole_and_ten_below() -> None:
    tensor = visual_tensor(np.full((1, 320, 320, 3), 255, np.uint8), FAMILY.blackout)

    seen = tensor[0, 3] > 0

    assert seen[:5].all()
    assert seen[310:].all()
    assert seen[:, :5].all()
    assert seen[:, 315:].all()
    assert not seen[5:310, 5:315].any()


def test_pixels_are_truncated_clipped_and_rgb() -> None:
    output = np.zeros((1, 3, 1, 4), np.float32)
    output[0, 0, 0] = [0.0, 0.999, 1.0, 7.0]  # blue
    output[0, 2, 0] = [-3.0, 0.5, 0.25, 1 / 255]  # red

    pixels = to_pixels(output)

    assert pixels[0, 0, :, 2].tolist() == [0, 254, 255, 255]
    assert pixels[0, 0, :, 0].tolist() == [0, 127, 63, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error_and_never_a_pixel(value: float) -> None:
    output = np.zeros((2, 3, 4, 4), np.float32)
    output[1, 2, 3, 3] = value

    with pytest.raises(NotFinite):
        to_pixels(output)


def test_true_pixels_survive_the_way_there_and_back(rng: np.random.Generator) -> None:
    crops = rng.integers(0, 256, (1, 320, 320, 3), dtype=np.uint8)

    back = to_pixels(visual_tensor(crops, FAMILY.blackout)[:, :3])

    assert np.abs(back.astype(int) - crops).max() <= 1  # 255 x (v / 255) may truncate one below
