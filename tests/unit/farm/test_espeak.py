import os
import shutil
import subprocess
from pathlib import Path

import pytest

from farm import espeak
from farm.errors import EspeakMissing, TextUnspoken, UnknownVoice
from tests import fake_espeak
from tests.fake_espeak import NEEDS_ESPEAK, SOUND

real = pytest.mark.skipif(shutil.which(espeak.PROGRAM) is None, reason=NEEDS_ESPEAK)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return fake_espeak.install(tmp_path, monkeypatch)


def said(text: str, voice: str = "en-us") -> bytes:
    """The WAV, without its header."""
    with espeak.speaking(text, voice) as utterance:
        wav = utterance.wav.read()
        utterance.require_success()
    return wav[44:]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Grüß Gott,\nWelt: <b>a</b> &amp; 中", "Grüß Gott,\nWelt: <b>a</b> &amp; 中"),
        ("a\x0120Pb\x7fc\x1b[0m\x85d\te\r\n", "a 20Pb c [0m d e \n"),
        ("[[h@l'oU]] [[[x [", "[h@l'oU]] [x ["),
        ("[\u00ad[a [\u200c\u00ad[b [\u200b[c", "\u00ad[a \u200c\u00ad[b [\u200b[c"),
        ("[\x02[", "[ ["),
    ],
)
def test_what_would_be_a_command_is_only_text(text: str, plain: str) -> None:
    assert espeak.plain(text) == plain


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "empty"), (" \n\t", "empty"), ("\x01", "empty"), ("a\0b", "NUL"), ("\udce4", "UTF-8")],
)
def test_what_is_no_text_is_refused(text: str, word: str) -> None:
    with pytest.raises(TextUnspoken, match=word):
        espeak.plain(text)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("voice", ["de", "en-us+f3", "en-us+Mr serious", "en-us+Storm"])
def test_a_voice_that_is_there_is_taken(voice: str) -> None:
    espeak.require_voice(voice)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("voice", "words"),
    [
        ("", ["''", "names no voice"]),
        ("+f3", ["+f3", "names no voice"]),
        ("zz", ["zz", "The specified espeak-ng voice does not exist)", "espeak-ng --voices"]),
        ("f3", ["f3", "Unknown phoneme table", "espeak-ng --voices"]),
        ("--version", ["--version", "does not exist"]),
        ("en-us+", ["en-us+", "no variant ''"]),
        ("en-us+zz", ["en-us+zz", "no variant 'zz'", "espeak-ng --voices=variant"]),
        ("en-us+f3+f3", ["no variant 'f3+f3'"]),
    ],
)
def test_a_voice_that_is_not_there_is_named(voice: str, words: list[str]) -> None:
    with pytest.raises(UnknownVoice) as caught:
        espeak.require_voice(voice)

    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["-v de", "@file", "--version", "Grüße. " * 100_000])
def test_every_text_arrives_as_text(fake: Path, text: str) -> None:
    with espeak.speaking(text, "de") as utterance:
        assert utterance.wav.read(1)

    assert (fake / "heard").read_text() == text


@pytest.mark.usefixtures("fake")
def test_a_failure_is_told_in_the_programs_own_words() -> None:
    with espeak.speaking("crash", "de") as utterance:
        assert utterance.wav.read()[44:] == SOUND
        with pytest.raises(TextUnspoken, match=r"failed \(Out of breath\)"):
            utterance.require_success()


def test_it_is_ended_when_nobody_listens_any_more(fake: Path) -> None:
    with espeak.speaking("endless", "de") as utterance:
        assert utterance.wav.read(100_000)
        pid = int((fake / "pid").read_text())

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_missing_program_is_said_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    for question in (espeak.version, lambda: espeak.require_voice("de")):
        with pytest.raises(EspeakMissing, match=r"not installed .*apt install espeak-ng"):
            question()


def test_a_program_that_does_not_start_is_named(fake: Path) -> None:
    (fake / "espeak-ng").write_text("#!/gone/interpreter\n")

    with pytest.raises(EspeakMissing, match="espeak-ng: does not start"):
        espeak.version()


@pytest.mark.usefixtures("fake")
def test_its_version_is_known() -> None:
    assert espeak.version() == "9.87"


@real
def test_the_real_one_has_the_default_voice_and_all_its_variants() -> None:
    table = subprocess.run(
        [espeak.PROGRAM, "--voices=variant"], capture_output=True, text=True, check=True
    ).stdout
    n_variants = len(table.splitlines()) - 1

    espeak.require_voice(espeak.DEFAULT_VOICE)

    assert len(espeak._variants()) == n_variants > 10


@real
@pytest.mark.parametrize("voice", ["zz", "f3", "en-us+zz", "-q"])
def test_the_real_one_lacks_what_is_no_voice(voice: str) -> None:
    with pytest.raises(UnknownVoice):
        espeak.require_voice(voice)


@real
@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("[[h@l'oU]]", "[h@l'oU]]"),
        ("[\u00ad[h@l'oU]]", "[h@l'oU]]"),
        ("[\u200c[h@l'oU]]", "[h@l'oU]]"),
        ("one \x0120P two", "one 20P two"),
    ],
)
def test_the_real_one_obeys_no_text(text: str, same: str) -> None:
    assert said(text) == said(same)
    assert said(text) != said("hello")
