from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from farm.paths import DEMO_MODEL, TINY_MODEL
from workers.errors import ModelError
from workers.model_file import contents, flow, parsed, self_contained

UNET = DEMO_MODEL / "unet.onnx"


def with_weights_beside(directory: Path) -> Path:
    directory.mkdir()
    model = onnx.load(UNET)
    external_data_helper.convert_model_to_external_data(model, location="w.bin")
    onnx.save(model, directory / "u.onnx")
    return directory / "u.onnx"


def test_contents_are_counted_by_type() -> None:
    inside = contents(UNET)

    assert (inside.opset, inside.producer, inside.n_nodes) == (18, "pytorch", 116)
    assert inside.n_numbers == {"float32": 776_387, "int64": 26}


def test_weights_beside_the_file_are_counted_too(tmp_path: Path) -> None:
    assert contents(with_weights_beside(tmp_path / "m")).n_numbers == contents(UNET).n_numbers


def test_a_file_that_is_whole_stays_byte_for_byte() -> None:
    assert self_contained(UNET) == UNET.read_bytes()


def test_weights_beside_the_file_are_put_into_it(tmp_path: Path) -> None:
    path = with_weights_beside(tmp_path / "m")

    ours, original = parsed(self_contained(path)), onnx.load(UNET)

    weights = {t.name: numpy_helper.to_array(t) for t in ours.graph.initializer}
    for tensor in original.graph.initializer:
        assert np.array_equal(weights[tensor.name], numpy_helper.to_array(tensor))


def test_a_model_without_its_weights_is_no_model(tmp_path: Path) -> None:
    path = with_weights_beside(tmp_path / "m")
    with pytest.raises(ModelError, match="files beside"):
        parsed(path.read_bytes())

    (tmp_path / "m" / "w.bin").unlink()

    with pytest.raises(ModelError, match=r"u\.onnx"):
        self_contained(path)


@pytest.mark.parametrize("content", [b"", b"no model at all", bytes(1000)])
def test_garbage_is_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)

    for read in (contents, self_contained):
        if content:  # nothing at all is a model of nothing, to protobuf
            with pytest.raises(ModelError, match=r"a\.onnx"):
                read(tmp_path / "a.onnx")


def flowing(*nodes: onnx.NodeProto) -> list[str]:
    """The results of the nodes that belong to layers; "a" and "b" are inputs, "c" is constant."""
    names = ("a", "b")
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4, 4, 4]) for n in names]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    constants = {
        "c": np.float32(2),
        "w": np.ones((4, 4, 1, 1), np.float32),
        "size": np.array([0, 4, 16], np.int64),
    }
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    found = flow(model, lambda node: node.op_type == "Conv", ("Add", "Relu", "Reshape"))
    return [node.output[0] for node in found]


def node(kind: str, *names: str) -> onnx.NodeProto:
    """The last name is the result's."""
    return helper.make_node(kind, names[:-1], names[-1:])


def test_what_is_computed_of_layers_alone_flows_on() -> None:
    conv, rectified = node("Conv", "a", "w", "x"), node("Relu", "x", "y")

    assert flowing(conv, rectified, node("Add", "x", "y", "z")) == ["x", "y", "z"]
    assert flowing(conv, node("Add", "x", "c", "z")) == ["x", "z"], "constants do not count"
    assert flowing(conv, node("Reshape", "x", "size", "z")) == ["x", "z"], "nor do sizes"


def test_what_joins_something_else_does_not() -> None:
    conv = node("Conv", "a", "w", "x")

    assert flowing(conv, node("Add", "x", "b", "y"), node("Relu", "y", "z")) == ["x"]
    assert flowing(conv, node("Sigmoid", "x", "y"), node("Relu", "y", "z")) == ["x"]
    assert flowing(node("Relu", "a", "y"), node("Conv", "y", "w", "z")) == ["z"]


def test_a_model_without_layers_has_none() -> None:
    model = onnx.load(TINY_MODEL / "unet.onnx")

    assert flow(model, lambda node: node.op_type == "Conv", ("Add", "Mul")) == []
