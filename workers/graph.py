"""A U-Net's graph with pictures of bytes at both ends.

    crops     uint8 (n, C, C, 3), RGB: what the bundle keeps
      |       inner square, planes, BGR, 0..1, blackout
    the model, as it is
      |       cut off to 0..1, times 255, bytes, RGBX, the crop's rim around it
    painted   uint8 (n, C, C, 4), RGBX: what a compositor resizes
    means     float32 (n, 3, 1, 1): not finite where a frame's output holds a NaN or an infinity

A frame thus moves 0.75 MB instead of 3.7 MB, and the arithmetic around the model runs where the
model runs.  The pixels are those of `workers.kernels.tensors`, byte for byte on a CPU.
"""

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from workers.arrays import Array
from workers.errors import ModelError
from workers.families import Family
from workers.geometry import Rect
from workers.model_file import opset, parsed

CROPS, PAINTED, MEANS = "lipfarm.crops", "lipfarm.painted", "lipfarm.means"
LEAST_OPSET = 11  #: Clip and Slice take their limits as tensors since then


class NotWrappable(ModelError):
    """A model whose graph cannot be given other ends; it can still be run as it is."""


def wrapped(content: bytes, family: Family, image_input: str) -> bytes:
    """A U-Net's model file with the ends above, and its batch axis free.

    ``content`` : with its weights; see `model_file.self_contained`.
    ``image_input`` : the name of its picture input.  Raises ModelError, without the path.
    """
    model = parsed(content)
    if opset(model) < LEAST_OPSET:
        raise NotWrappable(f"its opset is {opset(model)}, older than {LEAST_OPSET}")
    _free_batch_axis(model)
    graph = model.graph
    (output,) = graph.output
    before, after = _Piece("before"), _Piece("behind")
    _crops_to_input(before, family, image_input)
    _output_to_painted(after, family, output.name)
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.constants, *after.constants])
    audio = [value for value in graph.input if value.name != image_input]
    side = family.canvas_px
    crops = helper.make_tensor_value_info(CROPS, TensorProto.UINT8, ["n", side, side, 3])
    painted = helper.make_tensor_value_info(PAINTED, TensorProto.UINT8, ["n", side, side, 4])
    means = helper.make_tensor_value_info(MEANS, TensorProto.FLOAT, ["n", 3, 1, 1])
    del graph.input[:], graph.output[:]
    graph.input.extend([crops, *audio])
    graph.output.extend([painted, means])
    return _written(model)


def batch_freed(content: bytes) -> bytes:
    """A model file whose batch axis is of any size.  Raises ModelError."""
    model = parsed(content)
    _free_batch_axis(model)
    return _written(model)


def _written(model: ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except Exception as error:  # more than 2 GB: protobuf's own limit
        raise NotWrappable(f"onnx cannot write it ({error})") from error


def _free_batch_axis(model: ModelProto) -> None:
    """Whether the layers follow must be tried: one may have the size inside."""
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]  # sizes that an exporter noted


class _Piece:
    """Nodes in their order, with the constants they use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Returns the name of what it gives."""
        result = output or f"lipfarm.{self._name}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [result], **attributes))
        return result

    def constant(self, value: Array | np.generic) -> str:
        name = f"lipfarm.{self._name}_constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def cut(self, pictures: str, rect: Rect) -> str:
        """The rectangle of pictures of shape (n, H, W, channels)."""
        starts, ends = self.integers(rect.y0, rect.x0), self.integers(rect.y1, rect.x1)
        return self.node("Slice", pictures, starts, ends, self.integers(1, 2))


def _crops_to_input(piece: _Piece, family: Family, image_input: str) -> None:
    """See ``tensors.visual_tensor``."""
    pixels = piece.cut(CROPS, family.inner)
    planes = piece.node("Transpose", pixels, perm=[0, 3, 1, 2])
    bgr = piece.node("Gather", planes, piece.integers(2, 1, 0), axis=1)
    levels = piece.node("Cast", bgr, to=TensorProto.FLOAT)
    true = piece.node("Div", levels, piece.constant(np.float32(255)))
    seen = np.ones((1, 1, family.inner_px, family.inner_px), np.float32)
    hole = family.blackout
    seen[:, :, hole.y0 : hole.y1, hole.x0 : hole.x1] = 0
    blacked_out = piece.node("Mul", true, piece.constant(seen))
    piece.node("Concat", true, blacked_out, axis=1, output=image_input)


def _output_to_painted(piece: _Piece, family: Family, output: str) -> None:
    """See ``tensors.to_pixels``."""
    # Not finite unless all that it is taken of are, or are beyond all reason.
    piece.node("GlobalAveragePool", output, output=MEANS)
    zero, one = piece.constant(np.float32(0)), piece.constant(np.float32(1))
    clipped = piece.node("Clip", output, zero, one)
    levels = piece.node("Mul", clipped, piece.constant(np.float32(255)))
    planes = piece.node("Cast", levels, to=TensorProto.UINT8)
    # The fourth byte is whatever is at hand: nobody looks at it.
    rgbx = piece.node("Gather", planes, piece.integers(2, 1, 0, 0), axis=1)
    mouth = piece.node("Transpose", rgbx, perm=[0, 2, 3, 1])
    _put_rim(piece, family, mouth)


def _put_rim(piece: _Piece, family: Family, mouth: str) -> None:
    """The crop's own pixels around the inner square, above, beside and below it."""
    inner, side = family.inner, family.canvas_px
    if inner.width == side:
        piece.node("Identity", mouth, output=PAINTED)
        return
    above, left, right, below = (
        piece.node("Gather", piece.cut(CROPS, rect), piece.integers(0, 1, 2, 2), axis=3)
        for rect in (
            Rect(0, 0, side, inner.y0),
            Rect(0, inner.y0, inner.x0, inner.y1),
            Rect(inner.x1, inner.y0, side, inner.y1),
            Rect(0, inner.y1, side, side),
        )
    )
    beside = piece.node("Concat", left, mouth, right, axis=2)
    piece.node("Concat", above, beside, below, axis=1, output=PAINTED)
