import cv2
import numpy as np
import pytest

from workers.geometry import Box
from workers.kernels.crop import crop_canvas, resize_cubic


@pytest.mark.parametrize("side", [17, 96, 182, 300, 328, 330, 600])
def test_resize_equals_opencvs_cubic_within_one_level(rng: np.random.Generator, side: int) -> None:
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)

    ours = resize_cubic(image, 328)

    theirs = cv2.resize(image, (328, 328), interpolation=cv2.INTER_CUBIC)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.9999


@pytest.mark.parametrize("box", [Box(-20, 15, 96), Box(130, 70, 96), Box(-40, -40, 260)])
def test_a_box_that_leaves_the_frame_takes_repeated_edge_pixels(
    rng: np.random.Generator, box: Box
) -> None:
    frame = rng.integers(0, 256, (120, 200, 3), dtype=np.uint8)
    wide = cv2.copyMakeBorder(frame, 300, 300, 300, 300, cv2.BORDER_REPLICATE)
    cut = wide[300 + box.y : 300 + box.y + box.side, 300 + box.x : 300 + box.x + box.side]

    ours = crop_canvas(frame, box, 328)

    theirs = cv2.resize(cut, (328, 328), interpolation=cv2.INTER_CUBIC)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
