"""Speak a text: the one file that knows the program espeak-ng.

The text goes to its standard input, so it may be as long as a book and begin with a dash.
Behaviour was looked up in, and tried with, espeak-ng 1.51.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from farm.errors import EspeakMissing, TextUnspoken, UnknownVoice

PROGRAM = "espeak-ng"
DEFAULT_VOICE = "en-us+f3"
WORDS_PER_MINUTE, PITCH = 150, 52  #: calm and clear; its own are 175 and 50
ANSWER_S = 10.0  #: for a question, or to end after the last sound; takes 10 ms

#: Control characters would be commands: after U+0001 "20P" lowers the voice.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
#: Two open brackets would begin phonemes, also with one of the characters that it skips between.
_BRACKET_BEFORE_ANOTHER = re.compile(r"\[(?=[\u00ad\u200c]*\[)")


class Utterance:
    """What espeak-ng is saying: a WAV that flows while it speaks."""

    def __init__(self, process: "subprocess.Popen[bytes]", wav: IO[bytes], log: IO[bytes]) -> None:
        self.wav = wav  #: its header cannot know the length
        self._process = process
        self._log = log

    def require_success(self) -> None:
        """To be called at the end of ``wav``, which may have come too early.

        Raises TextUnspoken.
        """
        try:
            code = self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            raise TextUnspoken(f"{PROGRAM} stopped speaking and does not end") from None
        if code != 0:
            self._log.seek(0)
            raise TextUnspoken(f"{PROGRAM} failed ({_complaint(self._log.read(), code)})")


@contextmanager
def speaking(text: str, voice: str) -> Iterator[Utterance]:
    """Let espeak-ng speak, in a process of its own that ends with the block at the latest.

    ``voice`` : has passed ``require_voice``.
    Raises EspeakMissing, and TextUnspoken for what is no text.
    """
    # Files without a name: pipes could fill up while we write or wait.
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as log:
        words.write(plain(text).encode())
        words.seek(0)
        process = subprocess.Popen(
            [_program(), *voice_options(voice), "-b", "1", "--stdin", "--stdout"],
            stdin=words,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C is for the command, which then lets go of espeak-ng.
            start_new_session=True,
        )
        with process:
            try:
                assert process.stdout is not None
                yield Utterance(process, process.stdout, log)
            finally:
                process.kill()


def voice_options(voice: str) -> list[str]:
    """How every text is spoken."""
    return ["-v", voice, "-s", str(WORDS_PER_MINUTE), "-p", str(PITCH)]


def require_voice(voice: str) -> None:
    """Raises EspeakMissing, UnknownVoice."""
    base, plus, variant = voice.partition("+")
    if not base:
        raise UnknownVoice(f"--voice {voice!r}: names no voice; {PROGRAM} --voices lists them")
    # It must speak: with a variant alone, like f3, espeak-ng crashes only at the first sound.
    trial = _ask("-v", base, "--stdout", "a")
    if trial.returncode != 0:
        complaint = _complaint(trial.stderr, trial.returncode)
        raise UnknownVoice(
            f"--voice {voice}: {PROGRAM} cannot speak with it ({complaint});"
            f" {PROGRAM} --voices lists what it can"
        )
    # espeak-ng itself says nothing of a variant that it does not know, and leaves it out.
    if plus and variant not in _variants():
        raise UnknownVoice(
            f"--voice {voice}: no variant {variant!r}; {PROGRAM} --voices=variant lists them"
            " (the names after !v/)"
        )


def plain(text: str) -> str:
    """The same words without anything that espeak-ng would take for a command.

    Raises TextUnspoken when there are none, or when it is no text.
    """
    if "\0" in text:
        raise TextUnspoken("the text holds NUL bytes: it is no text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise TextUnspoken("the text is not UTF-8")
    words = _BRACKET_BEFORE_ANOTHER.sub("", _CONTROLS.sub(" ", text))
    if not words.strip():
        raise TextUnspoken("the text is empty")
    return words


def version() -> str:
    """Of the program that is installed.  Raises EspeakMissing."""
    said = _ask("--version").stdout.decode(errors="replace")
    found = re.search(r"\d[\w.+-]*", said)
    return found[0] if found else "of unknown version"


def _variants() -> set[str]:
    table = _ask("--voices=variant").stdout.decode(errors="replace")
    # Languages may follow the name, in brackets.
    return set(re.findall(r"!v/(.*?)\s*(?:\(.*)?$", table, re.MULTILINE))


def _ask(*question: str) -> "subprocess.CompletedProcess[bytes]":
    """Raises EspeakMissing, also when it does not start or does not answer."""
    command = [_program(), *question]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False
        )
    except OSError as error:
        raise EspeakMissing(f"{command[0]}: does not start ({error.strerror})") from error
    except subprocess.TimeoutExpired:
        raise EspeakMissing(f"{command[0]}: no answer within {ANSWER_S:g} s") from None


def _program() -> str:
    path = shutil.which(PROGRAM)
    if path is None:
        raise EspeakMissing(
            f"--text needs {PROGRAM}, which is not installed (Debian: apt install {PROGRAM})"
        )
    return path


def _complaint(log: bytes, code: int) -> str:
    """The line of its log that says most: the first error, else the last word."""
    lines = log.decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("Error: ") for line in said if line.startswith("Error: ")]
    end = f"exit code {code}" if code > 0 else f"signal {-code}"
    return [*errors, *said[-1:], end][0].rstrip(".")
