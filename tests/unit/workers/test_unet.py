"""The graph with bytes at both ends against NumPy, pixel for pixel; and models that are odd."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from farm.paths import DEMO_MODEL, TINY_MODEL
from tests.material import FAMILY
from workers.arrays import F32, U8
from workers.devices import ON_CPU
from workers.errors import ModelError
from workers.pair import ModelPair
from workers.session import Session
from workers.unet import PlainEnds, UNet, load_unet

SHAPES = {"picture": (6, 320, 320), "speech": (32, 16, 16)}


def plain(pair: ModelPair) -> UNet:
    session = Session(pair.unet)
    return UNet(session, PlainEnds(session, pair.binding), pair, served_plainly="asked for")


def painted(unet: UNet, crops: U8, audio: F32) -> U8:
    """RGB; all frames are finite."""
    out = np.empty((len(crops), *FAMILY.painted_shape), np.uint8)
    assert unet.paint_into(crops, audio, out).all()
    return out[..., :3]


def batch(rng: np.random.Generator, n: int) -> tuple[U8, F32]:
    crops = rng.integers(0, 256, (n, *FAMILY.crop_shape), dtype=np.uint8)
    return crops, rng.random((n, *FAMILY.audio_shape), np.float32)


def wild_model(directory: Path, *, batch: int | str = "n", opset: int = 13) -> ModelPair:
    """A pair whose U-Net gives the crop three times as bright, less what it hears: -0.1 .. 3."""
    directory.mkdir()
    (directory / "encoder.onnx").write_bytes((TINY_MODEL / "audio_encoder.onnx").read_bytes())
    constants = {"starts": [0], "ends": [3], "axes": [1], "thrice": np.float32(3)}
    nodes = [
        helper.make_node("Slice", ["picture", "starts", "ends", "axes"], ["bgr"]),
        helper.make_node("Mul", ["bgr", "thrice"], ["bright"]),
        helper.make_node("GlobalAveragePool", ["speech"], ["means"]),
        helper.make_node("Slice", ["means", "starts", "ends", "axes"], ["three"]),
        helper.make_node("Sub", ["bright", "three"], ["mouth"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wild",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])
            for name, shape in SHAPES.items()
        ],
        [helper.make_tensor_value_info("mouth", TensorProto.FLOAT, [batch, 3, 320, 320])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), directory / "u.onnx")
    return ModelPair.find(directory)


@pytest.mark.parametrize("directory", [TINY_MODEL, DEMO_MODEL])
def test_the_wrapped_model_paints_what_the_plain_one_does(
    rng: np.random.Generator, directory: Path
) -> None:
    pair = ModelPair.find(directory)
    unet, inputs = load_unet(pair), batch(rng, 5)

    assert unet.served_plainly == ""
    assert np.array_equal(painted(unet, *inputs), painted(plain(pair), *inputs))


def test_what_is_out_of_range_is_cut_off(tmp_path: Path, rng: np.random.Generator) -> None:
    pair = wild_model(tmp_path / "m")
    crops, audio = batch(rng, 3)

    ours = painted(load_unet(pair), crops, audio)

    assert np.array_equal(ours, painted(plain(pair), crops, audio))
    heard = audio.mean(axis=(2, 3))[:, None, None, 2::-1]
    bright = 3 * crops[:, 4:324, 4:324].astype(np.float64) / 255 - heard
    expected = np.floor(np.clip(bright, 0, 1) * 255)
    assert np.abs(ours[:, 4:324, 4:324] - expected).max() <= 1
    assert {0, 255} <= set(np.unique(ours[:, 4:324, 4:324]))


@pytest.mark.parametrize("directory", [TINY_MODEL, DEMO_MODEL])
def test_the_rim_is_the_crops_own(rng: np.random.Generator, directory: Path) -> None:
    crops, audio = batch(rng, 2)

    ours = painted(load_unet(ModelPair.find(directory)), crops, audio)

    rim = np.ones((328, 328), np.bool_)
    rim[4:324, 4:324] = False
    assert np.array_equal(ours[:, rim], crops[:, rim])
    assert not np.array_equal(ours, crops)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_only_the_frame_that_is_not_finite_is_said_to_be(
    tmp_path: Path, rng: np.random.Generator, value: float, is_wrapped: bool
) -> None:
    pair = wild_model(tmp_path / "m")
    unet = load_unet(pair) if is_wrapped else plain(pair)
    crops, audio = batch(rng, 4)
    good = painted(unet, crops, audio)
    audio[2, 1, 7, 7] = value
    out = np.empty((4, *FAMILY.painted_shape), np.uint8)

    finite = unet.paint_into(crops, audio, out)

    assert finite.tolist() == [True, True, False, True]
    assert np.array_equal(out[finite][..., :3], good[finite])


@pytest.mark.parametrize("frozen", [1, 3])
def test_a_frozen_batch_axis_is_freed(
    tmp_path: Path, rng: np.random.Generator, frozen: int
) -> None:
    """The names are of sizes that its session would refuse."""
    unet = load_unet(wild_model(tmp_path / "m", batch=frozen))
    inputs = batch(rng, 5)

    assert unet.fixed_batch is None
    assert np.array_equal(
        painted(unet, *inputs), painted(plain(wild_model(tmp_path / "n")), *inputs)
    )


def test_a_model_that_is_too_old_is_served_plainly(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pair = wild_model(tmp_path / "m", opset=10)
    unet, inputs = load_unet(pair), batch(rng, 2)

    assert unet.served_plainly == "its opset is 10, older than 11"
    assert np.array_equal(
        painted(unet, *inputs), painted(load_unet(wild_model(tmp_path / "n")), *inputs)
    )


def test_inputs_named_like_our_own_are_no_matter(tmp_path: Path, rng: np.random.Generator) -> None:
    pair = wild_model(tmp_path / "m")
    model = onnx.load(pair.unet)
    for value in (model.graph.input[1], *(node for node in model.graph.node)):
        for names in (value.input, value.output) if hasattr(value, "input") else ():
            names[:] = ["crops" if name == "speech" else name for name in names]
    model.graph.input[1].name = "crops"
    onnx.save(model, pair.unet)

    unet = load_unet(ModelPair.find(pair.unet.parent))

    assert unet.served_plainly == ""
    painted(unet, *batch(rng, 1))


def test_weights_in_a_file_beside_it_come_along(tmp_path: Path, rng: np.random.Generator) -> None:
    pair = ModelPair.find(DEMO_MODEL)
    directory = tmp_path / "m"
    directory.mkdir()
    (directory / "encoder.onnx").write_bytes(pair.encoder.read_bytes())
    model = onnx.load(pair.unet)
    external_data_helper.convert_model_to_external_data(model, location="w.bin")
    onnx.save(model, directory / "u.onnx")
    assert (directory / "w.bin").stat().st_size > 100_000
    cache, inputs = tmp_path / "cache", batch(rng, 2)
    beside = ModelPair.find(directory)

    unet = load_unet(beside, cache=cache)

    assert unet.served_plainly == ""
    assert np.array_equal(painted(unet, *inputs), painted(load_unet(pair), *inputs))
    weights = bytearray((directory / "w.bin").read_bytes())
    weights[:4000] = bytes(4000)
    (directory / "w.bin").write_bytes(weights)
    load_unet(beside, cache=cache)
    assert len(list(cache.iterdir())) == 4, "other weights are another model"


def test_a_graph_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    pair, cache, inputs = ModelPair.find(TINY_MODEL), tmp_path / "a" / "b", batch(rng, 2)
    first = painted(load_unet(pair, cache=cache), *inputs)
    assert len(list(cache.iterdir())) == 2, "the graph, and the batches it takes"

    monkeypatch.setattr("workers.unet._wrapped", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr("workers.unet.fixed_batch", lambda *_: pytest.fail("tried again"))
    again = painted(load_unet(pair, cache=cache), *inputs)

    assert np.array_equal(first, again)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert load_unet(ModelPair.find(TINY_MODEL), cache=tmp_path / "file").served_plainly == ""


def test_a_model_that_answers_for_the_first_frame_alone_gets_one_at_a_time(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pair = wild_model(tmp_path / "m")
    model = onnx.load(pair.unet)
    zero, one = (numpy_helper.from_array(np.array([k]), f"k{k}") for k in (0, 1))
    model.graph.initializer.extend([zero, one])
    model.graph.node.append(helper.make_node("Slice", ["mouth", "k0", "k1", "k0"], ["first"]))
    model.graph.output[0].name = "first"
    onnx.save(model, pair.unet)
    inputs = batch(rng, 3)
    expected = painted(load_unet(wild_model(tmp_path / "n")), *inputs)

    for unet in (load_unet(pair), plain(pair)):
        assert unet.fixed_batch == 1
        assert np.array_equal(painted(unet, *inputs), expected)


def test_a_model_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    pair = wild_model(tmp_path / "m")
    model = onnx.load(pair.unet)
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 7]), "sizes"))
    model.graph.node.append(helper.make_node("Reshape", ["bright", "sizes"], ["x"]))
    model.graph.node.append(helper.make_node("Add", ["x", "mouth"], ["y"]))
    model.graph.output[0].name = "y"
    onnx.save(model, pair.unet)

    with pytest.raises(ModelError, match=r"u\.onnx"):
        load_unet(ModelPair.find(pair.unet.parent))


HALF = replace(ON_CPU, precision="fp16")


def test_half_precision_is_asked_for_where_a_model_is_loaded(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pair, inputs, cache = ModelPair.find(DEMO_MODEL), batch(rng, 2), tmp_path / "cache"
    single = painted(load_unet(pair, ON_CPU, cache), *inputs).astype(int)

    half = painted(load_unet(pair, HALF, cache), *inputs)

    assert 0 < np.abs(half - single).max() <= 2, "of 255; the graph is not the same one"


def test_a_model_that_is_no_good_in_half_precision_is_not_served_in_single(tmp_path: Path) -> None:
    pair = wild_model(tmp_path / "m")
    model = onnx.load(pair.unet)
    model.graph.node.append(helper.make_node("QuantizeLinear", ["bright", "thrice", "z"], ["q"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), "z"))
    onnx.save(model, pair.unet)

    with pytest.raises(ModelError, match=r"u\.onnx: not in fp16: it is quantised"):
        load_unet(ModelPair.find(pair.unet.parent), HALF)
