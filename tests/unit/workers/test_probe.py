import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.paths import DEMO_MODEL, TINY_MODEL
from tests.unit.workers.painter_models import painter
from workers.errors import ModelError
from workers.probe import Probe, pair_verdict, probe


def tried(path: Path) -> Probe:
    """And it was run."""
    found = probe(path)
    assert found.serving is not None
    assert all(call.first_ms > 0 < call.warm_ms for call in found.serving.calls)
    return found


def identity(directory: Path, shape: Sequence[int | str]) -> Path:
    """A model that fits no family."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:]
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), directory / "i.onnx")
    return directory / "i.onnx"


def changed(path: Path, target: Path, *, n_rows: int) -> Path:
    """An encoder that has its batch size inside as well: it reshapes to so many rows."""
    model = onnx.load(path)
    shape = numpy_helper.from_array(np.array([n_rows, 512], np.int64), "rows")
    model.graph.initializer.append(shape)
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    reshape.input[1] = "rows"
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = n_rows
    onnx.save(model, target)
    return target


def test_the_demo_unet_is_known_and_takes_any_batch() -> None:
    found = tried(DEMO_MODEL / "unet.onnx")

    assert found.role == "U-Net"
    assert [family.name for family in found.families] == ["synctalk-328-ave"]
    assert [str(spec) for spec in found.inputs] == [
        "input nx6x320x320 tensor(float)",
        "audio nx32x16x16 tensor(float)",
    ]
    assert found.serving is not None
    assert found.serving.is_wrapped
    assert (found.serving.promised_batch, found.serving.fixed_batch) == (None, None)
    assert [call.batch for call in found.serving.calls] == [1, 8]


def test_an_encoder_is_known_and_has_no_ends_to_wrap() -> None:
    found = tried(TINY_MODEL / "audio_encoder.onnx")

    assert found.role == "audio encoder"
    assert found.serving is not None
    assert found.serving.is_wrapped is None
    assert found.contents.n_numbers["float32"] == 2563


@pytest.mark.parametrize("frozen", [1, 3])
def test_a_frozen_batch_axis_that_can_be_freed_is_told(tmp_path: Path, frozen: int) -> None:
    found = tried(painter(tmp_path / "m", batch=frozen).unet)

    assert found.serving is not None
    assert (found.serving.promised_batch, found.serving.fixed_batch) == (frozen, None)
    assert found.serving.calls[0].batch == frozen


def test_a_batch_size_inside_is_found_by_trying(tmp_path: Path) -> None:
    path = changed(TINY_MODEL / "audio_encoder.onnx", tmp_path / "a.onnx", n_rows=2)

    found = tried(path)

    assert found.serving is not None
    assert (found.serving.promised_batch, found.serving.fixed_batch) == (2, 2)


def test_why_a_graph_cannot_be_wrapped_is_told(tmp_path: Path) -> None:
    found = tried(painter(tmp_path / "m", opset=10).unet)

    assert found.serving is not None
    assert found.serving.is_wrapped is False
    assert found.serving.served_plainly == "its opset is 10, older than 11"


def test_what_fits_no_family_is_described_and_not_run(tmp_path: Path) -> None:
    found = probe(identity(tmp_path, ["n", 6, 256, 256]))

    assert (found.role, found.families, found.serving) == (None, (), None)
    assert [str(spec) for spec in found.outputs] == ["y nx6x256x256 tensor(float)"]


def test_a_model_of_ours_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    path = changed(TINY_MODEL / "audio_encoder.onnx", tmp_path / "a.onnx", n_rows=2)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    del model.graph.value_info[:]
    onnx.save(model, path)

    with pytest.raises(ModelError, match=r"a\.onnx: (does not run|onnxruntime cannot load it)"):
        probe(path)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")

    for name, why in (("pipe.onnx", "is not a file"), ("gone.onnx", "no such file")):
        with pytest.raises(ModelError, match=f"{name}: {why}"):
            probe(tmp_path / name)


def test_hostile_bytes_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = bytearray((TINY_MODEL / "unet.onnx").read_bytes())
    path = tmp_path / "a.onnx"
    for content in (b"", b"GIF89a", bytes(5000), rng.bytes(5000), bytes(whole[:7000])):
        path.write_bytes(content)

        with pytest.raises(ModelError, match=r"a\.onnx"):
            probe(path)


def test_a_damaged_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a graph's inputs, which onnxruntime does not read, and where its own message holds it."""
    model = onnx.load(TINY_MODEL / "unet.onnx")
    path = tmp_path / "a.onnx"
    for kept in (None, b"audio"):
        content = model.SerializeToString()
        damaged = content.replace(b"\x05image", b"\x05\xffmage")
        path.write_bytes(
            damaged if kept is None else content.replace(b"\x05audio", b"\x05\xffudi", 1)
        )

        with pytest.raises(ModelError, match=r"a\.onnx"):
            probe(path)

    assert capsys.readouterr().out == "", "onnxruntime prints before it tries again"


def test_a_directory_is_told_to_be_a_pair_or_why_not(tmp_path: Path) -> None:
    assert pair_verdict(DEMO_MODEL) == (
        "a pair of synctalk-328-ave: audio_encoder.onnx hears, unet.onnx paints"
    )
    assert pair_verdict(tmp_path) == f"no pair: {tmp_path}: holds no .onnx file"
