"""A U-Net's convolutions to int8, for CPUs.  The one file that knows onnxruntime.quantization.

In the file a layer stands between DequantizeLinear and QuantizeLinear (QDQ), and onnxruntime makes
integer arithmetic of it.  The ends stay float32, so that the farm takes it for any other model.

    activations   uint8, one scale a tensor, from the least and largest value that was seen
    weights       int8, one scale a channel, of which 7 bits are used

The eighth bit is not: without VNNI, processors add pairs of products in 16 bits, where 2 x 255 x
127 does not fit and is cut off without a word; 2 x 255 x 64 fits everywhere.  On the demo model a
Haswell (emulated by qemu) gives 47 dB with all bits and 62 with 7, where one with VNNI gives 64 and
62: so a model may go to any machine.
"""

import copy
import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, version_converter

from workers.batch_axis import Tensors
from workers.errors import ModelError
from workers.model_file import flow, is_quantized, opset, parsed, self_contained

# Before onnxruntime, whose telemetry it turns off.
from workers.session import FATAL_ONLY, WARNING, reason

LEAST_OPSET = 13  #: DequantizeLinear has a scale for each channel since then
NEW_OPSET = 17  #: for those that are older
QUANTIZED = ("Conv", "Relu", "Add", "Concat")
"""Kinds of nodes that become int8.  Relu and joins are cheap, but so they spare a way to float32
and back; Resize was no quicker for it, and Sigmoid makes the pixels."""
CARRIERS = ("Relu", "Add", "Concat", "Resize", "MaxPool")


class Quantizer:
    """A float32 model, to be quantised more than once."""

    def __init__(self, path: Path, image_input: str) -> None:
        """``image_input`` : the name of its picture input, whose values are whole 255ths.

        Raises ModelError when there is nothing in it to quantise.
        """
        self._path, self._image_input = path, image_input
        self._model = _prepared(path)
        weights = {
            t.name for t in self._model.graph.initializer if t.data_type == TensorProto.FLOAT
        }
        #: names of its convolutions, in the graph's order
        self.layers = tuple(
            node.name
            for node in self._model.graph.node
            if node.op_type == "Conv" and node.input[1] in weights
        )
        if not self.layers:
            raise ModelError(f"{path}: has no convolution with float32 weights to quantise")
        self._ranges = None

    def calibrate(self, inputs: Iterable[Tensors]) -> None:
        """See what values its tensors take.  ``inputs`` : as the model takes them, some calls."""
        from onnxruntime.quantization import create_calibrator

        with tempfile.TemporaryDirectory(prefix="lipfarm-") as scratch, _quiet():
            plain = Path(scratch, "plain.onnx")
            onnx.save(self._model, plain)
            calibrator = create_calibrator(plain, QUANTIZED, str(Path(scratch, "seen.onnx")))
            try:
                calibrator.collect_data(_Reader(inputs))
            # onnxruntime's exceptions share no base class of their own.
            except Exception as error:
                raise ModelError(f"{self._path}: does not run ({reason(error)})") from error
            self._ranges = calibrator.compute_data()

    def quantized(self, in_float: Collection[str]) -> bytes:
        """A model file with all layers in int8 but those."""
        from onnxruntime.quantization import QDQQuantizer, QuantType

        assert self._ranges is not None, "calibrate first"
        quantizer = QDQQuantizer(
            copy.deepcopy(self._model),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=self._nodes(in_float),
            nodes_to_exclude=[],
            op_types_to_quantize=QUANTIZED,
            # Pixels then are exact: a scale of 1 / 255.
            extra_options={"TensorQuantOverrides": {self._image_input: [_UNIT_RANGE]}},
        )
        with _quiet():
            quantizer.quantize_model()
        model = quantizer.model.model
        del model.graph.value_info[:], model.metadata_props[:]
        return bytes(model.SerializeToString())

    def _nodes(self, in_float: Collection[str]) -> list[str]:
        chosen = set(self.layers) - set(in_float)
        assert chosen, "onnxruntime takes no choice for all"

        def is_layer(node: NodeProto) -> bool:
            return node.name in chosen

        nodes = flow(self._model, is_layer, CARRIERS)
        return [node.name for node in nodes if node.op_type in QUANTIZED]


_UNIT_RANGE = {"rmin": np.float32(0), "rmax": np.float32(1)}


class _Reader:
    """As the calibrator asks for them."""

    def __init__(self, inputs: Iterable[Tensors]) -> None:
        self._inputs: Iterator[Tensors] = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        inputs = next(self._inputs, None)
        return None if inputs is None else dict(inputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime warns of constants that it removes, among the lines that a user should read."""
    from onnxruntime import set_default_logger_severity

    before = logging.root.manager.disable
    set_default_logger_severity(FATAL_ONLY)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        set_default_logger_severity(WARNING)


def _prepared(path: Path) -> ModelProto:
    """Constants folded, batch norms put into convolutions, every node named, types inferred."""
    from onnxruntime.quantization import quant_pre_process

    model = parsed(self_contained(path))
    if is_quantized(model):
        raise ModelError(f"{path}: is quantised already")
    try:
        if opset(model) < LEAST_OPSET:
            model = version_converter.convert_version(model, NEW_OPSET)
        with tempfile.TemporaryDirectory(prefix="lipfarm-") as scratch, _quiet():
            plain, prepared = Path(scratch, "plain.onnx"), Path(scratch, "prepared.onnx")
            onnx.save(model, plain)
            # The symbolic inference would need sympy; onnx's own is enough for these graphs.
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            model = onnx.load(prepared)
    # Of onnx and of onnxruntime, without a common base class.
    except Exception as error:
        raise ModelError(f"{path}: cannot be prepared for int8 ({reason(error)})") from error
    for node in model.graph.node:
        node.name = node.output[0]  # theirs may be empty, or the same
    return model
