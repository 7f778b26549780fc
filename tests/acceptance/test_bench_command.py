"""Benchmarks run; what they say is for people, and for `--json`'s readers."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench.py"


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_the_farm_is_measured_against_a_bare_loop() -> None:
    quick = ("--models", "tiny", "--rounds", "1", "--seconds", "0.5")

    done = bench("inference", *quick, "--json")

    assert done.returncode == 0, done.stderr
    rates = [r for r in json.loads(done.stdout) if r["unit"] == "frames/s"]
    assert [(r["model"], r["path"], r["jobs"]) for r in rates] == [
        ("tiny", "bare", None),
        ("tiny", "bare", None),
        ("tiny", "farm", 1),
        ("tiny", "farm", 8),
    ]
    assert all(r["value"] > 0 for r in rates)


def test_a_gpu_that_is_not_there_is_said_in_one_line() -> None:
    done = bench("gpu", "--quick", "--seconds", "0.1")

    assert done.returncode == 1
    assert done.stderr.startswith("bench: cuda:0 cannot be used")
    assert done.stderr.count("\n") == 1
