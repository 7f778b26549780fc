"""Speak the demo's sentence into a WAV file.  Needs Debian's espeak-ng.

usage: make_speech.py OUT.wav
"""

import subprocess
import sys

VOICE, WORDS_PER_MINUTE, PITCH = "en-us+f3", 150, 52
SENTENCE = (
    "Hello, and welcome to the lip farm. You speak, and my mouth follows:"
    " every word, every pause, every frame, in its place."
)

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    options = ["-v", VOICE, "-s", str(WORDS_PER_MINUTE), "-p", str(PITCH), "-w", sys.argv[1]]
    subprocess.run(["espeak-ng", *options, SENTENCE], check=True)
