"""Make a model pair as heavy as SyncTalk_2D's 328 "ave", with random weights: for timings only.

The layers are those of its published ``unet_328.py`` and ``audio_encoder.py``, batch norms folded
into the convolutions as every exporter does.  12.19 million parameters, 9.77 GFLOP a frame in the
U-Net; 2.81 million, 0.19 GFLOP a window in the encoder.  What it paints means nothing.

usage: make_full_model.py DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from make_tiny_model import Graph

WIDTHS = (32, 64, 128, 256, 512)
EXPANSION = 2
SEED = 328


class Network(Graph):
    """Adds the layers of which the published networks are made."""

    name = "full"

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(SEED)

    def conv(
        self,
        x: str,
        n_in: int,
        n_out: int,
        kernel: int = 3,
        *,
        stride: tuple[int, int] = (1, 1),
        pad: int = 0,
        groups: int = 1,
        relu: bool = False,
    ) -> str:
        shape = (n_out, n_in // groups, kernel, kernel)
        # He's scale keeps the values of a deep network neither vanishing nor exploding.
        scale = np.sqrt((2 if relu else 1) / np.prod(shape[1:]))
        weight = self._rng.normal(0, scale, shape).astype(np.float32)
        bias = self._rng.normal(0, 0.01, n_out).astype(np.float32)
        x = self.node(
            "Conv",
            x,
            self.constant(weight),
            self.constant(bias),
            kernel_shape=[kernel, kernel],
            strides=list(stride),
            pads=[pad] * 4,
            group=groups,
        )
        return self.node("Relu", x) if relu else x

    def inverted_residual(
        self, x: str, n_in: int, n_out: int, *, stride: int = 1, adds: bool = False
    ) -> str:
        wide = n_in * EXPANSION
        y = self.conv(x, n_in, wide, 1, relu=True)
        y = self.conv(y, wide, wide, 3, stride=(stride, stride), pad=1, groups=wide, relu=True)
        y = self.conv(y, wide, n_out, 1)
        return self.node("Add", x, y) if adds else y

    def double(self, x: str, n_in: int, n_out: int, *, stride: int = 1) -> str:
        y = self.inverted_residual(x, n_in, n_out, stride=stride)
        return self.inverted_residual(y, n_out, n_out, adds=True)

    def up(self, x: str, skip: str, n_in: int, n_out: int) -> str:
        """Bilinear, corners aligned, then joined with what the way down left."""
        scales = self.constant([1, 1, 2, 2])
        options = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        doubled = self.node("Resize", x, "", scales, **options)
        return self.double(self.node("Concat", doubled, skip, axis=1), n_in, n_out)


def unet() -> onnx.ModelProto:
    """Visual [n, 6, 320, 320] and audio [n, 32, 16, 16] to [n, 3, 320, 320] in 0..1."""
    net = Network()
    a, b, c, d, e = WIDTHS
    x1 = net.inverted_residual("input", 6, a)
    x2 = net.double(x1, a, a, stride=2)
    x3 = net.double(x2, a, b, stride=2)
    x4 = net.double(x3, b, c, stride=2)
    x5 = net.double(x4, c, d, stride=2)
    x6 = net.double(x5, d, e, stride=2)
    x = net.node("Concat", x6, _heard(net), axis=1)
    x = net.double(net.double(x, 2 * e, e), e, d)
    x = net.up(x, x5, e, d // 2)
    x = net.up(x, x4, d, c // 2)
    x = net.up(x, x3, c, b // 2)
    x = net.up(x, x2, b, a)
    x = net.up(x, x1, b, a // 2)
    output = net.node("Sigmoid", net.conv(x, a // 2, 3, 1))
    inputs = {"input": [6, 320, 320], "audio": [32, 16, 16]}
    return net.model(inputs, output, [3, 320, 320])


def _heard(net: Network) -> str:
    """Audio [n, 32, 16, 16] to [n, 512, 10, 10]."""
    a, b, c, d, e = WIDTHS
    x = net.inverted_residual("audio", a, b)
    x = net.inverted_residual(x, b, c)
    x = net.conv(x, c, d, pad=1, relu=True)
    x = net.inverted_residual(x, d, d, adds=True)
    x = net.conv(x, d, e, stride=(2, 2), pad=3, relu=True)
    x = net.inverted_residual(x, e, e, adds=True)
    return net.inverted_residual(x, e, e, adds=True)


def encoder() -> onnx.ModelProto:
    """Mel windows [n, 1, 80, 16] to features [n, 512], all >= 0."""
    net = Network()
    x = net.conv("input", 1, 32, pad=1, relu=True)
    x = _residuals(net, x, 32, 2)
    x = net.conv(x, 32, 64, stride=(3, 1), pad=1, relu=True)
    x = _residuals(net, x, 64, 2)
    x = net.conv(x, 64, 128, stride=(3, 3), pad=1, relu=True)
    x = _residuals(net, x, 128, 2)
    x = net.conv(x, 128, 256, stride=(3, 2), pad=1, relu=True)
    x = _residuals(net, x, 256, 1)
    x = net.conv(x, 256, 512, relu=True)
    x = net.conv(x, 512, 512, 1, relu=True)
    output = net.node("Reshape", x, net.constant([-1, 512], np.int64))
    return net.model({"input": [1, 80, 16]}, output, [512])


def _residuals(net: Network, x: str, channels: int, n: int) -> str:
    for _ in range(n):
        y = net.conv(x, channels, channels, pad=1)
        x = net.node("Relu", net.node("Add", x, y))
    return x


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, model in {"audio_encoder": encoder(), "unet": unet()}.items():
        onnx.save(model, directory / f"{name}.onnx")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
