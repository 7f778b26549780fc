"""``farm model`` and ``--model``, as somebody types them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.paths import DEMO_SPEECH, TINY_MODEL
from tests.acceptance.test_render_command import assert_refused, farm
from tests.farm_process import RunningFarm, running_farm
from tests.material import EDGE_BOXES, FAMILY, clouds, noise_avatar
from workers.avatar_compiler import compile_avatar

pytestmark = pytest.mark.beside_a_farm

CONFIG = "[inference]\nthreads = 1\n[health]\nliveness = 30\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    noise_avatar(root / "avatars" / "anna")
    shutil.copytree(TINY_MODEL, root / "models" / "mine")
    (root / "models" / "no model").mkdir()
    return root


@pytest.fixture
def at_home(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands find this data directory."""
    monkeypatch.setenv("LIPFARM_DATA", str(data))
    return data


@pytest.fixture(scope="module")
def running(data: Path) -> Iterator[RunningFarm]:
    with running_farm(data, config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def one_second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "one.wav"
    path.write_bytes(DEMO_SPEECH.read_bytes()[: 44 + 2 * 22_050])
    return path


def test_list_says_what_there_is_and_where(at_home: Path) -> None:
    shown = farm("model", "list")
    rows = json.loads(farm("model", "list", "--json").stdout)

    assert [row["model"] for row in rows] == ["demo", "mine"]
    assert rows[1]["directory"] == str(at_home / "models" / "mine")
    assert shown.stdout.count("\n") == 2
    assert "mine" in shown.stdout


def test_a_model_is_loaded_counted_and_unloaded(
    running: RunningFarm, one_second: Path, tmp_path: Path
) -> None:
    there = ("--connect", running.url)
    loaded = farm("model", "load", "mine", "--pin", *there)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.startswith("mine: in memory, ")
    assert loaded.stdout.endswith("MB cpu, pinned\n")

    speech, out = str(one_second), f"{tmp_path}/out/"
    done = farm("submit", speech, "-o", out, "--avatar", "anna", "--model", "mine", *there)
    assert done.returncode == 0, done.stderr

    (report,) = json.loads(farm("model", "stats", "mine", "--json", *there).stdout)
    assert (report["requests"], report["frames"], report["places"]) == (1, 25, {"ready": 1})
    table = farm("model", "stats", *there).stdout.splitlines()
    assert table[0].split() == [
        *("model", "state", "memory", "jobs", "requests", "frames"),
        *("ms/frame", "batch", "p50", "p90", "p99", "unused"),
    ]
    assert [line.split()[0] for line in table[1:]] == ["demo", "mine"]

    assert farm("model", "unload", "mine", *there).returncode == 0


def test_a_model_that_is_not_there_is_refused_in_one_line(
    running: RunningFarm, one_second: Path, tmp_path: Path
) -> None:
    there = ("--connect", running.url)

    assert_refused(farm("model", "load", "nobody", *there), "'nobody': the farm has no model")
    assert_refused(farm("model", "stats", "nobody", *there), "'nobody': the farm has no model")
    submit = ("submit", one_second, "-o", tmp_path / "a.mp4", "--avatar", "anna", *there)
    assert_refused(farm(*submit, "--model", "nobody"), "'nobody': the farm has no model")
    assert_refused(farm(*submit, "--model", "/etc"), "'/etc': is no id of a model")
    render = ("render", one_second, "-o", tmp_path / "a.mp4", "--model", "nobody")
    assert_refused(farm(*render), "no model of that id or path (there are: demo)")


def test_a_device_that_is_not_there_is_said_in_one_line(one_second: Path, tmp_path: Path) -> None:
    for more in ((), ("--sequential",)):
        render = ("render", one_second, "-o", tmp_path / "a.mp4", "--device", "cuda:3", *more)
        refused = farm(*render)
        assert refused.returncode != 0
        assert "cuda:3 cannot be used: onnxruntime took CPUExecutionProvider" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "a.mp4").exists()


def test_an_avatar_that_names_its_model_is_rendered_with_it(
    at_home: Path, one_second: Path, tmp_path: Path
) -> None:
    compile_avatar(
        zip(clouds(4), EDGE_BOXES, strict=True),
        at_home / "avatars" / "clara",
        avatar_id="clara",
        source_version="1",
        family=FAMILY,
        model="mine",
    )
    assert "mine" in farm("avatar", "info", "clara").stdout

    outputs = {}
    for name, more in {
        "embedded": (),
        "sequential": ("--sequential",),
        "by path": ("--sequential", "--model", str(TINY_MODEL)),
        "other": ("--sequential", "--model", "demo"),
    }.items():
        out = tmp_path / name
        done = farm("render", one_second, "-o", f"{out}/", "--avatar", "clara", *more)
        assert done.returncode == 0, done.stderr
        outputs[name] = [path.read_bytes() for path in sorted(out.iterdir())]

    assert outputs["embedded"] == outputs["sequential"] == outputs["by path"]
    assert outputs["other"] != outputs["embedded"]


def test_an_avatar_whose_model_is_gone_says_which(
    at_home: Path, one_second: Path, tmp_path: Path
) -> None:
    compile_avatar(
        zip(clouds(4), EDGE_BOXES, strict=True),
        at_home / "avatars" / "dora",
        avatar_id="dora",
        source_version="1",
        family=FAMILY,
        model="gone",
    )

    render = ("render", one_second, "-o", tmp_path / "a.mp4", "--avatar", "dora")
    assert_refused(farm(*render), "avatar dora is for model 'gone', which is not in")
