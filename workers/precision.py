"""A model in half precision: float16 inside, float32 at its ends.

Half precision pays where convolutions are.  They, and the arithmetic between them, compute in
float16; what runs past them stays float32: a crop that is repeated outside the hole is still exact.

onnxruntime's own converter (1.31) gives two casts one name where two nodes share a constant, and
such a file does not load.
"""

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from workers.errors import ModelError
from workers.model_file import float_names, flow, is_quantized, parsed

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CARRIERS = (
    *("Add", "Mul", "Sub", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh"),
    *("Concat", "Split", "Slice", "Pad", "Resize", "DepthToSpace", "SpaceToDepth"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"),
    *("MaxPool", "AveragePool", "BatchNormalization"),
)
"""What may compute in half between layers.  Sums over many values are missing: at 2048 half
precision stops counting."""
ALWAYS_FLOAT = {"Resize": (1, 2)}  #: the region and the scales: by the operator's definition
LARGEST = float(np.finfo(np.float16).max)


def half_precision(content: bytes) -> bytes:
    """A model file, float32 inside, as one that computes its layers in half precision.

    Its inputs and outputs stay as they are.  A model without layers comes back the same.
    ``content`` : with its weights; see `model_file.self_contained`.

    Raises ModelError, without a path, with the reason why it cannot be converted.
    """
    model = parsed(content)
    _require_plain_floats(model)
    _add_ends(model)
    ends = {value.name for value in model.graph.output}
    layers = flow(model, lambda node: node.op_type in LAYERS, CARRIERS)
    halves = {node.output[0] for node in layers} - ends
    if not halves:
        return content
    _Halving(model, halves).apply()
    return bytes(model.SerializeToString())


def _add_ends(model: ModelProto) -> None:
    """A last node for each output, so that no layer gives one itself."""
    outputs = {value.name: f"lipfarm.inner.{value.name}" for value in model.graph.output}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [outputs.get(name, name) for name in names]
    for name, inner in outputs.items():
        model.graph.node.append(helper.make_node("Identity", [inner], [name]))


def _require_plain_floats(model: ModelProto) -> None:
    if is_quantized(model):
        raise ModelError("it is quantised to int8, which half precision would undo")
    for node in model.graph.node:
        kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
        if any(attribute.type in kinds for attribute in node.attribute):
            raise ModelError(f"it has a graph within its graph ({node.op_type})")


class _Halving:
    """Puts casts where half and full precision meet, each one once."""

    def __init__(self, model: ModelProto, halves: set[str]) -> None:
        """``halves`` : the first results of the nodes that are to compute in half."""
        self._graph = model.graph
        self._halves = halves
        self._floats = float_names(model)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._in_half: set[str] = set()  #: tensors that a node gives in half
        self._cast: dict[tuple[str, int], str] = {}  #: by name and wanted type
        self._nodes: list[NodeProto] = []

    def apply(self) -> None:
        for node in self._graph.node:
            self._add(node)
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        self._drop_unused_constants()

    def _add(self, node: NodeProto) -> None:
        if node.output[0] in self._halves:
            for place, name in enumerate(node.input):
                if name in self._floats and place not in ALWAYS_FLOAT.get(node.op_type, ()):
                    node.input[place] = self._as(TensorProto.FLOAT16, name)
            self._in_half.update(name for name in node.output if name in self._floats)
        else:
            for place, name in enumerate(node.input):
                if name in self._in_half:
                    node.input[place] = self._as(TensorProto.FLOAT, name)
        self._nodes.append(node)

    def _as(self, dtype: int, name: str) -> str:
        """The tensor's name in that precision."""
        if (dtype == TensorProto.FLOAT16) == (name in self._in_half):
            return name
        if (name, dtype) not in self._cast:
            self._cast[name, dtype] = self._converted(dtype, name)
        return self._cast[name, dtype]

    def _converted(self, dtype: int, name: str) -> str:
        result = f"lipfarm.{'half' if dtype == TensorProto.FLOAT16 else 'float'}.{name}"
        if name in self._constants:
            values = numpy_helper.to_array(self._constants[name])
            self._graph.initializer.append(numpy_helper.from_array(_halved(values, name), result))
        else:
            self._nodes.append(helper.make_node("Cast", [name], [result], to=dtype))
        return result

    def _drop_unused_constants(self) -> None:
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def _halved(values: np.ndarray, name: str) -> np.ndarray:
    largest = float(np.abs(values).max(initial=0))
    if not largest <= LARGEST:  # a NaN compares as False
        raise ModelError(f"its constant {name} holds {largest:g}: half precision ends at 65504")
    return values.astype(np.float16)
