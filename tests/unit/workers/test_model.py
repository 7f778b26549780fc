from pathlib import Path

import numpy as np
import onnx
import pytest

from farm.paths import TINY_MODEL
from tests.material import FAMILY
from workers.errors import ModelError, NotFinite
from workers.model import Model
from workers.pair import bind_unet, is_encoder_of
from workers.session import TensorSpec

FLOAT = "tensor(float)"


def spec(name: str, *shape: int | None, dtype: str = FLOAT) -> TensorSpec:
    return TensorSpec(name, dtype, shape)


IMAGE = spec("audio", None, 6, 320, 320)  # names that lie: only shapes count
AUDIO = spec("image", None, 32, 16, 16)
FACE = spec("x", None, 3, 320, 320)


@pytest.mark.parametrize("inputs", [[IMAGE, AUDIO], [AUDIO, IMAGE]])
def test_inputs_are_bound_by_shape_in_any_order_and_by_any_name(
    inputs: list[TensorSpec],
) -> None:
    binding = bind_unet(inputs, [FACE])

    assert binding is not None
    assert (binding.family, binding.image, binding.audio) == (FAMILY, IMAGE, AUDIO)


@pytest.mark.parametrize(
    "tensors",
    [
        ([spec("i", None, 6, 256, 256), AUDIO], [FACE]),
        ([IMAGE, spec("a", None, 32, 32, 32)], [FACE]),
        ([IMAGE, AUDIO], [spec("o", None, 6, 320, 320)]),
        ([IMAGE, spec("a", None, 32, 16, 16, dtype="tensor(float16)")], [FACE]),
        ([IMAGE], [FACE]),
        ([IMAGE, AUDIO, AUDIO], [FACE]),
    ],
)
def test_other_shapes_bind_to_nothing(
    tensors: tuple[list[TensorSpec], list[TensorSpec]],
) -> None:
    assert bind_unet(*tensors) is None


def test_an_encoder_is_known_by_its_shapes() -> None:
    window, features = spec("w", None, 1, 80, 16), spec("f", None, 512)

    assert is_encoder_of(FAMILY, [window], [features])
    assert not is_encoder_of(FAMILY, [features], [window])


def changed_copy(target: Path, **batch: int) -> Path:
    """The tiny pair with the batch axes of some files frozen, and other file names."""
    target.mkdir()
    for source, name in (("audio_encoder", "a"), ("unet", "b")):
        model = onnx.load(TINY_MODEL / f"{source}.onnx")
        if source in batch:
            for value in (*model.graph.input, *model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_value = batch[source]
        onnx.save(model, target / f"{name}.onnx")
    return target


@pytest.mark.parametrize("frozen", [1, 4])
def test_a_frozen_batch_axis_gives_the_same_mouths(
    tmp_path: Path, model: Model, rng: np.random.Generator, frozen: int
) -> None:
    crops = rng.integers(8, 256, (6, 328, 328, 3), dtype=np.uint8)
    audio = rng.random((6, 32, 16, 16), np.float32)

    stubborn = Model.load(changed_copy(tmp_path / "m", unet=frozen, audio_encoder=frozen))

    assert np.array_equal(stubborn.paint(crops, audio), model.paint(crops, audio))
    windows = rng.random((6, 1, 80, 16), np.float32)
    assert np.array_equal(stubborn.encode(windows), model.encode(windows))


@pytest.mark.parametrize("n", [1, 3, 7, 25, 32])
def test_mouths_do_not_depend_on_the_batch(model: Model, rng: np.random.Generator, n: int) -> None:
    crops = rng.integers(8, 256, (32, 328, 328, 3), dtype=np.uint8)
    audio = rng.random((32, 32, 16, 16), np.float32)
    whole = model.paint(crops, audio)

    parts = [model.paint(crops[k : k + n], audio[k : k + n]) for k in range(0, 32, n)]

    assert np.array_equal(np.concatenate(parts), whole)


def test_nan_in_the_features_is_an_error(model: Model) -> None:
    crops = np.full((1, 328, 328, 3), 99, np.uint8)

    with pytest.raises(NotFinite):
        model.paint(crops, np.full((1, 32, 16, 16), np.nan, np.float32))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "holds no .onnx file"),
        ({"x.onnx": b"not a model"}, "x.onnx: onnxruntime cannot load it"),
        ({"u.onnx": b"unet"}, "1 U-Nets and 0 audio encoders"),
        ({"u.onnx": b"unet", "v.onnx": b"unet"}, "2 U-Nets and 0 audio encoders"),
    ],
)
def test_a_directory_without_a_pair_says_what_is_wrong(
    tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    unet = (TINY_MODEL / "unet.onnx").read_bytes()
    for name, content in files.items():
        (tmp_path / name).write_bytes(unet if content == b"unet" else content)

    with pytest.raises(ModelError, match=reason):
        Model.load(tmp_path)


def test_a_model_of_other_shapes_is_refused_with_its_tensors(tmp_path: Path) -> None:
    model = onnx.load(TINY_MODEL / "audio_encoder.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Flatten", ["input"], ["output"]))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1024
    onnx.save(model, tmp_path / "other.onnx")

    with pytest.raises(ModelError, match=r"other.onnx: fits no known family.*nx1x64x16"):
        Model.load(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no such directory"):
        Model.load(tmp_path / "nowhere")


def test_a_batch_axis_that_is_frozen_inside_is_found_and_served(
    tmp_path: Path, model: Model, rng: np.random.Generator
) -> None:
    unet = onnx.load(changed_copy(tmp_path / "m") / "b.onnx")
    shape = onnx.numpy_helper.from_array(np.array([1, 3, 320, 320]), "one")
    unet.graph.initializer.append(shape)
    unet.graph.node[-1].output[0] = "whole"
    unet.graph.node.append(onnx.helper.make_node("Reshape", ["whole", "one"], ["output"]))
    onnx.save(unet, tmp_path / "m" / "b.onnx")
    crops = rng.integers(8, 256, (3, 328, 328, 3), dtype=np.uint8)
    audio = rng.random((3, 32, 16, 16), np.float32)

    stubborn = Model.load(tmp_path / "m")

    assert np.array_equal(stubborn.paint(crops, audio), model.paint(crops, audio))


def test_inputs_of_different_batch_sizes_are_refused(tmp_path: Path) -> None:
    directory = changed_copy(tmp_path / "m")
    unet = onnx.load(directory / "b.onnx")
    for value, size in zip(unet.graph.input, (1, 2), strict=True):
        value.type.tensor_type.shape.dim[0].dim_value = size
    onnx.save(unet, directory / "b.onnx")

    with pytest.raises(ModelError, match=r"b.onnx: its inputs have different batch sizes"):
        Model.load(directory)
