import pytest

from workers.geometry import Box, Rect, template_index


@pytest.mark.parametrize(
    ("n_templates", "walk"),
    [(1, [0] * 9), (2, [0, 1] * 4), (4, [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1])],
)
def test_templates_are_walked_in_ping_pong_without_repeating_the_ends(
    n_templates: int, walk: list[int]
) -> None:
    assert [template_index(i, n_templates) for i in range(len(walk))] == walk


def test_a_box_that_crosses_the_frame_is_clipped_to_it() -> None:
    assert Box(-5, 90, 20).rect.clipped_to(200, 100) == Rect(0, 90, 15, 100)


def test_a_box_outside_the_frame_clips_to_nothing() -> None:
    assert Box(300, 10, 20).rect.clipped_to(200, 100).is_empty()
