"""What is inside a model file: its weights, and how results flow from layer to layer.

Reads only.  Graphs are changed by `workers.graph`, `workers.precision` and `workers.quantizer`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, shape_inference
from onnx.external_data_helper import uses_external_data

from workers.errors import ModelError


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file says of itself, and the numbers in it."""

    opset: int  #: of ONNX's own operators; 0: it uses none of them
    producer: str  #: who wrote it; may be empty
    n_nodes: int
    n_numbers: dict[str, int]  #: in constants, by NumPy's name of their type: {"float32": 776000}


def contents(path: Path) -> Contents:
    """Without reading weights that lie in files beside it.  Raises ModelError."""
    model = _loaded(path, with_weights=False)
    n_numbers: dict[str, int] = {}
    for tensor in model.graph.initializer:
        name = _dtype_name(tensor)
        n_numbers[name] = n_numbers.get(name, 0) + _n_items(tensor)
    return Contents(opset(model), model.producer_name, len(model.graph.node), n_numbers)


def self_contained(path: Path) -> bytes:
    """The file byte for byte; if weights lie in files beside it, written anew with them inside.

    Raises ModelError.
    """
    model = _loaded(path, with_weights=False)
    if not any(map(uses_external_data, model.graph.initializer)):
        return path.read_bytes()
    try:
        return bytes(_loaded(path, with_weights=True).SerializeToString())
    except Exception as error:  # more than 2 GB: protobuf's own limit
        raise ModelError(f"{path}: onnx cannot write it as one file ({error})") from error


def parsed(content: bytes) -> ModelProto:
    """A model from bytes.  Raises ModelError, without a path; also when it lacks its weights."""
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's exceptions share no base class with others
        raise ModelError(f"onnx cannot read it ({error})") from error
    if any(map(uses_external_data, model.graph.initializer)):
        raise ModelError("its weights lie in files beside it")
    return model


QUANTIZED_KINDS = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")


def is_quantized(model: ModelProto) -> bool:
    return any(node.op_type in QUANTIZED_KINDS for node in model.graph.node)


def opset(model: ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def float_names(model: ModelProto) -> set[str]:
    """The names of all tensors that are float32, as far as onnx can tell."""
    graph = shape_inference.infer_shapes(model).graph
    named = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    named |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name for name, dtype in named.items() if dtype == TensorProto.FLOAT}


def flow(
    model: ModelProto, is_layer: Callable[[NodeProto], bool], carriers: Collection[str]
) -> list[NodeProto]:
    """The layers, and the nodes that compute with nothing but what layers gave, in their order.

    A crop that runs past the layers, to be joined with what they painted, is thus left alone.

    ``carriers`` : the kinds of those nodes.  Constants, sizes and indices do not count.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {n.output[0] for n in model.graph.node if n.op_type == "Constant"}
    counting = float_names(model) - constants
    given: set[str] = set()
    found = []
    for node in model.graph.node:
        taken = {name for name in node.input if name in counting}
        if is_layer(node) or (node.op_type in carriers and taken and taken <= given):
            given.update(node.output)
            found.append(node)
    return found


def _loaded(path: Path, *, with_weights: bool) -> ModelProto:
    try:
        return onnx.load(path, load_external_data=with_weights)
    # protobuf, a file of weights that is missing or outside the directory: no common base class.
    except Exception as error:
        raise ModelError(f"{path}: onnx cannot read it ({error})") from error


def _n_items(tensor: TensorProto) -> int:
    n = 1
    for size in tensor.dims:
        n *= size
    return n


def _dtype_name(tensor: TensorProto) -> str:
    try:
        return str(helper.tensor_dtype_to_np_dtype(tensor.data_type).name)
    except KeyError:
        return f"type {tensor.data_type}"
