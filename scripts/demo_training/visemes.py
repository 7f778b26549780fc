"""Phonemes to mouth shapes with coarticulation.

Each phoneme pulls the mouth towards its own shape with a weight for each part of the shape and a
time that the pull takes to fade: the dominance functions of Cohen and Massaro ("Modeling
Coarticulation in Synthetic Visual Speech", 1993).  The mouth is where the pulls balance.

A mouth is seven numbers in the order of ``farm.demo.mouth.MouthShape``:
open, width, rounding, teeth, tongue, tuck, press.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo_training.speech import Phoneme
from workers.features.windows import FPS

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

PARTS = ("open", "width", "rounding", "teeth", "tongue", "tuck", "press")
OPEN, WIDTH, ROUNDING, TEETH, TONGUE, TUCK, PRESS = range(len(PARTS))

AT_REST = np.array([0, 0, 0, 0, 0, 0, 0.25])

_STEPS_PER_S = 200  #: the mouth is worked out this often, then looked at once a frame
_SMOOTHING_S = 0.014  #: sigma: lips have mass
_REACH = 9  #: fading times after which a pull is nothing

# open, width, rounding of the vowels.
_VOWELS = {
    "a": (0.85, 0.1, 0), "ɐ": (0.6, 0.1, 0), "æ": (0.8, 0.4, 0), "ɑ": (0.95, 0, 0),
    "ɒ": (0.75, -0.2, 0.4), "ɔ": (0.62, -0.3, 0.6), "o": (0.48, -0.45, 0.8),
    "ʊ": (0.32, -0.4, 0.7), "u": (0.22, -0.6, 1), "ʉ": (0.25, -0.5, 0.85),
    "y": (0.22, -0.5, 0.95), "ʏ": (0.28, -0.4, 0.8), "ø": (0.4, -0.3, 0.75),
    "œ": (0.5, -0.25, 0.65), "ə": (0.36, 0, 0.05), "ʌ": (0.58, 0.05, 0),
    "ɜ": (0.42, -0.1, 0.25), "ɚ": (0.34, -0.15, 0.35), "ɛ": (0.58, 0.35, 0),
    "e": (0.45, 0.5, 0), "ɪ": (0.3, 0.45, 0), "i": (0.24, 0.8, 0), "ᵻ": (0.28, 0.4, 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a group of consonants pulls: a weight for each part, and how fast it fades."""

    weights: tuple[float, ...]
    fading_s: float
    early_s: float = 0.0  #: the mouth is there before the sound


_LABIAL = _Manner((7, 1, 0.6, 2, 2, 2, 5), 0.022)
_LABIODENTAL = _Manner((4, 0.8, 0.8, 3, 2, 5, 2), 0.028)
_FRICATIVE = _Manner((1.5, 1.5, 2.5, 2, 2, 1, 1), 0.035)
_LOOSE = _Manner((0.7, 0.45, 0.5, 0.8, 1.5, 0.8, 1), 0.035, early_s=0.02)
_BREATH = _Manner((0.15,) * 7, 0.04)

# Symbols, mouth, manner.
_CONSONANTS = (
    ("pbmβ", (0, 0, 0.05, 0, 0, 0, 1), _LABIAL),
    ("fvɱ", (0.1, 0.1, 0, 0.9, 0, 1, 0), _LABIODENTAL),
    ("θð", (0.22, 0.2, 0, 0.6, 0.9, 0, 0), _FRICATIVE),
    ("sz", (0.12, 0.45, 0, 1, 0.1, 0, 0), _FRICATIVE),
    ("ʃʒç", (0.17, -0.15, 0.6, 0.9, 0.1, 0, 0), _FRICATIVE),
    ("wʍɥ", (0.12, -0.6, 1, 0, 0.1, 0, 0), _FRICATIVE),
    ("tdnlɾɲʎ", (0.22, 0.2, 0, 0.5, 0.6, 0, 0), _LOOSE),
    ("kɡŋxɣcʔ", (0.3, 0.1, 0, 0.3, 0.2, 0, 0), _LOOSE),
    ("rɹʁʀ", (0.22, -0.1, 0.45, 0.4, 0.3, 0, 0), _LOOSE),
    ("j", (0.22, 0.5, 0, 0.6, 0.4, 0, 0), _LOOSE),
    ("h", (0.38, 0, 0, 0.3, 0.2, 0, 0), _BREATH),
)
_CONSONANT_OF = {
    symbol: (np.array(mouth), manner)
    for symbols, mouth, manner in _CONSONANTS
    for symbol in symbols
}

