"""Small U-Nets with convolutions, of random weights, as exporters of several ages write them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from farm.paths import TINY_MODEL
from workers.pair import ModelPair

SHAPES = {"picture": (6, 320, 320), "speech": (32, 16, 16)}
WIDTH = 8


def painter(
    directory: Path, *, batch: int | str = "n", opset: int = 17, has_batch_norm: bool = False
) -> ModelPair:
    """A pair whose U-Net has four convolutions, the third for speech and the last to paint."""
    directory.mkdir(parents=True)
    (directory / "encoder.onnx").write_bytes((TINY_MODEL / "audio_encoder.onnx").read_bytes())
    rng = np.random.default_rng(5)
    constants = {
        "w1": rng.normal(0, 0.4, (WIDTH, 6, 3, 3)),
        "w2": rng.normal(0, 0.2, (WIDTH, WIDTH, 3, 3)),
        "w3": rng.normal(0, 0.5, (WIDTH, 32, 1, 1)),
        "w4": rng.normal(0, 0.2, (3, 2 * WIDTH, 1, 1)),
        "scale": np.linspace(0.5, 2, WIDTH),
        "shift": np.linspace(-0.5, 0.5, WIDTH),
        "mean": np.zeros(WIDTH),
        "variance": np.ones(WIDTH),
    }
    normed = "normed" if has_batch_norm else "first"
    nodes = [
        helper.make_node("Conv", ["picture", "w1"], ["first"], pads=[1] * 4),
        helper.make_node("Relu", [normed], ["rectified"]),
        helper.make_node("Conv", ["rectified", "w2"], ["second"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["speech"], ["means"]),
        helper.make_node("Conv", ["means", "w3"], ["heard"]),
        helper.make_node("Add", ["second", "heard"], ["moved"]),
        helper.make_node("Concat", ["moved", "rectified"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w4"], ["colours"]),
        helper.make_node("Sigmoid", ["colours"], ["mouth"]),
    ]
    if has_batch_norm:
        norm = ["first", "scale", "shift", "mean", "variance"]
        nodes.insert(1, helper.make_node("BatchNormalization", norm, ["normed"]))
    graph = helper.make_graph(
        nodes,
        "painter",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])
            for name, shape in SHAPES.items()
        ],
        [helper.make_tensor_value_info("mouth", TensorProto.FLOAT, [batch, 3, 320, 320])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, directory / "u.onnx")
    return ModelPair.find(directory)
