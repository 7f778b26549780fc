import numpy as np
import pytest
from demo_training.speech import Phoneme
from demo_training.visemes import (
    AT_REST,
    OPEN,
    PARTS,
    PRESS,
    ROUNDING,
    TEETH,
    TONGUE,
    TUCK,
    WIDTH,
    mouths,
)

FPS = 25


def said(*symbols: str, each_s: float = 0.2) -> list[Phoneme]:
    """Phonemes one after another from 1 s on, and silence after them."""
    begins = 1.0 + each_s * np.arange(len(symbols) + 1)
    return [Phoneme(float(s), p) for s, p in zip(begins, [*symbols, ""], strict=True)]


def mouth_at(phonemes: list[Phoneme], second: float, duration_s: float = 3.0) -> np.ndarray:
    return mouths(phonemes, duration_s, int(FPS * duration_s))[int(FPS * second)]


def test_a_mouth_has_the_parts_that_the_drawing_takes() -> None:
    from dataclasses import fields

    from farm.demo.mouth import AT_REST as DRAWN_AT_REST
    from farm.demo.mouth import MouthShape

    assert tuple(field.name for field in fields(MouthShape)) == PARTS
    assert MouthShape(*AT_REST) == DRAWN_AT_REST


def test_silence_is_a_mouth_at_rest() -> None:
    assert np.allclose(mouths([], 2.0, 50), AT_REST, atol=1e-6)
    assert np.allclose(mouths(said("a"), 3.0, 75)[:10], AT_REST, atol=0.01)


@pytest.mark.parametrize("symbol", ["p", "b", "m"])
def test_lips_meet_for_the_labials(symbol: str) -> None:
    phonemes = said("a", symbol, "a")
    # The event of p and b is the burst; for m it is the closing.
    near = [mouth_at(phonemes, s) for s in (1.16, 1.2, 1.24, 1.28)]

    assert max(mouth[PRESS] for mouth in near) > 0.85
    assert min(mouth[OPEN] for mouth in near) < 0.08


@pytest.mark.parametrize(
    ("symbol", "part", "least"),
    [("a", OPEN, 0.6), ("i", WIDTH, 0.6), ("u", ROUNDING, 0.8), ("s", TEETH, 0.7), ("f", TUCK, 0.7),
     ("θ", TONGUE, 0.6)],
)  # fmt: skip
def test_a_sound_has_its_mouth(symbol: str, part: int, least: float) -> None:
    assert mouth_at(said(symbol), 1.1)[part] > least


def test_neighbours_colour_a_sound() -> None:
    """The t in "utu" is rounder than the one in "iti"."""
    assert mouth_at(said("u", "t", "u"), 1.3)[ROUNDING] > 0.15
    assert mouth_at(said("i", "t", "i"), 1.3)[ROUNDING] < 0.02


def test_parts_of_one_phoneme_share_its_time() -> None:
    both = mouths(said("ai", each_s=0.4), 3.0, 75)

    assert both[int(1.08 * FPS), OPEN] > both[int(1.32 * FPS), OPEN] + 0.2


def test_mouths_move_smoothly_and_stay_in_range() -> None:
    every = mouths(said(*"papamaʃusifivoθe", each_s=0.09), 3.0, 75)

    assert np.abs(np.diff(every, axis=0)).max() < 0.85
    assert every[:, WIDTH].min() >= -1
    assert np.delete(every, WIDTH, 1).min() > -1e-3
    assert every.max() <= 1.001
