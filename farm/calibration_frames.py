"""Frames for quantising a model: an avatar's own crops, and what the model hears of some speech.

Each speech is cut in two: models are calibrated on frames of its first part and measured on frames
of its second one, no sound of which the first part has heard.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from farm.errors import AudioUnreadable
from farm.media.audio import SpeechReader, open_speech
from farm.signals import raise_if_ended
from workers.arrays import F32
from workers.avatar import Bundle
from workers.comparison import UNetInputs, spread
from workers.features.mel import SAMPLE_RATE_HZ
from workers.features.windows import TENSOR_ROWS, n_frames
from workers.frames import crops_of
from workers.model import Model
from workers.sequential import batches
from workers.stages import StageTimes

MIN_SPEECH_S = 3.0  #: so that something is left to measure on
MAX_SPEECH_S = 120.0  #: more tells no more; the rest of a file is not looked at
CALIBRATED_SHARE = 2 / 3
PIECE = SAMPLE_RATE_HZ  #: samples heard before anybody asks whether to go on: 1 s


@dataclass(frozen=True, slots=True)
class Speech:
    """What is used of a speech file."""

    name: str
    samples: F32  #: mono at 16 kHz

    @property
    def n_frames(self) -> int:
        return n_frames(len(self.samples))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.samples.data).hexdigest()


@dataclass(frozen=True, slots=True)
class CalibrationFrames:
    """Disjoint, and apart in time."""

    calibrated: UNetInputs
    measured: UNetInputs


def read_speeches(sources: Iterable[str]) -> list[Speech]:
    """Raises AudioUnreadable, also for one that is too short."""
    return [_read_speech(source) for source in sources]


def _read_speech(source: str) -> Speech:
    with open_speech(source) as reader:
        samples = np.concatenate(list(_pieces(reader)))
        if len(samples) < MIN_SPEECH_S * SAMPLE_RATE_HZ:
            seconds = len(samples) / SAMPLE_RATE_HZ
            raise AudioUnreadable(
                f"{reader.name}: holds {seconds:.1f} s of sound, must be {MIN_SPEECH_S:g} s or more"
            )
        return Speech(reader.name, samples)


def _pieces(reader: SpeechReader) -> Iterator[F32]:
    left = round(MAX_SPEECH_S * SAMPLE_RATE_HZ)
    for span in reader.spans():
        raise_if_ended()
        yield span.speech[:left]
        left -= len(span.speech)
        if left <= 0:
            return


def frames_of(
    speeches: Sequence[Speech],
    bundle: Bundle,
    model: Model,
    advance: Callable[[], None],
    *,
    n_calibrated: int,
    n_measured: int,
) -> CalibrationFrames:
    """About so many frames of all speeches together, evenly spread.

    ``advance`` : called for each of a speech's frames, ``speech.n_frames``, wanted or not.
    Raises BundleError for a damaged crop.
    """
    calibrated, measured = [], []
    for speech in speeches:
        first, second = parts(speech.n_frames)
        some = set(spread(first, -(-n_calibrated // len(speeches))))
        others = set(spread(second, -(-n_measured // len(speeches))))
        heard = dict(_heard(speech, bundle, model, some | others, advance))
        calibrated += [heard[frame] for frame in sorted(some)]
        measured += [heard[frame] for frame in sorted(others)]
    return CalibrationFrames(_joined(calibrated), _joined(measured))


def parts(n: int) -> tuple[range, range]:
    """The frames of a speech of ``n`` to calibrate on, and those to measure on.

    Between them are as many as an audio tensor reaches.
    """
    end = round(CALIBRATED_SHARE * n)
    return range(end), range(end + TENSOR_ROWS, n)


def _heard(
    speech: Speech, bundle: Bundle, model: Model, wanted: set[int], advance: Callable[[], None]
) -> Iterator[tuple[int, UNetInputs]]:
    samples = speech.samples
    pieces = (samples[at : at + PIECE] for at in range(0, len(samples), PIECE))
    for batch in batches(pieces, model, batch_size=1, times=StageTimes()):
        raise_if_ended()
        frame = batch.first_frame
        if frame in wanted:
            yield frame, UNetInputs(crops_of(bundle, range(frame, frame + 1)), batch.audio)
        advance()


def _joined(frames: list[UNetInputs]) -> UNetInputs:
    return UNetInputs(
        np.concatenate([frame.crops for frame in frames]),
        np.concatenate([frame.audio for frame in frames]),
    )
