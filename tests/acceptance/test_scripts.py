import os
import subprocess
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the scripts work on .venv")
def test_the_demo_script_renders_the_demo_and_says_what_to_do_next() -> None:
    done = subprocess.run([ROOT / "scripts" / "demo"], capture_output=True, text=True, check=True)

    for words in ("out/demo.mp4", "frames/s", "milliseconds a frame", "Your own voice"):
        assert words in done.stdout
    with av.open(os.fspath(ROOT / "out" / "demo.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 245
