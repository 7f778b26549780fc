"""Read the sound of any media file: mixed down and resampled for the models, untouched for the ear.

One pass, in bounded memory, so that a pipe works as well as a file.
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import av
import numpy as np

from farm.errors import AudioUnreadable
from workers.arrays import F32
from workers.features.mel import SAMPLE_RATE_HZ

STDIN = "-"
SPAN_SAMPLES = SAMPLE_RATE_HZ  #: samples gathered before they are handed on: 1 s

MAX_CHANNELS, MIN_RATE_HZ, MAX_RATE_HZ = 64, 1_000, 768_000
SIGNAL_LATENCY_S = 0.2  #: until Ctrl-C is heard while a pipe is silent
MAX_MISSING_S = 0.5  #: what encoders' paddings and rounded headers may hide
MAX_LEVEL = 100.0  #: of a sample; beyond it, it is not sound on the scale -1..1

#: PyAV 19 takes any bytes in a file's tags by itself, and has no such option.
_TAG_OPTIONS: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

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

    def __init__(self, container: av.container.InputContainer, source: "Source", name: str) -> None:
        self.name = name
        self.n_samples = 0  #: 16 kHz samples given so far
        self.n_broken = 0  #: packets that could not be decoded and were left out
        self._container = container
        self._source = source
        self._stream = container.streams.audio[0]
        #: What the file says of its length; None when it does not, and never to be relied on.
        self.duration_s = container.duration / av.time_base if container.duration else None
        _check_format(self.sound_format, name)

    @property
    def sound_format(self) -> SoundFormat:
        return SoundFormat(self._stream.rate, self._stream.channels)

    @property
    def missing_s(self) -> float:
        """At the end: how much shorter the sound is than the file says; a cut file shows here."""
        missing = (self.duration_s or 0.0) - self.n_samples / SAMPLE_RATE_HZ
        return missing if missing > MAX_MISSING_S else 0.0

    def spans(self) -> Iterator[Span]:
        """The whole sound, once, in order.

        Raises AudioUnreadable when there is none, or when it is mostly broken.
        """
        convert = _ToSpeech(self.sound_format, self.name)
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
        self._source.raise_caught()
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
            sound = [frame for frame in frames if _format(frame) == self.sound_format]
            if len(sound) < len(frames):
                self.n_broken += 1  # decoded to something else: as broken as the others
            n_sound += len(sound) > 0
            yield from sound
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
            self._source.raise_caught()
            raise AudioUnreadable(f"{self.name}: {_reason(error)}") from error


@contextmanager
def open_speech(source: str) -> Iterator[SpeechReader]:
    """Open a path, or ``-`` for standard input.

    Raises AudioUnreadable, naming the file and the reason.
    """
    name = "standard input" if source == STDIN else source
    with _open_bytes(source, name) as stream:
        caught = _SeekableSource(stream) if stream.seekable() else Source(stream)
        with read_speech(caught, name) as reader:
            yield reader


@contextmanager
def read_speech(source: "Source", name: str, **demuxer_options: str) -> Iterator[SpeechReader]:
    """The same for bytes from anywhere; ``name`` is what errors call them."""
    # Only our own stream may be read: a playlist must not make us open other files.
    options = {"protocol_whitelist": "none", **demuxer_options}
    try:
        container = av.open(source, "r", options=options, **_TAG_OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        source.raise_caught()
        raise AudioUnreadable(f"{name}: not a media file ({_reason(error)})") from error
    with container:
        if not container.streams.audio:
            raise AudioUnreadable(f"{name}: holds no sound, only {_kinds(container)}")
        yield SpeechReader(container, source, name)


@contextmanager
def _open_bytes(source: str, name: str) -> Iterator[IO[bytes]]:
    if source == STDIN:
        if sys.stdin is None:
            raise AudioUnreadable(f"{name}: is closed")
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(open(source, "rb"))
        except OSError as error:
            raise AudioUnreadable(f"{name}: {error.strerror}") from error
        yield stream


class Source:
    """A stream for libav, which cannot pass on what a read raises, Ctrl-C least of all.

    An exception in a read ends the stream and is kept, to be raised where Python is in charge.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.name = getattr(stream, "name", "")  # its ending is a hint to libav
        self._caught: BaseException | None = None

    def read(self, n: int) -> bytes:
        if self._caught is not None:
            return b""  # libav tries again after an end
        try:
            return self.read_some(n)
        except BaseException as caught:  # noqa: BLE001 - raised again by raise_caught
            self._caught = caught
            return b""

    def raise_caught(self) -> None:
        if self._caught is not None:
            raise self._caught

    def read_some(self, n: int) -> bytes:
        """What a pipe has now: a whole read would wait for more than there may ever be."""
        fd = self._stream.fileno()
        # Back to Python now and then: a signal may have been delivered to a thread of libav's.
        while not select.select([fd], [], [], SIGNAL_LATENCY_S)[0]:
            pass
        return os.read(fd, n)


