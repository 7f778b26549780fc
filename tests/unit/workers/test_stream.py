import numpy as np
import pytest

from tests import reference
from tests.material import in_pieces
from workers.arrays import F32
from workers.features.stream import AudioTensorStream
from workers.model import Model

LENGTHS = [1, 199, 200, 319, 961, 2_999, 3_000, 3_200, 16_000, 39_999, 47_123]


def tensors(model: Model, pieces: list[F32]) -> F32:
    stream = AudioTensorStream(model.encode)
    return np.concatenate([*map(stream.push, pieces), stream.finish()])


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


def test_a_tensor_needs_no_more_than_two_seconds_of_what_follows(speech: F32, model: Model) -> None:
    stream = AudioTensorStream(model.encode)

    ready = stream.push(speech)

    assert len(ready) >= 25 * (len(speech) / 16_000 - 2)
