import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import av
import pytest

from tests.fake_espeak import NEEDS_ESPEAK

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the scripts work on .venv")
def test_the_demo_script_renders_the_demo_and_says_what_to_do_next() -> None:
    done = subprocess.run([ROOT / "scripts" / "demo"], capture_output=True, text=True, check=True)

    for words in ("out/demo.mp4", "frames/s", "milliseconds a frame", "Your own voice"):
        assert words in done.stdout
    with av.open(os.fspath(ROOT / "out" / "demo.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 245


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason=NEEDS_ESPEAK)
@pytest.mark.parametrize("name", ["welcome.wav", "willkommen.wav"])
def test_the_speeches_can_be_made_again(tmp_path: Path, name: str) -> None:
    script = [sys.executable, ROOT / "scripts" / "make_speech.py"]
    subprocess.run([*script, tmp_path / name], check=True)

    # Samples differ in their last bits between builds of espeak-ng; the length does not.
    shipped = ROOT / "farm" / "assets" / "speech" / name
    assert parameters(tmp_path / name) == parameters(shipped)


def parameters(path: Path) -> tuple[object, ...]:
    with wave.open(str(path)) as speech:
        return speech.getparams()
