"""Read the sound of any media file: mixed down and resampled for the models, untouched for the ear.

One pass, in bounded memory, so that a pipe works as well as a file.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from farm.errors import AudioUnreadable
from workers.arrays import F32
from workers.features.mel import SAMPLE_RATE_HZ

STDIN = "-"
SPAN_SAMPLES = SAMPLE_RATE_HZ  #: samples gathered before they are handed on: 1 s

#: More than this many broken packets, and more of them than sound ones: not a sound file.
MAX_BROKEN_PACKETS = 20


@dataclass(frozen=True, slots=True)
class Span:
    """A second or less of sound."""

    speech: F32  #: shape (n,), mono at 16 kHz, about -1..1
    sound: list[av.AudioFrame]  #: as decoded, for the soundtrack


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """Of a file's own sound."""

    rate_hz: int
    n_channels: int


class SpeechReader:
    """The sound of an open media file."""

    def __init__(self, container: av.container.InputContainer, name: str) -> None:
        self.name = name
        self.n_samples = 0  #: 16 kHz samples given so far
        self.n_broken = 0  #: packets that could not be decoded and were left out
        self._container = container
        self._stream = container.streams.audio[0]

    @property
    def sound_format(self) -> SoundFormat:
        return SoundFormat(self._stream.rate, self._stream.channels)

    @property
    def duration_s(self) -> float | None:
        """What the file says of its length; None when it does not, and never to be relied on."""
        duration = self._container.duration
        return duration / av.time_base if duration else None

    def spans(self) -> Iterator[Span]:
        """The whole sound, once, in order.

        Raises AudioUnreadable when there is none, or when it is mostly broken.
        """
        convert = _ToSpeech()
        speech: list[F32] = []
        sound: list[av.AudioFrame] = []
        n_decoded = 0
        for frame in self._decoded():
            # Times are counted in samples: gaps and jumps in a file's own times are not sound.
            frame.pts, frame.time_base = n_decoded, Fraction(1, frame.rate)
            n_decoded += frame.samples
            speech.append(convert.push(frame))
            sound.append(frame)
            if sum(map(len, speech)) >= SPAN_SAMPLES:
                yield self._span(speech, sound)
                speech, sound = [], []
        speech.append(convert.finish())
        yield self._span(speech, sound)
        if self.n_samples == 0:
            raise AudioUnreadable(f"{self.name}: holds no sound (0 samples)")

    def _span(self, speech: list[F32], sound: list[av.AudioFrame]) -> Span:
        samples = np.concatenate(speech)
        self.n_samples += len(samples)
        return Span(samples, sound)

    def _decoded(self) -> Iterator[av.AudioFrame]:
        """Decoded frames; a broken packet is left out, as every player does."""
        n_sound = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                self.n_broken += 1
                if self.n_broken > max(MAX_BROKEN_PACKETS, n_sound):
                    raise self._mostly_broken() from error
                continue
            n_sound += 1
            yield from frames
        if self.n_broken >= n_sound > 0:
            raise self._mostly_broken()

    def _mostly_broken(self) -> AudioUnreadable:
        return AudioUnreadable(f"{self.name}: most of its sound cannot be decoded")

    def _packets(self) -> Iterator["av.Packet[av.AudioStream]"]:
        try:
            yield from self._container.demux(self._stream)
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, OSError) as error:
            raise AudioUnreadable(f"{self.name}: {_reason(error)}") from error


@contextmanager
def open_speech(source: str) -> Iterator[SpeechReader]:
    """Open a path, or ``-`` for standard input.

    Raises AudioUnreadable, naming the file and the reason.
    """
    name = "standard input" if source == STDIN else source
    with _open_bytes(source, name) as stream:
        try:
            # Only our own stream may be read: a playlist must not make us open other files.
            container = av.open(stream, "r", options={"protocol_whitelist": "none"})
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise AudioUnreadable(f"{name}: not a media file ({_reason(error)})") from error
        with container:
            if not container.streams.audio:
                raise AudioUnreadable(f"{name}: holds no sound, only {_kinds(container)}")
            yield SpeechReader(container, name)


@contextmanager
def _open_bytes(source: str, name: str) -> Iterator[BinaryIO]:
    if source == STDIN:
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(open(source, "rb"))
        except OSError as error:
            raise AudioUnreadable(f"{name}: {error.strerror}") from error
        yield stream


class _ToSpeech:
    """Decoded frames to mono 16 kHz: mixed down first, then resampled."""

    def __init__(self) -> None:
        self._to_float: av.AudioResampler | None = None
        self._to_16k: av.AudioResampler | None = None

    def push(self, frame: av.AudioFrame) -> F32:
        if self._to_float is None:
            self._to_float = av.AudioResampler("fltp", frame.layout, frame.rate)
            if frame.rate != SAMPLE_RATE_HZ:
                self._to_16k = av.AudioResampler("fltp", "mono", SAMPLE_RATE_HZ)
        try:
            planes = self._to_float.resample(frame)
        except ValueError as error:
            raise AudioUnreadable(f"the sound changes its format on the way ({error})") from error
        return self._resampled([_mono(plane) for plane in planes], frame.rate)

    def finish(self) -> F32:
        """What the resampler still holds."""
        if self._to_16k is None:
            return np.empty(0, np.float32)
        return _joined(self._to_16k.resample(None))

    def _resampled(self, mono: list[F32], rate_hz: int) -> F32:
        if self._to_16k is None:
            return np.concatenate([np.empty(0, np.float32), *mono])
        out: list[av.AudioFrame] = []
        for samples in mono:
            frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
            frame.rate = rate_hz
            out += self._to_16k.resample(frame)
        return _joined(out)


def _mono(frame: av.AudioFrame) -> F32:
    """The mean over the channels.  libswresample's own mix would be 3 dB louder for floats."""
    mean: F32 = frame.to_ndarray().mean(axis=0, dtype=np.float32)
    return mean


def _joined(frames: list[av.AudioFrame]) -> F32:
    return np.concatenate([np.empty(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])


def _kinds(container: av.container.InputContainer) -> str:
    kinds = {stream.type or "unknown" for stream in container.streams}
    return ", ".join(sorted(kinds)) or "nothing"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
