"""The demo model in int8, on the demo avatar and the bundled speech; and models that are odd."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.paths import DEMO_MODEL, TINY_MODEL
from tests.material import FAMILY
from tests.unit.workers.painter_models import painter
from workers.arrays import F32, U8
from workers.avatar import Bundle
from workers.comparison import UNetInputs, fidelity, painted
from workers.devices import ON_CPU
from workers.errors import ModelError
from workers.frames import crops_of
from workers.int8 import Int8UNet, calls, fewest_in_float, int8_unet
from workers.model import Model
from workers.pair import ModelPair
from workers.sequential import batches
from workers.session import Session
from workers.stages import StageTimes
from workers.unet import PlainEnds, UNet, load_unet

LEAST_DB = 45.0  #: seen: 60


@contextmanager
def no_bar(_what: str, _total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def quantized(pair: ModelPair, inputs: UNetInputs, least_db: float = 20.0) -> Int8UNet:
    return int8_unet(pair, inputs, least_db=least_db, bar=no_bar)


def written(made: Int8UNet, pair: ModelPair, directory: Path) -> ModelPair:
    path = directory / "int8.onnx"
    path.write_bytes(made.content)
    return replace(pair, unet=path)


def noise(n: int) -> UNetInputs:
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, (n, *FAMILY.crop_shape), dtype=np.uint8)
    return UNetInputs(crops, rng.random((n, *FAMILY.audio_shape), np.float32))


@pytest.fixture(scope="module")
def demo_pair() -> ModelPair:
    return ModelPair.find(DEMO_MODEL)


@pytest.fixture(scope="module")
def frames(demo_bundle: Bundle, speech: F32) -> UNetInputs:
    """The first five seconds."""
    every = batches([speech], Model.load(DEMO_MODEL), batch_size=125, times=StageTimes())
    (audio,) = (batch.audio for batch in every)
    return UNetInputs(crops_of(demo_bundle, range(len(audio))), audio)


@pytest.fixture(scope="module")
def calibrated(frames: UNetInputs) -> UNetInputs:
    return UNetInputs(frames.crops[:70:5], frames.audio[:70:5])


@pytest.fixture(scope="module")
def measured(frames: UNetInputs) -> UNetInputs:
    return UNetInputs(frames.crops[90:115], frames.audio[90:115])


@pytest.fixture(scope="module")
def demo_int8(demo_pair: ModelPair, calibrated: UNetInputs) -> Int8UNet:
    return quantized(demo_pair, calibrated)


@pytest.fixture
def int8_pair(demo_int8: Int8UNet, demo_pair: ModelPair, tmp_path: Path) -> ModelPair:
    return written(demo_int8, demo_pair, tmp_path)


def test_its_pixels_are_close_to_those_of_float32(
    int8_pair: ModelPair, demo_pair: ModelPair, measured: UNetInputs
) -> None:
    ours, reference = (painted(load_unet(pair), measured) for pair in (int8_pair, demo_pair))

    alike = fidelity(ours, reference, FAMILY)

    assert alike.crop_db > LEAST_DB
    assert alike.hole_db > LEAST_DB
    assert not np.array_equal(ours, reference)


def test_what_the_model_repeats_of_its_crop_stays_exact(
    int8_pair: ModelPair, measured: UNetInputs
) -> None:
    """The demo model adds what it paints to the crop; only the window is painted."""
    mouths = painted(load_unet(int8_pair), measured)

    hole, inner = FAMILY.blackout, measured.crops[:, 4:324, 4:324]
    assert np.array_equal(mouths[:, : hole.y0], inner[:, : hole.y0])


def test_all_layers_but_the_last_are_in_int8(demo_int8: Int8UNet) -> None:
    model = onnx.load_model_from_string(demo_int8.content)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    made_by = {node.output[0]: node.op_type for node in model.graph.node}

    of_int8 = [made_by.get(node.input[1]) == "DequantizeLinear" for node in convolutions]

    assert of_int8 == [True] * 28 + [False]
    assert (demo_int8.n_layers, demo_int8.in_float) == (29, ("conv2d_25",))
    assert len(demo_int8.content) < 0.45 * (DEMO_MODEL / "unet.onnx").stat().st_size


def test_no_weight_uses_the_eighth_bit(demo_int8: Int8UNet) -> None:
    """Or processors without VNNI cut off sums of two products."""
    model = onnx.load_model_from_string(demo_int8.content)
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]

    assert len(weights) == 28
    assert 60 < max(np.abs(weight.astype(int)).max() for weight in weights) <= 64


def test_a_frame_has_the_same_bits_in_any_batch_on_any_number_of_threads(
    int8_pair: ModelPair, measured: UNetInputs
) -> None:
    """The farm's frames are held to the sequential renderer's, byte for byte."""
    painted_by: list[U8] = []
    for threads in (1, 2):
        unet = load_unet(int8_pair, replace(ON_CPU, threads=threads))
        for size in (1, 3, 8, 25):
            mouths = np.empty((len(measured), *FAMILY.painted_shape), np.uint8)
            for begin in range(0, len(measured), size):
                part = slice(begin, begin + size)
                unet.paint_into(measured.crops[part], measured.audio[part], mouths[part])
            painted_by.append(mouths[..., :3])

    assert all(np.array_equal(mouths, painted_by[0]) for mouths in painted_by)


def test_wrapped_and_plain_it_paints_the_same(int8_pair: ModelPair, measured: UNetInputs) -> None:
    session = Session(int8_pair.unet)
    plain = UNet(session, PlainEnds(session, int8_pair.binding), int8_pair, "asked for")

    unet = load_unet(int8_pair)

    assert unet.served_plainly == ""
    assert np.array_equal(painted(unet, measured), painted(plain, measured))


def test_the_same_frames_give_the_same_file(
    demo_int8: Int8UNet, demo_pair: ModelPair, calibrated: UNetInputs
) -> None:
    assert quantized(demo_pair, calibrated).content == demo_int8.content


def test_layers_stay_in_float_until_the_pixels_are_good_enough(tmp_path: Path) -> None:
    pair = painter(tmp_path / "m")
    most = quantized(pair, noise(4))

    better = quantized(pair, noise(4), most.judged_db + 1)

    assert better.judged_db >= most.judged_db + 1
    assert set(better.in_float) > set(most.in_float) == {"colours"}
    assert better.n_layers == 4


def test_what_no_layer_reaches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"98 dB cannot be reached: one layer alone .* gives \d"):
        quantized(painter(tmp_path / "m"), noise(2), least_db=98)


@pytest.mark.parametrize(
    "age", [{"opset": 11}, {"has_batch_norm": True}, {"opset": 11, "has_batch_norm": True}]
)
def test_models_of_all_ages_are_quantised(
    tmp_path: Path, age: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    pair = painter(tmp_path / "m", **age)

    made = quantized(pair, noise(4))

    assert (made.n_layers, made.in_float) == (4, ("colours",))
    assert capfd.readouterr() == ("", ""), "onnxruntime talks"
    mouths = painted(load_unet(written(made, pair, tmp_path)), noise(3))
    assert fidelity(mouths, painted(load_unet(pair), noise(3)), FAMILY).crop_db > 35


@pytest.mark.parametrize("frozen", [1, 3])
def test_a_frozen_batch_axis_is_no_matter(tmp_path: Path, frozen: int) -> None:
    pair = painter(tmp_path / "m", batch=frozen)

    made = quantized(pair, noise(7))

    unet = load_unet(written(made, pair, tmp_path))
    assert (unet.served_plainly, unet.fixed_batch) == ("", None)
    free = painter(tmp_path / "n")
    other = load_unet(written(quantized(free, noise(7)), free, tmp_path))
    assert fidelity(painted(unet, noise(5)), painted(other, noise(5)), FAMILY).crop_db > 45


def test_calls_are_of_the_size_that_the_model_promises(tmp_path: Path) -> None:
    pair, some = painter(tmp_path / "m", batch=3), noise(7)

    first, second = calls(pair, some)

    assert [tensor.shape for tensor in first.values()] == [(3, 6, 320, 320), (3, 32, 16, 16)]
    assert np.array_equal(second["speech"], some.audio[3:6])


def test_pictures_are_exact_in_int8(tmp_path: Path) -> None:
    """A scale of 1 / 255, though no calibration frame was white."""
    some = noise(2)
    dim = UNetInputs(some.crops // 2, some.audio)

    made = quantized(painter(tmp_path / "m"), dim)

    model = onnx.load_model_from_string(made.content)
    (quantize,) = (node for node in model.graph.node if node.input[0] == "picture")
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert float(constants[quantize.input[1]]) == pytest.approx(1 / 255, rel=1e-6)


def test_what_has_no_convolution_is_refused() -> None:
    with pytest.raises(ModelError, match=r"unet\.onnx: has no convolution with float32 weights"):
        quantized(ModelPair.find(TINY_MODEL), noise(1))


def test_what_is_quantised_already_is_refused(int8_pair: ModelPair) -> None:
    with pytest.raises(ModelError, match=r"int8\.onnx: is quantised already"):
        quantized(int8_pair, noise(1))


@given(
    costs=st.lists(st.floats(0.1, 10), min_size=2, max_size=30),
    least=st.floats(0, 100),
)
def test_no_fewer_layers_in_float_would_do(costs: list[float], least: float) -> None:
    """Where each layer in int8 costs some decibels of 100, whatever the others are."""
    layers = {f"layer {k}": cost for k, cost in enumerate(costs)}
    ranked = sorted(layers, key=lambda layer: -layers[layer])

    def tried(in_float: Collection[str]) -> float:
        return 100 - sum(cost for layer, cost in layers.items() if layer not in in_float)

    if tried(["always"]) >= least:
        return
    if tried(ranked[:-1]) < least:
        with pytest.raises(ModelError):
            fewest_in_float(ranked, ["always"], tried, least)
        return

    in_float, reached = fewest_in_float(ranked, ["always"], tried, least)

    assert reached == tried(in_float) >= least
    assert in_float[-1] == "always"
    assert list(in_float[:-1]) == ranked[: len(in_float) - 1]
    assert tried(in_float[: len(in_float) - 2]) < least
