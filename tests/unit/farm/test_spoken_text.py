import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.errors import TextUnspoken, UnknownVoice
from farm.media import spoken_text
from farm.media.spoken_text import SpokenText, open_spoken
from farm.paths import ASSETS
from tests import fake_espeak
from tests.fake_espeak import RATE_HZ
from tests.material import read_speech


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return fake_espeak.install(tmp_path, monkeypatch)


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Put bytes on standard input."""
    with tempfile.TemporaryFile("w+") as stdin:

        def put(text: bytes) -> None:
            stdin.buffer.write(text)
            stdin.seek(0)
            monkeypatch.setattr(sys, "stdin", stdin)

        yield put


def n_heard(text: str, voice: str = "de") -> int:
    """Samples at 16 kHz of what is said."""
    with open_spoken(SpokenText(text=text, voice=voice)) as reader:
        n = sum(len(span.speech) for span in reader.spans())
        assert (reader.missing_s, reader.n_broken) == (0.0, 0)
    return n


def test_a_text_is_heard_to_its_end_whatever_the_wav_says_of_its_length() -> None:
    assert n_heard("one two three") == pytest.approx(3 * 8_000, abs=2)


def test_it_is_read_while_it_is_spoken() -> None:
    with open_spoken(SpokenText(text="endless", voice="de")) as reader:
        spans = reader.spans()

        assert len(next(spans).sound) > 0
        assert reader.sound_format.rate_hz == RATE_HZ
        spans.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "  ", "silence"])
def test_a_text_without_sound_is_refused_at_once(text: str) -> None:
    with pytest.raises(TextUnspoken), open_spoken(SpokenText(text=text)):
        pytest.fail("it was opened")


def test_a_failure_in_the_middle_is_no_end() -> None:
    with pytest.raises(TextUnspoken, match="Out of breath"):
        n_heard("crash")


def test_standard_input_is_the_text(fake: Path, type_in: Callable[[bytes], None]) -> None:
    type_in("\ufeffGrüß Gott".encode())

    n_heard("-")

    assert (fake / "heard").read_text() == "Grüß Gott"


@pytest.mark.parametrize(
    ("typed", "words"),
    [(b"", "empty"), (b"caf\xe9", r"not UTF-8 \(byte 3\)"), (b"a\0b", "NUL"), (b"abc" * 9, "long")],
)
def test_standard_input_that_is_no_text_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    type_in: Callable[[bytes], None],
    typed: bytes,
    words: str,
) -> None:
    monkeypatch.setattr(spoken_text, "MAX_TEXT_BYTES", 16)
    type_in(typed)

    with pytest.raises(TextUnspoken, match=words):
        n_heard("-")


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(TextUnspoken, match="is closed"):
        n_heard("-")


def test_nobody_types_for_a_voice_that_is_not_there(
    type_in: Callable[[bytes], None],
) -> None:
    type_in(b"hello")

    with pytest.raises(UnknownVoice):
        n_heard("-", "zz")

    assert os.lseek(sys.stdin.fileno(), 0, os.SEEK_CUR) == 0


@pytest.mark.parametrize(("name", "n_samples"), [("welcome", 215_704), ("willkommen", 182_310)])
def test_the_packages_own_speeches_are_there(name: str, n_samples: int) -> None:
    speech = read_speech(ASSETS / "speech" / f"{name}.wav")

    assert len(speech) == pytest.approx(n_samples * 16_000 / RATE_HZ, abs=2)
