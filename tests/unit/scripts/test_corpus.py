import shutil

import numpy as np
import pytest
from demo_training.augment import noise, recorded, resampled
from demo_training.corpus import HELD_OUT_VOICES, VOICES, clip, utterances
from demo_training.sentences import LANGUAGES, all_sentences

from tests.fake_espeak import NEEDS_ESPEAK
from workers.features.mel import n_columns
from workers.features.windows import n_frames

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason=NEEDS_ESPEAK)


def test_only_written_sentences_are_judged() -> None:
    """Composed ones share their parts with taught ones."""
    taught = " ".join(s.text for s in all_sentences() if not s.is_held_out)
    for sentence in (s for s in all_sentences() if s.is_held_out and not s.is_composed):
        words = sentence.text.split()
        assert " ".join(words[: len(words) // 2 + 1]) not in taught, sentence.text


def test_no_sentence_is_both_taught_and_held_out() -> None:
    sentences = all_sentences()
    taught = {s.text for s in sentences if not s.is_held_out}
    held_out = {s.text for s in sentences if s.is_held_out}

    assert len(taught) + len(held_out) == len(sentences), "a sentence appears twice"
    assert {s.language for s in sentences if s.is_held_out} == set(LANGUAGES)
    assert not set(HELD_OUT_VOICES) & set(VOICES)


@needs_espeak
def test_splits_keep_voices_and_sentences_apart() -> None:
    held_out = {s.text for s in all_sentences() if s.is_held_out and not s.is_composed}
    said = utterances("held_voice")

    assert {u.voice.split("+")[1] for u in said} == set(HELD_OUT_VOICES)
    assert {u.text for u in said} <= held_out


@needs_espeak
def test_a_clip_has_the_farms_columns_and_frames() -> None:
    utterance = utterances("held_voice")[0]
    taken = clip(utterance)

    assert taken.mel.shape == (n_columns(len(utterance.speech)), 80)
    assert taken.mouths.shape == (n_frames(len(utterance.speech)), 7)


@needs_espeak
def test_the_corpus_is_the_same_at_every_call() -> None:
    once, again = (utterances("held_voice")[0] for _ in range(2))

    assert (once.text, once.voice) == (again.text, again.voice)
    assert [p.symbol for p in once.phonemes] == [p.symbol for p in again.phonemes]
    # espeak-ng goes on where it was in its own noise: less than half a frame apart.
    begins = ([p.begin_s for p in said.phonemes] for said in (once, again))
    assert np.allclose(*begins, atol=0.02)


def test_augmented_speech_stays_speech(rng: np.random.Generator) -> None:
    speech = np.sin(np.arange(16_000) / 10) * np.hanning(16_000)
    for _ in range(20):
        taken = recorded(speech, rng)
        assert taken.shape == speech.shape
        assert np.isfinite(taken).all()
        assert 0.005 < np.abs(taken).max() <= 1
    assert len(resampled(speech, 1.2)) == 19_200
    assert noise(1000, rng).std() == pytest.approx(1)
