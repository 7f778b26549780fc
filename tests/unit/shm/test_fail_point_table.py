"""The points themselves; what dies at them is tests/integration/test_fail_points.py."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shm.fail_points import EXIT_CODE, HIT_SUFFIX, POINTS, VARIABLE, armed, fail_point

ROOT = Path(__file__).parents[3]
PASSES_THRICE = """
from shm.fail_points import fail_point
for k in range(3):
    fail_point("inference.claimed")
    fail_point("inference.written")
    print(k, flush=True)
"""


def test_every_point_of_the_table_is_in_the_code_once_and_no_other_is() -> None:
    called = sorted(calls())

    assert called == sorted((name, place.file) for name, place in POINTS.items())


def calls() -> Iterator[tuple[object, str]]:
    """The argument of each call of ``fail_point``, and its file."""
    for package in ("farm", "workers", "shm"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "fail_point":
                    (name,) = node.args
                    assert isinstance(name, ast.Constant), f"{path}: a point must be a literal"
                    yield name.value, str(path.relative_to(ROOT))


def test_unarmed_points_are_an_empty_function() -> None:
    assert fail_point is armed("")
    fail_point("inference.claimed")


@pytest.mark.parametrize(
    "text",
    ["nowhere:kill", "inference.claimed", "inference.claimed:burn", "inference.claimed:kill@0"],
)
def test_what_is_no_order_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        armed(text)


def passing(value: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PASSES_THRICE],
        env={**os.environ, VARIABLE: value},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        ("inference.claimed:kill", -signal.SIGKILL, ""),
        ("inference.written:kill@2", -signal.SIGKILL, "0\n"),
        ("inference.claimed:exit@3", EXIT_CODE, "0\n1\n"),
        ("inference.claimed:kill@4", 0, "0\n1\n2\n"),
        ("audio.loaded:kill", 0, "0\n1\n2\n"),
    ],
)
def test_an_armed_point_strikes_at_its_passage(order: str, status: int, said: str) -> None:
    with passing(order) as process:
        assert process.communicate(timeout=20) == (said, None)

    assert process.returncode == status


def test_a_stopped_process_can_go_on() -> None:
    with passing("inference.claimed:stop@2") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=20) == ("0\n1\n2\n", None)


def test_a_file_strikes_once(tmp_path: Path) -> None:
    order = tmp_path / "armed"
    order.write_text("inference.claimed:kill@2")

    for status, said in ((-signal.SIGKILL, "0\n"), (0, "0\n1\n2\n")):
        with passing(f"@{order}") as process:
            assert process.communicate(timeout=20) == (said, None)
        assert process.returncode == status

    assert os.listdir(tmp_path) == [order.name + HIT_SUFFIX]
