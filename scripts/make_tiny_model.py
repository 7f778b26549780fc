"""Make the tiny model pair: the tests' model, and that of timings which are not of inference.

It has the exact tensor shapes of SyncTalk_2D 328 "ave" and is built to be hard to fool: a mistake
in what it is fed moves, resizes or recolours the mouth so that no comparison can miss it.

    encoder   32 band energies at each of 16 moments; silence is a little above zero, so that a
              silent row differs from a missing one (zeros)
    U-Net     draws a dark ellipse with lips around it into the mouth, inside the hole only
      opening, width   weigh each of the 16 feature rows differently
      position         moves 8 pixels for each pixel that the hole is shifted or resized
      width            grows with red - blue of the crop: swapped channels change its sign
      colour           is tinted by the mean of the blacked-out planes

Deterministic: constants only, no random weights.

usage: make_tiny_model.py DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime since 2022
SIDE = 320
N_BANDS, N_TIMES = 32, 16
N_ROWS, FEATURE_SIZE = 16, N_BANDS * N_TIMES

SILENT_FEATURE = 0.04
MOUTH_X, MOUTH_Y = 160.0, 141.0  # where the demo avatar's mouth is, in the inner crop
HOLE_CENTRE_X, HOLE_CENTRE_Y, HOLE_WIDTH, HOLE_HEIGHT = 159.5, 157.0, 310.0, 305.0
PIXELS_PER_HOLE_PIXEL = 8.0
INSIDE_BGR = (0.16, 0.07, 0.26)
LIP_BGR = (0.40, 0.38, 0.76)


class Graph:
    """Collects nodes; each method returns the name of its result."""

    name = "tiny"

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def sum(self, x: str, axis: int) -> str:
        return self.node("ReduceSum", x, self.constant([axis], np.int64), keepdims=1)

    def planes(self, x: str, begin: int, end: int) -> str:
        bounds = (self.constant([at], np.int64) for at in (begin, end, 1))
        return self.node("Slice", x, *bounds)

    def model(self, inputs: dict[str, list[int]], output: str, shape: list[int]) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [_batched(name, sizes) for name, sizes in inputs.items()],
            [_batched("output", shape)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def _batched(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])


def encoder() -> onnx.ModelProto:
    """[n, 1, 80, 16] mel -4..4 -> [n, 512], at least 0.04: band b at moment t is value 32 t + b."""
    g = Graph()
    by_time = g.node(
        "Transpose", g.node("Squeeze", "input", g.constant([1], np.int64)), perm=[0, 2, 1]
    )
    level = g.node("Mul", g.node("Add", by_time, g.constant(4.0)), g.constant(0.125))
    bands = g.node("MatMul", level, g.constant(_pooling()))
    flat = g.node("Reshape", bands, g.constant([-1, FEATURE_SIZE], np.int64))
    features = g.node("Add", g.node("Mul", flat, flat), g.constant(SILENT_FEATURE))
    return g.model({"input": [1, 80, 16]}, features, [FEATURE_SIZE])


def _pooling() -> NDArray[np.float64]:
    """Mean over 2 or 3 neighbouring mel bands: [80, 32]."""
    owner = np.arange(80) * N_BANDS // 80
    pooling = (owner[:, None] == np.arange(N_BANDS)).astype(float)
    return pooling / pooling.sum(0)


def unet() -> onnx.ModelProto:
    """[n, 6, 320, 320] BGR 0..1 and [n, 32, 16, 16] -> [n, 3, 320, 320] BGR 0..1."""
    g = Graph()
    crop, blacked = g.planes("image", 0, 3), g.planes("image", 3, 6)
    hole = _hole(g, blacked)
    opening, widening = _mouth_shape(g)
    dx = _drift(g, hole, axis=3, centre=HOLE_CENTRE_X, size=HOLE_WIDTH)
    dy = _drift(g, hole, axis=2, centre=HOLE_CENTRE_Y, size=HOLE_HEIGHT)
    redness = _redness(g, crop)
    half_width = g.node("Add", g.node("Mul", widening, g.constant(12.0)), g.constant(27.0))
    half_width = g.node("Mul", half_width, g.node("Add", redness, g.constant(1.0)))
    half_height = g.node("Mul", opening, g.constant(23.0))
    x = g.node("Sub", g.constant(np.arange(SIDE).reshape(1, 1, 1, SIDE) - MOUTH_X), dx)
    y = g.node("Sub", g.constant(np.arange(SIDE).reshape(1, 1, SIDE, 1) - MOUTH_Y), dy)
    y = g.node(
        "Sub", y, g.node("Mul", half_height, g.constant(0.55))
    )  # the jaw falls, the nose stays
    lips = _ellipse(g, x, y, _grown(g, half_width, 22.0), _grown(g, half_height, 12.0))
    inside = _ellipse(g, x, y, half_width, half_height)
    shown = g.node("Mul", hole, _ramp(g, g.node("Mul", opening, g.constant(6.0))))
    inside_colour = g.node("Add", g.constant(_bgr(INSIDE_BGR)), _tint(g, blacked))
    painted = _blend(g, crop, g.constant(_bgr(LIP_BGR)), g.node("Mul", lips, shown))
    painted = _blend(g, painted, inside_colour, g.node("Mul", inside, shown))
    output = _ramp(g, painted)
    shapes = {"image": [6, SIDE, SIDE], "audio": [32, 16, 16]}
    return g.model(shapes, output, [3, SIDE, SIDE])


def _hole(g: Graph, blacked: str) -> str:
    """1 where all three blacked-out planes are zero, else 0: [n, 1, 320, 320]."""
    dark = g.node("Less", g.sum(blacked, 1), g.constant(0.5 / 255))
    return g.node("Cast", dark, to=TensorProto.FLOAT)


def _mouth_shape(g: Graph) -> tuple[str, str]:
    """Opening and width, each 0..1, [n, 1, 1, 1], every feature row with a weight of its own."""
    rows = g.node("Reshape", "audio", g.constant([-1, N_ROWS, FEATURE_SIZE], np.int64))
    # Sums over the last axis, not a matrix product, nor sums over a middle one: the last bits of
    # those depend on the batch.
    weighted = (g.node("Mul", rows, g.constant(w[None, None])) for w in _band_weights().T)
    bands = g.node("Concat", *(g.sum(values, 2) for values in weighted), axis=2)  # [n, 16, 2]
    by_row = g.node("Transpose", bands, perm=[0, 2, 1])
    pair = g.sum(g.node("Mul", by_row, g.constant(_row_weights().T[None])), 2)  # [n, 2, 1]
    pair = g.node("Sub", pair, g.constant([[[0.42], [0.35]]]))  # what silence and breath amount to
    pair = _ramp(g, g.node("Mul", pair, g.constant([[[1.5], [1.8]]])))
    halves = (g.node("Gather", pair, g.constant([k], np.int64), axis=1) for k in range(2))
    shape = g.constant([-1, 1, 1, 1], np.int64)
    opening, widening = (g.node("Reshape", half, shape) for half in halves)
    return opening, widening


def _band_weights() -> NDArray[np.float64]:
    """[512, 2]: the opening listens to the low bands, where voices are; the width to the high."""
    band = np.tile(np.arange(N_BANDS), N_TIMES)
    low, high = np.exp(-(((band - 9) / 8) ** 2)), np.exp(-(((band - 24) / 6) ** 2))
    return np.stack([low / low.sum(), high / high.sum()], 1)


def _row_weights() -> NDArray[np.float64]:
    """[16, 2]: row 9 weighs most, the frame's own window (one row is repeated in front)."""
    row = np.arange(N_ROWS)
    opening = 1.6 * np.exp(-(((row - 9) / 0.9) ** 2) / 2) + 0.05 + 0.004 * row
    width = 0.5 * np.exp(-(((row - 9) / 2.0) ** 2) / 2) + 0.12 - 0.005 * row
    return np.stack([opening, width], 1)


