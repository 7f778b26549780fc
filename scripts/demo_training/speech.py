"""Speech with the times of its phonemes, from Debian's libespeak-ng.  Owns that library."""

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

LIBRARY = "libespeak-ng.so.1"

# espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA = 1, 2
_EVENT_LIST_END, _EVENT_PHONEME = 0, 7
_CHARS_UTF8, _END_PAUSE = 1, 0x1000
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Phoneme:
    """``symbol`` in IPA, empty for a pause; it lasts until the next one begins."""

    begin_s: float
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to say it: words a minute, and espeak-ng's 0..99 for pitch and its range."""

    words_per_minute: int
    pitch: int
    pitch_range: int
    word_gap_10ms: int = 0


def say(text: str, voice: str, manner: Manner) -> tuple[NDArray[np.float32], int, list[Phoneme]]:
    """Mono samples in -1..1, their rate in Hz, and the phonemes in order.

    Raises ValueError when espeak-ng has no such voice.
    """
    library, rate_hz, sound, phonemes = _espeak()
    sound.clear()
    phonemes.clear()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    settings = {
        _RATE: manner.words_per_minute,
        _PITCH: manner.pitch,
        _RANGE: manner.pitch_range,
        _WORD_GAP: manner.word_gap_10ms,
    }
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    utf8 = text.encode()
    flags = _CHARS_UTF8 | _END_PAUSE
    library.espeak_Synth(utf8, len(utf8) + 1, 0, 1, 0, flags, None, None)
    library.espeak_Synchronize()
    return np.concatenate(sound).astype(np.float32) / 32768, rate_hz, list(phonemes)


@cache
def _espeak():
    """The library, its sample rate, and the two lists that its callback fills."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise SystemExit(f"{LIBRARY} is missing (Debian: apt install espeak-ng)") from error
    sound: list[NDArray[np.int16]] = []
    phonemes: list[Phoneme] = []

    @_Callback
    def heard(samples, n_samples, events):
        if n_samples > 0 and samples:
            sound.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        k = 0
        while events[k].type != _EVENT_LIST_END:
            if events[k].type == _EVENT_PHONEME:
                address = ctypes.addressof(events[k]) + _Event.id.offset
                symbol = ctypes.string_at(address, 8).split(b"\0")[0].decode("utf-8", "ignore")
                phonemes.append(Phoneme(events[k].audio_position_ms / 1000, symbol))
            k += 1
        return 0

    library.heard = heard  # keeps the callback alive as long as the library
    options = _PHONEME_EVENTS | _PHONEME_IPA
    rate_hz = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, None, options)
    library.espeak_SetSynthCallback(heard)
    return library, rate_hz, sound, phonemes
