"""What the benchmarks measure by, where it is no clock."""

from pathlib import Path

import numpy as np
from bench_rows import row, table, value, values
from bench_seam import OUTSIDE_PX, measured, side_steps

from workers.geometry import Rect


def test_a_feathered_mouth_has_no_larger_steps_than_its_template(tmp_path: Path) -> None:
    rows = list(measured(tmp_path, n_frames=20))

    for model in ("demo", "tiny", "lighter"):
        keys = {"model": model, "edge": "hole", "measure": "ratio"}
        (ratio,) = values(rows, paste="feather", **keys)
        assert ratio <= 1.1
    lighter = {"model": "lighter", "measure": "worst of one side"}
    seam = value(rows, paste="hard", edge="box", **lighter)
    assert seam > value(rows, paste="feather", edge="hole", **lighter)


def test_a_step_is_found_at_its_side_and_in_the_band_only() -> None:
    sides = Rect(10, 12, 50, 42)
    for x, expected in ((10 - OUTSIDE_PX - 1, 0), (10, 60), (14, 60), (10 + 6, 0)):
        picture = np.zeros((60, 70, 3), np.uint8)
        picture[:, x:30] = 60  # falls again in the middle, which is in no band of left and right

        above, right, below, left = side_steps(picture, sides, band_px=5)

        assert (left, right) == (expected, 0)
        assert above == below == 0


def test_rows_are_found_by_their_keys() -> None:
    rows = [row(1.0, "ms", path="a", box=1), row(2.0, "ms", path="b", box=1)]

    assert values(rows, box=1) == [1.0, 2.0]
    assert value(rows, path="b") == 2.0
    assert value(rows, path="c") is None


def test_tables_put_words_to_the_left_and_numbers_to_the_right() -> None:
    assert table(("name", "n"), [("a", 1234), ("bcdef", None)]).splitlines() == [
        "name       n",
        "-----  -----",
        "a      1,234",
        "bcdef      -",
    ]
