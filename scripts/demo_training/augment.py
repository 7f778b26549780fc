"""Rooms, microphones, noise and levels: what happens to speech before it is recorded.

Every function takes mono float samples at 16 kHz and the random generator to draw from.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from workers.features.mel import SAMPLE_RATE_HZ

F64 = NDArray[np.float64]


def recorded(speech: F64, rng: np.random.Generator) -> F64:
    """The speech as some microphone in some room may have taken it."""
    if rng.random() < 0.6:
        speech = _coloured(speech, rng)
    if rng.random() < 0.4:
        speech = _in_a_room(speech, rng)
    if rng.random() < 0.15:
        speech = _shouted(speech, rng)
    speech = _levelled(speech, rng)
    if rng.random() < 0.75:
        speech = _noisy(speech, rng)
    return np.clip(speech, -1, 1)


def resampled(speech: F64, factor: float) -> F64:
    """As many samples as ``factor`` times before: slower and deeper above 1, quicker below."""
    return signal.resample(speech, round(len(speech) * factor))


def noise(n_samples: int, rng: np.random.Generator) -> F64:
    """White, pink or brown noise of standard deviation 1."""
    white = np.fft.rfft(rng.normal(0, 1, n_samples))
    tilt = (np.arange(len(white)) + 50.0) ** -rng.choice([0, 0.5, 1.0])
    coloured = np.fft.irfft(white * tilt, n_samples)
    return coloured / coloured.std()


def _coloured(speech: F64, rng: np.random.Generator) -> F64:
    bands = np.linspace(0, 1, 7)
    gain_db = rng.normal(0, 5, len(bands)) + rng.uniform(-10, 6) * bands
    spectrum = np.fft.rfft(speech)
    at = np.linspace(0, 1, len(spectrum))
    return np.fft.irfft(spectrum * _ratio(np.interp(at, bands, gain_db)), len(speech))


def _in_a_room(speech: F64, rng: np.random.Generator) -> F64:
    """Exponentially fading noise behind the direct sound."""
    n_echoes = int(SAMPLE_RATE_HZ * rng.uniform(0.05, 0.25))
    echo = rng.normal(0, 1, n_echoes) * np.exp(-6 * np.arange(n_echoes) / n_echoes)
    echo *= rng.uniform(0.1, 0.45) / np.sqrt((echo**2).sum())
    echo[0] += 1
    return signal.fftconvolve(speech, echo)[: len(speech)]


def _shouted(speech: F64, rng: np.random.Generator) -> F64:
    """Into a microphone that cannot take it."""
    return np.tanh(speech / np.abs(speech).max() * rng.uniform(2, 6))


def _levelled(speech: F64, rng: np.random.Generator) -> F64:
    """From a whisper across the room to full scale."""
    return speech / (np.abs(speech).max() + 1e-6) * _ratio(rng.uniform(-26, -0.3))


def _noisy(speech: F64, rng: np.random.Generator) -> F64:
    level = np.sqrt((speech**2).mean()) * _ratio(-rng.uniform(8, 50))
    noisy = speech + level * noise(len(speech), rng)
    if rng.random() < 0.2:
        hum = np.sin(
            2 * np.pi * rng.choice([50, 60, 100, 120]) * np.arange(len(speech)) / SAMPLE_RATE_HZ
        )
        noisy = noisy + 0.7 * level * hum
    return noisy


def _ratio(level_db):
    return 10 ** (level_db / 20)