def _drift(g: Graph, hole: str, *, axis: int, centre: float, size: float) -> str:
    """Pixels to move along ``axis``: 0 for the hole of the contract, many for any other.

    The hole's profile along the axis is counted in whole numbers, which floats hold exactly in
    whatever order they are added.
    """
    across = 5 - axis
    profile = g.node("Greater", g.sum(hole, across), g.constant(SIDE / 2.0))
    profile = g.node("Cast", profile, to=TensorProto.FLOAT)
    places = np.arange(SIDE).reshape((1, 1, 1, SIDE) if axis == 3 else (1, 1, SIDE, 1))
    count = g.sum(profile, axis)
    moment = g.sum(g.node("Mul", profile, g.constant(places)), axis)
    found = g.node("Div", moment, g.node("Max", count, g.constant(1.0)))
    shifted = g.node("Sub", found, g.constant(centre))
    resized = g.node("Sub", count, g.constant(size))
    return g.node("Mul", g.node("Add", shifted, resized), g.constant(PIXELS_PER_HOLE_PIXEL))


def _redness(g: Graph, crop: str) -> str:
    """Mean of red minus mean of blue, [n, 1, 1, 1]: positive for skin."""
    means = g.node("GlobalAveragePool", crop)
    return g.node("Sub", g.planes(means, 2, 3), g.planes(means, 0, 1))


def _tint(g: Graph, blacked: str) -> str:
    """A little of the surroundings' colour: [n, 3, 1, 1]."""
    return g.node("Mul", g.node("GlobalAveragePool", blacked), g.constant(0.5))


def _ellipse(g: Graph, x: str, y: str, half_width: str, half_height: str) -> str:
    """Coverage 0..1 with an edge about 3 pixels soft: [n, 1, 320, 320]."""
    u = g.node("Div", x, g.node("Max", half_width, g.constant(1.0)))
    v = g.node("Div", y, g.node("Max", half_height, g.constant(1.0)))
    radius = g.node("Sqrt", g.node("Add", g.node("Mul", u, u), g.node("Mul", v, v)))
    inwards = g.node("Sub", g.constant(1.0), radius)
    softness = g.node("Mul", g.node("Max", half_height, g.constant(1.0)), g.constant(0.4))
    return _ramp(g, g.node("Add", g.node("Mul", inwards, softness), g.constant(0.5)))


def _grown(g: Graph, size: str, pixels: float) -> str:
    return g.node("Add", size, g.constant(pixels))


def _ramp(g: Graph, x: str) -> str:
    return g.node("Clip", x, g.constant(0.0), g.constant(1.0))


def _blend(g: Graph, under: str, colour: str, coverage: str) -> str:
    difference = g.node("Sub", colour, under)
    return g.node("Add", under, g.node("Mul", difference, coverage))


def _bgr(colour: tuple[float, float, float]) -> NDArray[np.float64]:
    return np.array(colour).reshape(1, 3, 1, 1)


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, model in (("audio_encoder", encoder()), ("unet", unet())):
        data = model.SerializeToString(deterministic=True)
        (directory / f"{name}.onnx").write_bytes(data)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
