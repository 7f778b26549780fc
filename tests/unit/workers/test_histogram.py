"""Histograms against numpy, who keeps every sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.histogram import (
    BUCKETS_A_DOUBLING,
    EDGES_MS,
    N_BUCKETS,
    BadCounts,
    Histogram,
    StepHistograms,
    bucket_ms,
)

durations = st.floats(0, 0.99 * EDGES_MS[-1]) | st.sampled_from(EDGES_MS[:-1])
samples = st.lists(durations, max_size=50)


def histogram(ms: list[float]) -> Histogram:
    counted = Histogram()
    for one in ms:
        counted.add(one)
    return counted


@given(st.lists(durations, min_size=1, max_size=200), st.integers(0, 100))
def test_a_percentile_lies_in_the_bucket_of_the_sample_that_it_stands_for(
    ms: list[float], percent: int
) -> None:
    exact_ms = float(np.percentile(ms, percent, method="inverted_cdf"))
    k = int(np.searchsorted(EDGES_MS, exact_ms, side="right"))

    low_ms, high_ms = bucket_ms(k)
    assert low_ms <= histogram(ms).percentile_ms(percent) <= high_ms
    assert k == 0 or high_ms <= low_ms * 2 ** (1 / BUCKETS_A_DOUBLING) * (1 + 1e-9)


@given(samples)
def test_percentiles_rise(ms: list[float]) -> None:
    counted = histogram(ms)

    at = [counted.percentile_ms(percent) for percent in range(101)]

    assert at == sorted(at)


@given(samples)
def test_count_and_mean_are_exact(ms: list[float]) -> None:
    counted = histogram(ms)

    assert counted.n == len(ms)
    assert counted.mean_ms == pytest.approx(np.mean(ms) if ms else 0.0, abs=1e-6)


@given(samples, samples)
def test_merged_histograms_are_the_histogram_of_all_samples(
    some: list[float], others: list[float]
) -> None:
    merged = histogram(some)
    merged.merge(histogram(others))

    assert merged.to_list() == histogram(some + others).to_list()


@given(samples)
def test_a_histogram_comes_back_from_its_list(ms: list[float]) -> None:
    numbers = histogram(ms).to_list()

    assert Histogram.of(numbers).to_list() == numbers


@pytest.mark.parametrize("numbers", [[], [0] * N_BUCKETS, [0] * (N_BUCKETS + 2)])
def test_lists_of_another_length_are_refused(numbers: list[int]) -> None:
    with pytest.raises(BadCounts):
        Histogram.of(numbers)


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(BadCounts):
        Histogram.of([0] * N_BUCKETS + [-1])


def test_memory_does_not_grow() -> None:
    assert len(histogram([1.0] * 10_000).to_list()) == len(Histogram().to_list())


def test_what_is_longer_than_the_last_edge_is_counted_there() -> None:
    counted = histogram([1e9])

    assert counted.n == 1
    assert counted.mean_ms == 1e9
    assert counted.percentile_ms(50) == EDGES_MS[-1]


def test_nothing_has_no_percentiles() -> None:
    assert Histogram().percentile_ms(99) == Histogram().mean_ms == 0.0


def test_steps_are_added_up_one_by_one() -> None:
    ours, theirs = StepHistograms(), StepHistograms()
    ours.add("blend", 1.0)
    theirs.add("blend", 3.0)
    theirs.add("encode", 5.0)

    ours.merge(theirs.to_lists())

    summary = ours.summary()
    assert {step: told["frames"] for step, told in summary.items()} == {"blend": 2, "encode": 1}
    assert summary["blend"]["mean_ms"] == 2.0
    assert list(summary["blend"]) == ["frames", "mean_ms", "p50_ms", "p90_ms", "p99_ms"]


def test_bad_counts_of_one_step_change_none() -> None:
    ours = StepHistograms()

    with pytest.raises(BadCounts):
        ours.merge({"blend": histogram([1.0]).to_list(), "encode": [1, 2]})

    assert not ours
