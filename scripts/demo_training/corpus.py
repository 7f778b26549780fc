"""The spoken corpus: who says what and how, its mel spectrograms and the mouths that go with them.

Held out are whole sentences, which no training voice says, and whole voices, which say held-out
sentences only.  Held-out sentences that are composed of taught parts are a split of their own.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from demo_training.augment import noise, recorded, resampled
from demo_training.files import whole_file
from demo_training.sentences import Sentence, all_sentences
from demo_training.speech import Manner, Phoneme, say
from demo_training.visemes import AT_REST, mouths
from farm.progress import progress_bar
from workers.features.mel import SAMPLE_RATE_HZ, mel_spectrogram
from workers.features.windows import n_frames

F32 = NDArray[np.float32]

Split = Literal["train", "held_sentence", "held_voice", "held_combination"]
SPLITS: tuple[Split, ...] = ("train", "held_sentence", "held_voice", "held_combination")

VOICES = (
    *("m1", "m2", "m4", "m5", "m6", "m7", "m8", "Andy", "Denis", "Lee", "Mario", "Michael"),
    *("benjamin", "klatt2", "whisper", "f1", "f2", "f3", "f5", "Alicia", "Andrea", "Annie"),
    *("steph", "linda", "belinda", "anika", "whisperf"),
)
"""espeak-ng's variants: men, women, and both kinds of its synthesisers, formants and Klatt."""

HELD_OUT_VOICES = ("f4", "m3")

ENGLISHES = ("en-us", "en-us", "en", "en-gb-scotland")

N_RENDITIONS = {"en": 3, "de": 6, "fr": 6, "es": 6, "it": 6}
"""How many voices say each training sentence: more where there are fewer sentences."""

N_HELD_OUT_RENDITIONS = 2
N_NOISES = 60  #: clips without speech, in which the mouth rests
_SEED = 4


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence as it was said: ``speech`` is float32, mono, 16 kHz."""

    split: Split
    text: str
    voice: str
    speech: F32
    phonemes: list[Phoneme]

    @property
    def duration_s(self) -> float:
        return len(self.speech) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Clip:
    """What the networks see: ``mel`` float32 (M, 80), ``mouths`` float32 (F, 7)."""

    text: str
    voice: str
    mel: F32
    mouths: F32


def utterances(split: Split, limit: int | None = None) -> list[Utterance]:
    """What is said in a split; the same at every call, but for espeak-ng's noise."""
    wanted = ((seed, c) for seed, c in enumerate(_castings()) if c.split == split)
    return [_spoken(casting, seed) for seed, casting in islice(wanted, limit)]


@dataclass(frozen=True, slots=True)
class _Casting:
    split: Split
    sentence: Sentence
    variant: str


def _castings() -> Iterator[_Casting]:
    rng = np.random.default_rng(_SEED)
    for sentence in all_sentences():
        split = _split_of(sentence, "held_sentence")
        n_renditions = (
            N_HELD_OUT_RENDITIONS if sentence.is_held_out else N_RENDITIONS[sentence.language]
        )
        for variant in rng.choice(VOICES, n_renditions, replace=False):
            yield _Casting(split, sentence, str(variant))
        if sentence.is_held_out:
            for variant in HELD_OUT_VOICES:
                yield _Casting(_split_of(sentence, "held_voice"), sentence, variant)


def _split_of(sentence: Sentence, held_out: Split) -> Split:
    if not sentence.is_held_out:
        return "train"
    return "held_combination" if sentence.is_composed else held_out


