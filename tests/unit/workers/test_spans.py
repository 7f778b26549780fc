import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.material import in_pieces
from workers.arrays import F32
from workers.features.spans import SpanCutter, n_ready_spans, n_spans, span_features
from workers.model import Model
from workers.sequential import batches
from workers.stages import StageTimes

LENGTHS = [1, 199, 200, 319, 961, 2_999, 3_000, 3_200, 16_000, 39_999, 47_123]


def tensors(model: Model, pieces: list[F32]) -> F32:
    cut = batches(pieces, model, batch_size=8, times=StageTimes())
    return np.concatenate([batch.audio for batch in cut])


@pytest.mark.filterwarnings("ignore:n_fft=800 is too large")
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_tensors_agree_with_the_reference(speech: F32, model: Model, n_samples: int) -> None:
    samples = speech[:n_samples]
    windows = reference.windows(reference.mel_spectrogram(samples))
    features = model.encode(windows)

    ours = tensors(model, [samples])

    theirs = [reference.tensor(features, i) for i in range(reference.frame_count(n_samples))]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("longest", [70, 900, 30_000])
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_no_bit_depends_on_how_the_samples_arrive(
    speech: F32, model: Model, rng: np.random.Generator, n_samples: int, longest: int
) -> None:
    samples = speech[:n_samples]

    in_spans = tensors(model, list(in_pieces(samples, rng, longest)))

    assert np.array_equal(in_spans, tensors(model, [samples]))


def test_three_minutes_in_spans_give_the_same_tensors_as_the_whole(
    speech: F32, model: Model, rng: np.random.Generator
) -> None:
    three_minutes = np.tile(speech, 36)

    in_spans = tensors(model, list(in_pieces(three_minutes, rng, 50_000)))

    assert len(in_spans) == 180 * 25
    assert np.array_equal(in_spans, tensors(model, [three_minutes]))


def test_a_spans_features_need_no_other_span(speech: F32, model: Model) -> None:
    cutter = SpanCutter()
    spans = [*cutter.push(speech), *cutter.finish()]

    backwards = {span.index: span_features(span, model.encode) for span in reversed(spans)}

    features = np.concatenate([backwards[index] for index in range(len(spans))])
    whole = reference.windows(reference.mel_spectrogram(speech))
    assert len(features) == len(whole)
    np.testing.assert_allclose(features, model.encode(whole), atol=1e-4)


def test_a_span_is_cut_as_soon_as_its_last_sample_is_there(speech: F32) -> None:
    cutter = SpanCutter()
    needed = 200 * (99 + 15) + 400  # the last column under window 31

    assert cutter.push(speech[: needed - 1]) == []
    (span,) = cutter.push(speech[needed - 1 : needed])

    assert (span.index, span.first_sample, len(span.samples)) == (0, 0, needed)


def test_the_cutter_holds_no_more_than_two_spans(speech: F32) -> None:
    cutter = SpanCutter()

    for _ in range(20):
        cutter.push(speech)

    assert len(cutter._held) < 3 * 20_480


@given(st.integers(1, 400_000))
def test_ready_spans_are_all_there_is_but_the_last_two(n_samples: int) -> None:
    assert n_spans(n_samples) - 2 <= n_ready_spans(n_samples) <= n_spans(n_samples)
