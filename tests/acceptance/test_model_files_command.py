"""``farm model probe | quantize``, as a user types it."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from farm.paths import DEMO_MODEL, DEMO_SPEECH, TINY_MODEL
from tests.acceptance.test_render_command import (
    FARM,
    assert_refused,
    farm,
    listen_to_signals,
    wait_until,
)
from tests.material import noise_avatar


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_avatar(tmp_path_factory.mktemp("avatars") / "noise").directory


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds."""
    path = tmp_path_factory.mktemp("speech") / "four.wav"
    path.write_bytes(DEMO_SPEECH.read_bytes()[: 44 + 2 * 4 * 22_050])
    return path


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory, avatar: Path, speech: Path) -> Path:
    target = tmp_path_factory.mktemp("models") / "demo-int8"
    done = farm(
        "model", "quantize", DEMO_MODEL, "--avatar", avatar, "--speech", speech, "-o", target,
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["is_new"], report["layers"]) == (True, 29)
    assert report["crop_db"] > 35
    return target


def test_a_farm_renders_with_it_what_the_sequential_renderer_does(
    int8: Path, avatar: Path, speech: Path, tmp_path: Path
) -> None:
    common = ("render", speech, "--avatar", avatar, "--model", int8)
    by_farm = farm(*common, "-o", f"{tmp_path}/a/", "--batch-size", "8")
    in_sequence = farm(*common, "-o", f"{tmp_path}/b/", "--batch-size", "3", "--sequential")

    assert (by_farm.returncode, in_sequence.returncode) == (0, 0), by_farm.stderr
    frames, same = (
        [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "ab"
    )
    assert len(frames) == 100
    assert frames == same


def test_the_same_again_says_so(int8: Path, avatar: Path, speech: Path) -> None:
    quantize = ("model", "quantize", DEMO_MODEL, "--avatar", avatar, "--speech", speech)

    again = farm(*quantize, "-o", int8)

    assert (again.returncode, again.stderr) == (0, "")
    for word in ("nothing to do", "28 of 29 layers", "dB PSNR", "ms a frame", "--model"):
        assert word in again.stdout
    assert_refused(farm(*quantize, "-o", int8, "--min-psnr", "41"), "--force replaces it")


def test_what_is_quantised_is_probed_like_any_other(int8: Path) -> None:
    done = farm("model", "probe", int8, "--json")

    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    encoder, unet = report["files"]
    assert (encoder["role"], unet["role"]) == ("audio encoder", "U-Net")
    assert unet["numbers"]["int8"] > 400_000
    assert unet["serving"]["is_wrapped"]
    assert "audio_encoder.onnx hears, unet.onnx paints" in report["pair"]


def test_a_file_is_described() -> None:
    done = farm("model", "probe", TINY_MODEL / "unet.onnx")

    assert (done.returncode, done.stderr) == (0, "")
    for word in (
        "U-Net of synctalk-328-ave", "25 frames/s", "canvas 328", "hole 310x305 at 5,5",
        "nx6x320x320", "opset 17", "2,388 float32", "any: two give what two of one give",
        "become bytes", "CPUExecutionProvider", "ms for 8",
    ):  # fmt: skip
        assert word in done.stdout


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model\n" * 100)
    (tmp_path / "empty").mkdir()

    assert_refused(farm("model", "probe", tmp_path / "text.onnx"), "text.onnx", "cannot load")
    assert_refused(farm("model", "probe", tmp_path), "text.onnx")
    assert_refused(farm("model", "probe", tmp_path / "empty"), "no .onnx file")
    assert_refused(farm("model", "probe", tmp_path / "gone.onnx"), "no such file")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"model": "gone"}, "gone: no such directory"),
        ({"model": str(TINY_MODEL)}, "no convolution"),
        ({"--avatar": "nobody"}, "no avatar of that id"),
        ({"--speech": "gone.wav"}, "gone.wav"),
        ({"-o": "."}, "is in the way"),
    ],
)
def test_what_cannot_be_quantised_is_refused_in_one_line(
    tmp_path: Path, avatar: Path, speech: Path, changed: dict[str, str], word: str
) -> None:
    (tmp_path / "notes.txt").touch()
    options = {"--avatar": str(avatar), "--speech": str(speech), "-o": "out/m", **changed}
    model = options.pop("model", str(DEMO_MODEL))

    done = farm(
        "model", "quantize", model, *(word for pair in options.items() for word in pair),
        cwd=tmp_path,
    )  # fmt: skip

    assert_refused(done, word)
    assert not any((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    "arguments",
    [("DIR", "-o", "x"), ("DIR", "--avatar", "demo", "--speech", "a"), ("--min-psnr", "0"), ()],
)
def test_a_command_line_that_cannot_be_is_refused(arguments: tuple[str, ...]) -> None:
    assert farm("model", "quantize", *arguments).returncode == 2


def test_an_interrupted_one_leaves_nothing(tmp_path: Path, avatar: Path, speech: Path) -> None:
    process = subprocess.Popen(
        [
            FARM, "model", "quantize", DEMO_MODEL, "--avatar", avatar, "--speech", speech,
            "-o", tmp_path / "out", "--min-psnr", "85",
        ],
        stderr=subprocess.PIPE,
        preexec_fn=listen_to_signals,
    )  # fmt: skip
    wait_until(lambda: any(tmp_path.glob(".out.*.partial")))

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert errors.decode().count("\n") == 1
    assert list(tmp_path.iterdir()) == []
