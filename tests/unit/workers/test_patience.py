import pytest

from workers.patience import MANY_TIMES, Patience


def test_nothing_is_known_before_the_first_task() -> None:
    assert Patience(60.0).allowed_s() == 60.0
    assert Patience(60.0, first_item_s=5.0).allowed_s(8) == 100.0


def test_a_task_may_take_many_times_what_the_slowest_took() -> None:
    patience = Patience(60.0)

    for busy_s, n_items in ((1.0, 4), (4.0, 8), (0.1, 1)):
        patience.took(busy_s, n_items)

    assert patience.allowed_s(3) == pytest.approx(3 * 0.5 * MANY_TIMES)
