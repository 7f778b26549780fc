"""A small U-Net and a small avatar, so that each model is made in a second or two."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm import model_quantize
from farm.errors import AudioUnreadable, ModelNotWritten
from farm.model_quantize import REPORT, QuantizeReport, QuantizeRequest, quantize_model
from farm.paths import DEMO_SPEECH, TINY_MODEL
from tests.unit.workers.painter_models import painter
from workers.avatar import Bundle
from workers.errors import ModelError
from workers.model import Model
from workers.pair import ModelPair


@contextmanager
def no_bar(_what: str, _total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def quantize(request: QuantizeRequest) -> QuantizeReport:
    return quantize_model(request, no_bar)


@pytest.fixture(autouse=True)
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_quantize, "N_CALIBRATED", 6)
    monkeypatch.setattr(model_quantize, "N_MEASURED", 4)
    monkeypatch.setattr(model_quantize, "ROUNDS", 1)


@pytest.fixture
def request_(tmp_path: Path, edge_bundle: Bundle) -> QuantizeRequest:
    speech = tmp_path / "short.wav"
    speech.write_bytes(DEMO_SPEECH.read_bytes()[: 44 + 2 * 4 * 22_050])
    return QuantizeRequest(
        model=painter(tmp_path / "model").unet.parent,
        avatar=edge_bundle,
        speeches=(str(speech),),
        output=tmp_path / "out" / "int8",
        min_psnr_db=20,
    )


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_result_is_a_model_directory_like_any_other(request_: QuantizeRequest) -> None:
    report = quantize(request_)

    made = ModelPair.find(request_.output)
    assert made.encoder.read_bytes() == (request_.model / "encoder.onnx").read_bytes()
    assert made.unet.name == "u.onnx"
    mouths = Model.load(request_.output).paint(
        np.zeros((3, 328, 328, 3), np.uint8), np.zeros((3, 32, 16, 16), np.float32)
    )
    assert mouths.shape == (3, 328, 328, 4)
    assert report.is_new
    assert [path.name for path in request_.output.parent.iterdir()] == ["int8"]
    assert request_.output.stat().st_mode & 0o777 == 0o755


def test_figures_are_of_frames_that_it_was_not_calibrated_on(request_: QuantizeRequest) -> None:
    figures = quantize(request_).figures

    assert (figures.calibrated_frames, figures.measured_frames) == (6, 4)
    assert 30 < figures.worst_frame_db <= figures.crop_db < 70
    assert 30 < figures.hole_db < 70
    assert 0 < figures.worst_levels < 60
    assert (figures.layers, figures.layers_in_float) == (4, ("colours",))
    assert figures.float32_bytes == (request_.model / "u.onnx").stat().st_size
    assert figures.int8_bytes == (request_.output / "u.onnx").stat().st_size
    assert figures.speed_ratio == pytest.approx(figures.float32_ms / figures.int8_ms)


def test_the_report_lies_beside_the_models_and_is_json(request_: QuantizeRequest) -> None:
    told: dict[str, Any] = quantize(request_).to_json()

    kept = json.loads((request_.output / REPORT).read_text())
    assert kept["figures"]["layers_in_float"] == ["colours"]
    assert round(kept["figures"]["crop_db"], 2) == told["crop_db"]
    assert told["output"] == str(request_.output)
    json.dumps(told)


def test_the_same_again_does_nothing(request_: QuantizeRequest) -> None:
    first = quantize(request_)
    before = content(request_.output)

    again = quantize(request_)

    assert not again.is_new
    assert again.figures == first.figures
    assert content(request_.output) == before


def test_a_damaged_result_is_made_anew(request_: QuantizeRequest) -> None:
    quantize(request_)
    intact = (request_.output / "u.onnx").read_bytes()
    (request_.output / "u.onnx").write_bytes(intact[:-1])

    assert quantize(request_).is_new
    assert (request_.output / "u.onnx").read_bytes() == intact


def test_another_one_is_replaced_by_force_only(request_: QuantizeRequest) -> None:
    quantize(request_)
    before = content(request_.output)
    other = replace(request_, min_psnr_db=21)

    with pytest.raises(ModelNotWritten, match="--force replaces it"):
        quantize(other)
    assert content(request_.output) == before

    assert quantize(replace(other, force=True)).is_new


def test_a_report_that_cannot_be_read_is_replaced_by_force_only(request_: QuantizeRequest) -> None:
    request_.output.mkdir(parents=True)
    for text in ("", "[]", '{"version": 1}', "[" * 100_000):
        (request_.output / REPORT).write_text(text)

        with pytest.raises(ModelNotWritten, match="--force"):
            quantize(request_)

    assert quantize(replace(request_, force=True)).is_new


def test_what_was_not_made_here_is_never_replaced(request_: QuantizeRequest) -> None:
    request_.output.mkdir(parents=True)
    (request_.output / "thesis.txt").write_text("years of work")

    with pytest.raises(ModelNotWritten, match="move it away"):
        quantize(replace(request_, force=True))

    assert content(request_.output) == {"thesis.txt": b"years of work"}


def test_a_file_in_the_way_stays(request_: QuantizeRequest) -> None:
    request_.output.parent.mkdir()
    request_.output.write_text("a file")

    with pytest.raises(ModelNotWritten, match="is in the way"):
        quantize(replace(request_, force=True))


@pytest.mark.parametrize("output", [".", "sub/.."])
def test_the_model_itself_is_never_replaced(request_: QuantizeRequest, output: str) -> None:
    before = content(request_.model)
    (request_.model / "sub").mkdir()

    with pytest.raises(ModelNotWritten, match="is to be quantised"):
        quantize(replace(request_, output=request_.model / output, force=True))

    (request_.model / "sub").rmdir()
    assert content(request_.model) == before


def test_what_cannot_be_quantised_leaves_nothing(request_: QuantizeRequest) -> None:
    for wrong in (
        replace(request_, model=TINY_MODEL),
        replace(request_, min_psnr_db=98),
        replace(request_, model=request_.output.parent / "gone"),
    ):
        with pytest.raises(ModelError):
            quantize(wrong)
    with pytest.raises(AudioUnreadable):
        quantize(replace(request_, speeches=(*request_.speeches, "gone.wav")))

    assert not request_.output.parent.exists() or content(request_.output.parent) == {}


def test_a_place_that_cannot_be_written_is_the_callers_fault(request_: QuantizeRequest) -> None:
    request_.output.parent.write_text("a file where a directory should be")

    with pytest.raises(ModelNotWritten, match="cannot be written"):
        quantize(request_)


def test_what_a_killed_one_left_is_tidied_up(request_: QuantizeRequest) -> None:
    leftover = request_.output.parent / ".int8.abcdef.partial"
    leftover.mkdir(parents=True)

    quantize(request_)

    assert os.listdir(request_.output.parent) == ["int8"]


def test_each_stage_is_told(request_: QuantizeRequest) -> None:
    stages: list[str] = []

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Callable[[], None]]:
        steps: list[int] = []
        yield lambda: steps.append(1)
        assert len(steps) == total, what
        stages.append(what)

    quantize_model(request_, bar)

    assert stages == ["listening", "calibrating", "measuring"]
