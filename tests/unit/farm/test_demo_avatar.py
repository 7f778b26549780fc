"""The drawn demo avatar: what the rest of the farm relies on in its template frames."""

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from farm.demo.avatar import HEIGHT_PX, N_TEMPLATES, WIDTH_PX, DrawnFrame, draw_frame, draw_frames
from farm.demo.motion import pose

SPREAD = (0, 33, 66, 99)


def eyes_of(drawn: DrawnFrame) -> NDArray[np.int16]:
    """The part of the face from the brows down to the top of the box."""
    box = drawn.box
    return drawn.image_rgb[box.y - 60 : box.y + 20, box.x : box.x + box.side].astype(np.int16)


def mean_change(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def test_a_frame_is_a_colour_picture_of_the_promised_size() -> None:
    drawn = draw_frame(0)

    assert drawn.image_rgb.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert drawn.image_rgb.dtype == np.uint8


def test_boxes_move_with_the_head_and_stay_inside_the_frame() -> None:
    boxes = [draw_frame(k).box for k in SPREAD]

    assert len(set(boxes)) == len(SPREAD)
    for box in boxes:
        assert box.rect.clipped_to(WIDTH_PX, HEIGHT_PX) == box.rect
        assert 290 <= box.side <= 310


def test_the_mouth_stays_at_its_place_in_the_box() -> None:
    for k in SPREAD:
        drawn = draw_frame(k)
        box = drawn.box
        crop = drawn.image_rgb[box.y : box.y + box.side, box.x : box.x + box.side].astype(np.int16)

        # Nothing in the middle of the box is as much redder than green as lips are.
        redness = (crop[..., 0] - crop[..., 1])[:, box.side // 4 : -box.side // 4]
        rows, columns = np.nonzero(redness[: int(0.6 * box.side)] > 80)
        assert abs(rows.mean() / box.side - 0.44) < 0.03
        assert abs((columns.mean() + box.side // 4) / box.side - 0.5) < 0.02


def test_the_person_is_still_at_both_ends_of_the_walk() -> None:
    for end, neighbour in ((0, 1), (N_TEMPLATES - 1, N_TEMPLATES - 2)):
        assert mean_change(draw_frame(end).image_rgb, draw_frame(neighbour).image_rgb) < 0.5


def test_every_call_draws_the_same_frames() -> None:
    first, second = list(islice(draw_frames(), 3)), list(islice(draw_frames(), 3))

    for one, other in zip(first, second, strict=True):
        assert one.box == other.box
        assert np.array_equal(one.image_rgb, other.image_rgb)


def test_a_caller_may_write_into_its_frame() -> None:
    before = draw_frame(0).image_rgb.copy()

    draw_frame(0).image_rgb[...] = 0

    assert np.array_equal(draw_frame(0).image_rgb, before)


def test_no_channel_in_the_box_is_black() -> None:
    for k in SPREAD:
        drawn, box = draw_frame(k), draw_frame(k).box

        assert drawn.image_rgb[box.y : box.y + box.side, box.x : box.x + box.side].min() >= 8


def test_the_eyes_shut_twice_and_not_near_the_ends() -> None:
    shut = [k for k in range(N_TEMPLATES) if pose(k).lid == 1.0]

    starts = [k for k in shut if k - 1 not in shut]
    assert len(starts) == 2
    assert min(shut) > 10
    assert max(shut) < N_TEMPLATES - 10


def test_a_blink_changes_the_eyes_much_more_than_the_sway_does() -> None:
    shut = next(k for k in range(N_TEMPLATES) if pose(k).lid == 1.0)
    open_, shut_, later = (eyes_of(draw_frame(k)) for k in (shut - 4, shut, shut - 6))
    n_rows, n_columns = (min(p.shape[k] for p in (open_, shut_, later)) for k in (0, 1))
    open_, shut_, later = (p[:n_rows, :n_columns] for p in (open_, shut_, later))

    assert mean_change(open_, shut_) > 3 * mean_change(open_, later)
