"""A text as speech: what espeak-ng says, read as any other sound is, while it speaks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from farm.errors import TextUnspoken
from farm.espeak import DEFAULT_VOICE, Utterance, require_voice, speaking
from farm.media.audio import STDIN, Source, SpeechReader, read_speech

NAME = "the text"
MAX_TEXT_BYTES = 1 << 26  #: on standard input; some 20 books.  More is a mistake.
WAV_HEADER_BYTES = 44  #: espeak-ng's
MAX_SILENCE_BYTES = 1 << 20  #: of silence at its beginning that is kept: 24 s at 22,050 Hz
PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenText:
    """A text to be spoken."""

    text: str  #: or "-": it comes on standard input
    voice: str = DEFAULT_VOICE  #: a name of espeak-ng's


@contextmanager
def open_spoken(spoken: SpokenText) -> Iterator[SpeechReader]:
    """Speak, and read along.

    Raises EspeakMissing, UnknownVoice, and TextUnspoken for a text that gives no sound.
    """
    require_voice(spoken.voice)  # before somebody types a text for nothing
    text = _standard_input() if spoken.text == STDIN else spoken.text
    with speaking(text, spoken.voice) as utterance:
        source = _Voice(utterance)
        source.wait_for_sound()
        # Its header says 2 GB, which are 13 hours: longer books exist.
        with read_speech(source, NAME, ignore_length="1") as reader:
            yield reader


class _Voice(Source):
    """The bytes of an utterance.  The failure of espeak-ng is never taken for a text's end."""

    def __init__(self, utterance: Utterance) -> None:
        super().__init__(utterance.wav)
        self._utterance = utterance
        self._kept = b""  #: read, and not yet given

    def wait_for_sound(self) -> None:
        """Raises TextUnspoken when there will be none."""
        while not self._kept[WAV_HEADER_BYTES:].strip(b"\0"):
            piece = self._spoken(PIECE_BYTES)
            if not piece:
                raise TextUnspoken(f"{NAME} gives no sound: nothing in it can be spoken")
            self._kept += piece
            if len(self._kept) > MAX_SILENCE_BYTES:
                return

    def read_some(self, n: int) -> bytes:
        if self._kept:
            piece, self._kept = self._kept[:n], self._kept[n:]
            return piece
        return self._spoken(n)

    def _spoken(self, n: int) -> bytes:
        piece = super().read_some(n)
        if not piece:
            self._utterance.require_success()
        return piece


def _standard_input() -> str:
    """Raises TextUnspoken when it is closed, too long or not UTF-8."""
    try:
        text = _read_all(Source(sys.stdin.buffer)) if sys.stdin is not None else None
    except OSError as error:
        raise TextUnspoken(f"standard input: {error.strerror}") from error
    if text is None:
        raise TextUnspoken("standard input: is closed")
    try:
        return text.decode("utf-8-sig")  # editors on Windows begin a file with U+FEFF
    except UnicodeDecodeError as error:
        raise TextUnspoken(f"standard input: not UTF-8 (byte {error.start})") from error


def _read_all(source: Source) -> bytes:
    text = bytearray()
    while piece := source.read_some(PIECE_BYTES):
        text += piece
        if len(text) > MAX_TEXT_BYTES:
            raise TextUnspoken(f"standard input: longer than {MAX_TEXT_BYTES >> 20} MiB")
    return bytes(text)
