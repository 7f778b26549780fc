"""Half precision on the CPU provider: the weights are rounded, and what flows between layers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.paths import DEMO_MODEL, TINY_MODEL
from tests.unit.workers.painter_models import painter
from workers.arrays import F32
from workers.batch_axis import Tensors
from workers.errors import ModelError
from workers.kernels.tensors import to_pixels, visual_tensor
from workers.model_file import contents
from workers.pair import ModelPair
from workers.precision import half_precision
from workers.session import Session
from workers.unet import load_unet

MOST_LEVELS = 2  #: seen: 1 on the demo model, 0 on the tiny one, which has no layers


def unet_inputs(pair: ModelPair, rng: np.random.Generator, n: int = 3) -> Tensors:
    crops = rng.integers(0, 256, (n, 320, 320, 3), dtype=np.uint8)
    audio = rng.random((n, *pair.family.audio_shape), np.float32)
    visual = visual_tensor(crops, pair.family.blackout)
    return {pair.binding.image.name: visual, pair.binding.audio.name: audio}


def both(path: Path, inputs: Tensors) -> tuple[F32, F32]:
    """What the file gives, and what it gives in half precision."""
    half = Session(path, content=half_precision(path.read_bytes()))
    return Session(path).run(inputs), half.run(inputs)


@pytest.mark.parametrize("directory", [TINY_MODEL, DEMO_MODEL])
def test_pixels_are_nearly_the_same(rng: np.random.Generator, directory: Path) -> None:
    pair = ModelPair.find(directory)

    full, half = both(pair.unet, unet_inputs(pair, rng))

    off = np.abs(to_pixels(full).astype(int) - to_pixels(half))
    assert off.max() <= MOST_LEVELS
    assert off.mean() < 0.1


@pytest.mark.parametrize("directory", [TINY_MODEL, DEMO_MODEL])
def test_features_are_nearly_the_same(rng: np.random.Generator, directory: Path) -> None:
    pair = ModelPair.find(directory)
    windows = 8 * rng.random((5, 1, 80, 16), np.float32) - 4

    full, half = both(pair.encoder, {pair.window.name: windows})

    assert np.abs(full - half).max() < 0.002 * np.abs(full).max()


def test_what_runs_past_the_layers_is_exact(rng: np.random.Generator) -> None:
    """The demo model repeats its crop outside the window that it paints."""
    pair = ModelPair.find(DEMO_MODEL)
    inputs = unet_inputs(pair, rng)

    full, half = both(pair.unet, inputs)

    assert np.array_equal(full[:, :, :100], half[:, :, :100])
    assert not np.array_equal(full, half)


def test_the_layers_weights_are_half_as_large() -> None:
    content = (DEMO_MODEL / "unet.onnx").read_bytes()

    half = half_precision(content)

    assert len(half) < 0.6 * len(content)


def test_it_is_served_like_any_other(tmp_path: Path, rng: np.random.Generator) -> None:
    source = ModelPair.find(DEMO_MODEL)
    for path in (source.unet, source.encoder):
        (tmp_path / path.name).write_bytes(half_precision(path.read_bytes()))

    pair = ModelPair.find(tmp_path)
    unet = load_unet(pair)

    assert (unet.served_plainly, unet.fixed_batch) == ("", None)
    assert contents(pair.unet).n_numbers["float16"] > 600_000
    crops = rng.integers(0, 256, (2, *pair.family.crop_shape), dtype=np.uint8)
    audio = rng.random((2, *pair.family.audio_shape), np.float32)
    painted = np.empty((2, 2, *pair.family.painted_shape), np.uint8)
    for one, out in zip((unet, load_unet(source)), painted, strict=True):
        one.paint_into(crops, audio, out)
    off = np.abs(painted[0].astype(int) - painted[1])[..., :3]
    assert 0 < off.max() <= MOST_LEVELS


def test_ends_stay_float32_where_a_layer_is_the_last_one(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pair = painter(tmp_path / "m")
    model = onnx.load(pair.unet)
    model.graph.node.pop()
    model.graph.output[0].name = "colours"
    onnx.save(model, pair.unet)

    full, half = both(pair.unet, unet_inputs(pair, rng))

    assert half.dtype == np.float32
    assert np.abs(full - half).max() < 0.01 * np.abs(full).max()


def test_a_model_without_layers_stays_as_it_is() -> None:
    content = (TINY_MODEL / "unet.onnx").read_bytes()

    assert half_precision(content) == content


def test_a_weight_beyond_half_precision_is_refused(tmp_path: Path) -> None:
    pair = painter(tmp_path / "m")
    model = onnx.load(pair.unet)
    huge = numpy_helper.to_array(model.graph.initializer[1]) * np.float32(1e6)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(huge, "w2"))

    with pytest.raises(ModelError, match=r"constant w2 holds .*: half precision ends at 65504"):
        half_precision(model.SerializeToString())


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    model = onnx.load(painter(tmp_path / "m").unet)
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["picture", "s"], ["q"]))

    with pytest.raises(ModelError, match="quantised"):
        half_precision(model.SerializeToString())


def test_a_graph_within_the_graph_is_refused(tmp_path: Path) -> None:
    model = onnx.load(painter(tmp_path / "m").unet)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Identity", ["w1"], ["y"])], "b", [], [value])
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch)
    )

    with pytest.raises(ModelError, match=r"within its graph \(If\)"):
        half_precision(model.SerializeToString())


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match="onnx cannot read it"):
        half_precision(b"no model at all")