def _spoken(casting: _Casting, seed: int) -> Utterance:
    rng = np.random.default_rng([_SEED, seed])
    language = casting.sentence.language
    if language == "en":
        language = str(rng.choice(ENGLISHES))
    voice = f"{language}+{casting.variant}"
    manner = Manner(
        words_per_minute=int(rng.integers(125, 216)),
        pitch=int(rng.integers(25, 81)),
        pitch_range=int(rng.integers(25, 81)),
        word_gap_10ms=int(rng.choice([0, 0, 0, 2])),
    )
    sound, rate_hz, phonemes = say(casting.sentence.text, voice, manner)
    speech = signal.resample_poly(sound.astype(np.float64), 320, 441 * rate_hz // 22050)
    before_s, after_s = rng.uniform(0.15, 0.7), rng.uniform(0.25, 0.8)
    padding = [np.zeros(int(s * SAMPLE_RATE_HZ)) for s in (before_s, after_s)]
    padded = np.concatenate([padding[0], speech, padding[1]]).astype(np.float32)
    shift_s = len(padding[0]) / SAMPLE_RATE_HZ
    moved = [Phoneme(p.begin_s + shift_s, p.symbol) for p in phonemes]
    return Utterance(casting.split, casting.sentence.text, voice, padded, moved)


def clip(utterance: Utterance) -> Clip:
    """The utterance as it is."""
    wanted = mouths(utterance.phonemes, utterance.duration_s, n_frames(len(utterance.speech)))
    return Clip(utterance.text, utterance.voice, mel_spectrogram(utterance.speech), wanted)


def recorded_somewhere(utterance: Utterance, seed: int) -> Utterance:
    """The same words through some room, microphone, noise and level."""
    rng = np.random.default_rng([_SEED, 5, seed])
    return replace(utterance, speech=recorded(utterance.speech.astype(float), rng).astype("f4"))


def _recorded_clip(utterance: Utterance, seed: int, *, warped: bool) -> Clip:
    """The utterance as recorded somewhere, perhaps by a bigger or smaller speaker."""
    rng = np.random.default_rng([_SEED, 1 + warped, seed])
    factor = float(rng.uniform(0.84, 1.2)) if warped else 1.0
    speech = utterance.speech.astype(np.float64)
    speech = recorded(resampled(speech, factor) if warped else speech, rng).astype(np.float32)
    phonemes = [Phoneme(p.begin_s * factor, p.symbol) for p in utterance.phonemes]
    return clip(Utterance(utterance.split, utterance.text, utterance.voice, speech, phonemes))


def _noise_clip(seed: int) -> Clip:
    rng = np.random.default_rng([_SEED, 3, seed])
    n_samples = int(SAMPLE_RATE_HZ * rng.uniform(1, 4))
    speech = noise(n_samples, rng) * 10 ** (rng.uniform(-90, -35) / 20)
    at_rest = np.tile(AT_REST.astype(np.float32), (n_frames(n_samples), 1))
    return Clip("", "noise", mel_spectrogram(speech.astype(np.float32)), at_rest)


def _versions(job: tuple[int, Utterance]) -> list[Clip]:
    seed, utterance = job
    if utterance.split != "train":
        return [clip(utterance)]
    rest = [_recorded_clip(utterance, seed, warped=warped) for warped in (False, True)]
    return [clip(utterance), *rest]


def write_corpus(path: Path, split: Split, n_processes: int) -> None:
    """Speak a split and keep its clips in one file."""
    jobs = list(enumerate(utterances(split)))
    clips: list[Clip] = []
    with (
        progress_bar(f"{split}: speech", len(jobs)) as advance,
        ProcessPoolExecutor(n_processes) as pool,
    ):
        for versions in pool.map(_versions, jobs, chunksize=8):
            clips += versions
            advance()
    if split == "train":
        clips += [_noise_clip(seed) for seed in range(N_NOISES)]
    _write(path, clips)


def _write(path: Path, clips: list[Clip]) -> None:
    with whole_file(path) as file:
        np.savez(
            file,
            texts=np.array([c.text for c in clips]),
            voices=np.array([c.voice for c in clips]),
            n_columns=np.array([len(c.mel) for c in clips]),
            n_frames=np.array([len(c.mouths) for c in clips]),
            mel=np.concatenate([c.mel for c in clips]),
            mouths=np.concatenate([c.mouths for c in clips]),
        )


def read_corpus(path: Path) -> list[Clip]:
    """The clips of a split."""
    with np.load(path) as kept:
        mels = np.split(kept["mel"], np.cumsum(kept["n_columns"])[:-1])
        wanted = np.split(kept["mouths"], np.cumsum(kept["n_frames"])[:-1])
        rows = zip(kept["texts"], kept["voices"], mels, wanted, strict=True)
        return [Clip(str(text), str(voice), mel, mouth) for text, voice, mel, mouth in rows]
