from pathlib import Path

import make_full_model
import numpy as np
import onnx
import pytest
from onnx import shape_inference

from workers.devices import ONE_THREAD
from workers.model import Model


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full")
    make_full_model.write(path)
    return path


@pytest.mark.parametrize(
    ("name", "parameters", "gflop"), [("unet", 12.19e6, 9.77), ("audio_encoder", 2.81e6, 0.186)]
)
def test_it_is_as_heavy_as_the_published_model(
    directory: Path, name: str, parameters: float, gflop: float
) -> None:
    model = onnx.load(directory / f"{name}.onnx")
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in shape_inference.infer_shapes(model).graph.value_info
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    flop = sum(
        2 * np.prod(shapes[node.output[0]]) * np.prod(weights[node.input[1]][1:])
        for node in model.graph.node
        if node.op_type == "Conv"
    )

    # Folded batch norms leave out a third of a percent.
    assert sum(np.prod(dims) for dims in weights.values()) == pytest.approx(parameters, rel=0.005)
    assert flop / 1e9 == pytest.approx(gflop, rel=0.005)


def test_the_farm_takes_it_for_the_real_one(directory: Path) -> None:
    model = Model.load(directory, ONE_THREAD)
    crops = np.full((2, 328, 328, 3), 128, np.uint8)

    painted = model.paint(crops, np.ones((2, 32, 16, 16), np.float32))

    assert model.family.name == "synctalk-328-ave"
    assert painted.shape == (2, 328, 328, 4)