class _SeekableSource(Source):
    def read_some(self, n: int) -> bytes:
        return self._stream.read(n)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._stream.seek(offset, whence)
        except BaseException as caught:  # noqa: BLE001 - raised again by raise_caught
            self._caught = caught
            return -1

    def tell(self) -> int:
        return self._stream.tell()


class _ToSpeech:
    """Decoded frames to mono 16 kHz: mixed down first, then resampled."""

    def __init__(self, sound: SoundFormat, name: str) -> None:
        self._sound = sound
        self._name = name
        self._to_float: av.AudioResampler | None = None
        self._to_16k: av.AudioResampler | None = None
        if sound.rate_hz != SAMPLE_RATE_HZ:
            self._to_16k = av.AudioResampler("fltp", "mono", SAMPLE_RATE_HZ)

    def push(self, frame: av.AudioFrame) -> F32:
        if self._to_float is None:
            # Interleaved: planes beyond the eighth are out of PyAV's reach.
            self._to_float = av.AudioResampler("flt", frame.layout, frame.rate)
        mono = [self._mixed_down(piece) for piece in self._to_float.resample(frame)]
        if self._to_16k is None:
            return np.concatenate([np.empty(0, np.float32), *mono])
        out: list[av.AudioFrame] = []
        for samples in mono:
            piece = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
            piece.rate = frame.rate
            out += self._to_16k.resample(piece)
        return _joined(out)

    def finish(self) -> F32:
        """What the resampler still holds."""
        if self._to_16k is None:
            return np.empty(0, np.float32)
        return _joined(self._to_16k.resample(None))

    def _mixed_down(self, frame: av.AudioFrame) -> F32:
        """The mean over the channels.  libswresample's own mix is 3 dB louder for floats."""
        samples = frame.to_ndarray().reshape(-1, self._sound.n_channels)
        # A NaN compares as False.
        if not (np.abs(samples) <= MAX_LEVEL).all():
            raise AudioUnreadable(f"{self._name}: holds samples that are no sound (NaN or huge)")
        mean: F32 = samples.mean(axis=1, dtype=np.float32)
        return mean


def _check_format(sound: SoundFormat, name: str) -> None:
    if not 1 <= sound.n_channels <= MAX_CHANNELS:
        raise AudioUnreadable(f"{name}: {sound.n_channels} channels, must be 1..{MAX_CHANNELS}")
    if not MIN_RATE_HZ <= sound.rate_hz <= MAX_RATE_HZ:
        raise AudioUnreadable(
            f"{name}: {sound.rate_hz} samples a second, must be {MIN_RATE_HZ}..{MAX_RATE_HZ}"
        )


def _format(frame: av.AudioFrame) -> SoundFormat:
    return SoundFormat(frame.rate, frame.layout.nb_channels)


def _joined(frames: list[av.AudioFrame]) -> F32:
    return np.concatenate([np.empty(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])


def _kinds(container: av.container.InputContainer) -> str:
    kinds = {stream.type or "unknown" for stream in container.streams}
    return ", ".join(sorted(kinds)) or "nothing"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
