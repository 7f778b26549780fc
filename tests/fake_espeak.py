"""A program to stand in for espeak-ng: as strict, and of few words.

It answers as 1.51 does.  What it hears is kept beside it in ``heard``, its process id in ``pid``.
"""

import os
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest  # slow, and of no use to the program

NEEDS_ESPEAK = "needs espeak-ng (Debian: apt install espeak-ng)"
RATE_HZ = 22_050
SOUND = struct.pack("<2h", 8_000, -8_000) * (RATE_HZ // 4)  #: half a second
VARIANTS = """\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  variant         --/F      female3            !v/f3                \n\
 5  variant         --/M      Mr_Serious         !v/Mr serious        \n\
 5  variant         --/F      Storm              !v/Storm             (en-us 5)
"""


def install(directory: Path, monkeypatch: "pytest.MonkeyPatch") -> Path:
    """Make it the only program that can be found."""
    program = directory / "espeak-ng"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -P -c"
        f' "from tests.fake_espeak import main; main()" "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("FAKE_ESPEAK", str(directory))
    return directory


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print("eSpeak NG text-to-speech: 9.87  Data at: /nowhere")
    elif arguments == ["--voices=variant"]:
        print(VARIANTS)
    else:
        _require_voice(arguments[arguments.index("-v") + 1])
        _speak(sys.stdin.buffer.read() if "--stdin" in arguments else arguments[-1].encode())


def _require_voice(voice: str) -> None:
    base, _, _ = voice.partition("+")
    if base == "f3":
        sys.exit("Cannot set stressAmp: language not set, or is invalid.\nUnknown phoneme table")
    if base not in {"en-us", "de"}:
        sys.exit("Cannot find it.\nError: The specified espeak-ng voice does not exist.\nSorry.")


def _speak(text: bytes) -> None:
    place = Path(os.environ["FAKE_ESPEAK"])
    (place / "heard").write_bytes(text)
    (place / "pid").write_text(str(os.getpid()))
    out = sys.stdout.buffer
    format_ = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    out.write(b"RIFF\x24\xf0\xff\x7fWAVE" + format_ + b"data\x00\xf0\xff\x7f")
    match text.split():
        case [b"silence"]:
            out.write(bytes(len(SOUND)))
        case [b"crash"]:
            out.write(SOUND)
            sys.exit("Out of breath")
        case [b"endless"]:
            while True:
                out.write(SOUND)
                out.flush()
                time.sleep(0.01)  # a reader that sleeps soundly must not be what ends it
        case words:
            out.write(SOUND * len(words))