_CLOSING_S = 0.055  #: p and b: events tell of the burst, and the lips meet this long before it
_BURST_S = 0.015
_PAUSE_MIN_S = 0.12  #: shorter pauses do not close the mouth


@dataclass(frozen=True, slots=True)
class _Pull:
    begin_s: float
    end_s: float
    mouth: F64  #: shape (7,)
    weights: F64  #: shape (7,)
    fading_s: float


def mouths(phonemes: Sequence[Phoneme], duration_s: float, n_frames: int) -> F32:
    """The mouth in the middle of each video frame: float32, shape (n_frames, 7)."""
    n_steps = int(max(duration_s, n_frames / FPS) * _STEPS_PER_S) + _STEPS_PER_S
    at_s = np.arange(n_steps) / _STEPS_PER_S
    pulled, weight = np.zeros((n_steps, len(PARTS))), np.full((n_steps, len(PARTS)), 1e-6)
    for pull in _pulls(phonemes, duration_s):
        near = _near(pull, n_steps)
        away_s = np.maximum(np.maximum(pull.begin_s - at_s[near], at_s[near] - pull.end_s), 0)
        dominance = np.exp(-away_s / pull.fading_s)[:, None] * pull.weights
        pulled[near] += dominance * pull.mouth
        weight[near] += dominance
    balance = np.where(weight < 1e-5, AT_REST, pulled / weight)
    middle = ((np.arange(n_frames) + 0.5) / FPS * _STEPS_PER_S).astype(int)
    return _smoothed(balance)[middle].astype(np.float32)


def _pulls(phonemes: Sequence[Phoneme], duration_s: float) -> Iterator[_Pull]:
    first_s = phonemes[0].begin_s if phonemes else duration_s
    yield _rest(-1.0, max(first_s - 0.06, 0), 1.5, 0.05)
    for k, phoneme in enumerate(phonemes):
        is_last = k + 1 == len(phonemes)
        end_s = duration_s if is_last else phonemes[k + 1].begin_s
        if _is_pause(phoneme):
            follows_pause = k > 0 and _is_pause(phonemes[k - 1])
            lasts_s = end_s - phoneme.begin_s
            if lasts_s > _PAUSE_MIN_S or follows_pause or is_last:
                weight = 1.5 if lasts_s > 0.2 else 0.9
                yield _rest(phoneme.begin_s + 0.03, end_s - 0.03, weight, 0.06)
            continue
        symbols = [c for c in phoneme.symbol if c in _VOWELS or c in _CONSONANT_OF]
        for part, symbol in enumerate(symbols):
            share_s = (end_s - phoneme.begin_s) / len(symbols)
            begin_s = phoneme.begin_s + part * share_s
            yield _pull(symbol, begin_s, begin_s + share_s)


def _is_pause(phoneme: Phoneme) -> bool:
    return phoneme.symbol == "" or phoneme.symbol.startswith("_")


def _rest(begin_s: float, end_s: float, weight: float, fading_s: float) -> _Pull:
    return _Pull(begin_s, end_s, AT_REST, np.full(len(PARTS), weight), fading_s)


def _pull(symbol: str, begin_s: float, end_s: float) -> _Pull:
    if symbol in _VOWELS:
        weights = np.full(len(PARTS), 1.0 if end_s - begin_s > 0.06 else 0.7)
        # The end of a long vowel belongs to the closing of what comes next.
        end_s = max(begin_s + 0.03, end_s - 0.04)
        return _Pull(begin_s + 0.02, end_s, _vowel(symbol), weights, 0.045)
    mouth, manner = _CONSONANT_OF[symbol]
    if symbol in "pb":
        begin_s, end_s = begin_s - _CLOSING_S, begin_s + _BURST_S
    weights = np.array(manner.weights)
    return _Pull(begin_s - manner.early_s, end_s, mouth, weights, manner.fading_s)


def _vowel(symbol: str) -> F64:
    open_, width, rounding = _VOWELS[symbol]
    teeth = 0.35 + 0.5 * max(width, 0) - 0.4 * rounding
    return np.array([open_, width, rounding, teeth, 0.25, 0, 0])


def _near(pull: _Pull, n_steps: int) -> slice:
    reach_s = _REACH * pull.fading_s
    first = int(max(0.0, pull.begin_s - reach_s) * _STEPS_PER_S)
    last = int(max(0.0, pull.end_s + reach_s) * _STEPS_PER_S) + 2
    return slice(first, min(last, n_steps))


def _smoothed(balance: F64) -> F64:
    steps = np.arange(-8, 9) / _STEPS_PER_S
    kernel = np.exp(-0.5 * (steps / _SMOOTHING_S) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(balance, ((8, 8), (0, 0)), "edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
