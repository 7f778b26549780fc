import numpy as np
import pytest

from tests import reference
from workers.arrays import F32
from workers.features import mel_spectrogram
from workers.features.mel import SILENCE, mel_columns, mel_filters, samples_under

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=800 is too large")


def sine(seconds: float) -> F32:
    t = np.arange(int(16_000 * seconds)) / 16_000
    return (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 199, 200, 201, 799, 3_400, 16_000, 51_237])
def test_mel_agrees_with_librosa_for_every_length(speech: F32, n_samples: int) -> None:
    samples = speech[:n_samples]

    mel = mel_spectrogram(samples)

    assert mel.shape == (1 + n_samples // 200, 80)
    np.testing.assert_allclose(mel, reference.mel_spectrogram(samples), atol=1e-4)


def test_mel_agrees_with_librosa_on_a_sine() -> None:
    np.testing.assert_allclose(
        mel_spectrogram(sine(2.5)), reference.mel_spectrogram(sine(2.5)), atol=1e-4
    )


def test_silence_is_exactly_minus_four() -> None:
    mel = mel_spectrogram(np.zeros(16_000, np.float32))

    assert (mel == SILENCE).all()


def test_filters_agree_with_librosa() -> None:
    import librosa

    theirs = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)

    np.testing.assert_allclose(mel_filters(), theirs, atol=1e-7)


@pytest.mark.parametrize("columns", [range(1), range(5, 6), range(15, 49), range(390, 401)])
def test_columns_of_a_part_are_bit_equal_to_the_whole(speech: F32, columns: range) -> None:
    needed = samples_under(columns)
    first = max(0, needed.start)

    part = mel_columns(speech[first : needed.stop], first, columns)

    assert np.array_equal(part, mel_spectrogram(speech)[columns.start : columns.stop])


def test_no_sample_outside_matters(speech: F32) -> None:
    columns = range(100, 120)
    needed = samples_under(columns)
    spoilt = speech.copy()
    spoilt[: needed.start] = 0.5
    spoilt[needed.stop :] = -0.5

    ours = mel_spectrogram(spoilt)[100:120]

    assert np.array_equal(ours, mel_spectrogram(speech)[100:120])


def test_callers_samples_are_not_changed(speech: F32) -> None:
    samples = speech.copy()

    mel_spectrogram(samples)

    assert np.array_equal(samples, speech)
