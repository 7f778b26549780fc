"""Speak the package's speeches into WAV files.  Needs Debian's espeak-ng.

The file's name says which speech it becomes, so all of them are

    make_speech.py farm/assets/speech/welcome.wav farm/assets/speech/willkommen.wav

Another build of espeak-ng may differ in the last bits of samples.

usage: make_speech.py FILE.wav...
"""

import subprocess
import sys
from pathlib import Path

from farm.espeak import DEFAULT_VOICE, PROGRAM, voice_options

#: Voice and text.
SPEECHES = {
    "welcome.wav": (
        DEFAULT_VOICE,
        "Hello, and welcome to the lip farm. You speak, and my mouth follows:"
        " every word, every pause, every frame, in its place.",
    ),
    "willkommen.wav": (
        "de+m3",
        "Guten Tag und herzlich willkommen! Sie geben mir Ihre Stimme,"
        " ich leihe ihr ein Gesicht: Bild für Bild und Wort für Wort.",
    ),
}

if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths or any(path.name not in SPEECHES for path in paths):
        sys.exit(__doc__)
    for path in paths:
        voice, text = SPEECHES[path.name]
        subprocess.run([PROGRAM, *voice_options(voice), "-w", path, text], check=True)
