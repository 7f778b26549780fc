import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from workers.features.rows import FeatureRows, audio_tensors
from workers.features.windows import n_frames, n_windows, window_start


@given(st.integers(1, 10**9))
def test_frames_are_rounded_half_up(n_samples: int) -> None:
    assert n_frames(n_samples) == reference.frame_count(n_samples)


def test_half_a_frame_counts_as_one_and_nothing_as_at_least_one() -> None:
    assert [n_frames(n) for n in (1, 319, 320, 959, 960, 16_000)] == [1, 1, 1, 1, 2, 25]


def test_windows_start_at_five_every_sixteen_columns() -> None:
    assert [window_start(f) for f in range(11)] == [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32]


@pytest.mark.parametrize(
    ("n_columns", "count"),
    [
        (1, 2),
        (16, 2),
        (17, 2),
        (19, 2),
        (20, 3),
        (26, 5),
        (32, 7),
        (81, 22),
        (96, 27),
        (14_401, 4497),
    ],
)
def test_windows_are_counted_as_the_models_own_code_does(n_columns: int, count: int) -> None:
    assert n_windows(n_columns) == count
    silence = np.full((n_columns, 80), -4, np.float32)
    assert len(reference.windows(silence)) == count


def some_rows(n_features: int | None, n_spans: int = 2) -> FeatureRows:
    """Feature f is filled with f + 1."""
    rows = FeatureRows()
    for span in reversed(range(n_spans)):
        values = np.arange(32 * span, 32 * span + 32, dtype=np.float32)[:, None] + 1
        rows.add(span, np.broadcast_to(values, (32, 512)))
    if n_features is not None:
        rows.end(n_features)
    return rows


@pytest.mark.parametrize("frame", [0, 3, 8, 20, 49, 51, 55])
def test_tensors_hold_the_rows_around_their_frame(frame: int) -> None:
    features = np.arange(1, 51, dtype=np.float32)[:, None] * np.ones((1, 512), np.float32)

    (tensor,) = audio_tensors(some_rows(50).rows(range(frame, frame + 1)))

    assert np.array_equal(tensor, reference.tensor(features, frame))


def test_a_run_of_frames_gives_the_same_tensors_as_each_alone() -> None:
    rows = some_rows(50)

    together = audio_tensors(rows.rows(range(10, 30)))

    apart = [audio_tensors(rows.rows(range(f, f + 1))) for f in range(10, 30)]
    assert np.array_equal(together, np.concatenate(apart))


def test_a_frame_is_ready_when_its_last_row_is() -> None:
    assert some_rows(None, 1).n_ready_frames == 26  # row 32 is feature 31
    assert some_rows(None, 2).n_ready_frames == 58
    assert FeatureRows().n_ready_frames == 0
    assert some_rows(50, 2).n_ready_frames > 10**9


def test_a_span_that_arrives_early_waits_for_the_one_before() -> None:
    rows = FeatureRows()
    rows.add(1, np.zeros((32, 512), np.float32))
    assert rows.n_ready_frames == 0

    rows.add(0, np.zeros((32, 512), np.float32))

    assert rows.n_ready_frames == 58


def test_rows_that_are_not_needed_any_more_are_dropped_and_the_others_stay() -> None:
    rows = some_rows(None)
    before = rows.rows(range(41, 50))

    rows.drop_before(41)

    assert np.array_equal(rows.rows(range(41, 50)), before)
    with pytest.raises(KeyError):
        rows.rows(range(20, 21))
