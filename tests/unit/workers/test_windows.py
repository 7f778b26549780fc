import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from workers.features.windows import audio_tensor, n_frames, n_windows, window_start


@given(st.integers(1, 10**9))
def test_frames_are_rounded_half_up(n_samples: int) -> None:
    assert n_frames(n_samples) == reference.frame_count(n_samples)


def test_half_a_frame_counts_as_one_and_nothing_as_at_least_one() -> None:
    assert [n_frames(n) for n in (1, 319, 320, 959, 960, 16_000)] == [1, 1, 1, 1, 2, 25]


def test_windows_start_at_five_every_sixteen_columns() -> None:
    assert [window_start(f) for f in range(11)] == [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32]


@given(st.integers(1, 200_000))
def test_window_count_is_the_models_own_floating_point_formula(n_columns: int) -> None:
    columns = max(n_columns, 16)
    assert n_windows(n_columns) == int((columns - 16) / 80.0 * 25.0) + 2


@pytest.mark.parametrize("first_row", [0, 3])
@pytest.mark.parametrize("frame", [3, 4, 11, 20, 30])
def test_rows_outside_are_zeros_and_the_others_stay_where_they_are(
    frame: int, first_row: int
) -> None:
    rows = np.arange(1, 26, dtype=np.float32)[:, None] * np.ones((1, 512), np.float32)

    tensor = audio_tensor(rows[first_row:], frame, first_row)

    wanted = [r + 1 if first_row <= r < 25 else 0 for r in range(frame - 8, frame + 8)]
    assert tensor.shape == (32, 16, 16)
    assert tensor.reshape(16, 512)[:, 0].tolist() == wanted
