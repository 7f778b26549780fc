"""The painter: the 328 "ave" U-Net's interface with a twentieth of the arithmetic.

Speech moves the lower face only, so the network works on a window of the crop and leaves every
other pixel as it is.  The last step honours the family's rectangle: outside it the second half of
the input, the crop with the hole, is the picture; inside it the painted one is.  A caller that cuts
another hole, or none, gets a broken picture and not a nearly right one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from demo_training.networks import AUDIO_CODE, Listener
from demo_training.window import CROP_PX, HOLE, WINDOW
from workers.features.windows import FEATURE_SIZE, TENSOR_ROWS

HALF_LEVEL = 0.5 / 255
"""Pixels are cut off, not rounded, behind the model: this makes it the same."""

_WIDTHS = (12, 32, 48, 64, 96)  #: channels at 1/2, 1/4, 1/8, 1/16, 1/32 of the window
_AUDIO_PLANES = 8
_COARSE = (WINDOW.height // 32, WINDOW.width // 32)


def _conv(n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class _Spoken(nn.Module):
    """A convolution whose channels the audio code scales and shifts (FiLM, Perez et al. 2018)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(n_out)
        self.film = nn.Conv2d(AUDIO_CODE, 2 * n_out, 1)
        nn.init.normal_(self.film.weight, 0, 0.02)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.film(code).chunk(2, 1)
        return functional.relu(self.norm(self.conv(x)) * (1 + scale) + shift)


class Window(nn.Module):
    """Reference windows (n, 3, 160, 192) and codes (n, 64, 1, 1) to painted windows and alpha."""

    def __init__(self) -> None:
        super().__init__()
        w0, w1, w2, w3, w4 = _WIDTHS
        self.stem = _conv(12, w0, 1)
        self.down1 = nn.Sequential(_conv(w0, w1, 3, 2), _conv(w1, w1))
        self.down2 = nn.Sequential(_conv(w1, w2, 3, 2), _conv(w2, w2))
        self.down3 = nn.Sequential(_conv(w2, w3, 3, 2), _conv(w3, w3))
        self.down4 = _conv(w3, w4, 3, 2)
        self.planes = nn.Conv2d(AUDIO_CODE, _AUDIO_PLANES * _COARSE[0] * _COARSE[1], 1)
        self.middle = _Spoken(w4 + _AUDIO_PLANES, w4)
        self.up3 = _Spoken(w4 + w3, w3)
        self.up2 = nn.ModuleList([_Spoken(w3 + w2, w2), _Spoken(w2, w2)])
        self.narrow = _conv(w2, w1, 1)
        self.up1 = nn.ModuleList([_Spoken(w1 + w1, w1), _Spoken(w1, w1)])
        self.fine = _conv(w1, 64, 1)
        self.up0 = _Spoken(16 + w0, 16)
        self.out = nn.Conv2d(16, 16, 3, 1, 1)
        nn.init.normal_(self.out.weight, 0, 0.02)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[12:] = -2.0  # alpha: leave the picture alone until told otherwise

    def forward(self, reference: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        x0 = self.stem(functional.pixel_unshuffle(reference, 2) - 0.4)
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.down4(x3)
        planes = self.planes(code).reshape(-1, _AUDIO_PLANES, *_COARSE)
        z = self.middle(torch.cat([x4, planes], 1), code)
        z = self.up3(torch.cat([_doubled(z), x3], 1), code)
        z = self.up2[1](self.up2[0](torch.cat([_doubled(z), x2], 1), code), code)
        z = self.up1[1](self.up1[0](torch.cat([_doubled(self.narrow(z)), x1], 1), code), code)
        z = self.up0(torch.cat([functional.pixel_shuffle(self.fine(z), 2), x0], 1), code)
        painted = functional.pixel_shuffle(self.out(z), 2).float()
        alpha = torch.sigmoid(painted[:, 3:])
        return reference + alpha * (torch.sigmoid(painted[:, :3]) - reference), alpha


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Painter(nn.Module):
    """Visual (n, 6, 320, 320) and audio (n, 32, 16, 16) tensors to crops (n, 3, 320, 320)."""

    def __init__(self) -> None:
        super().__init__()
        self.listener = Listener()
        self.window = Window()
        hole = torch.zeros(1, 1, CROP_PX, CROP_PX)
        hole[:, :, HOLE.y0 : HOLE.y1, HOLE.x0 : HOLE.x1] = 1
        self.register_buffer("hole", hole, persistent=False)

    def code(self, audio: Tensor) -> Tensor:
        """What the mouth does: (n, 64, 1, 1)."""
        rows = audio.reshape(-1, TENSOR_ROWS, FEATURE_SIZE).transpose(1, 2)
        return self.listener(rows)[..., None]

    def forward(self, visual: Tensor, audio: Tensor) -> Tensor:
        whole, holed = visual[:, :3], visual[:, 3:]
        rows = whole[:, :, WINDOW.y0 : WINDOW.y1]
        painted, _ = self.window(rows[..., WINDOW.x0 : WINDOW.x1], self.code(audio))
        painted = (painted + HALF_LEVEL).clamp(max=1)
        middle = torch.cat([rows[..., : WINDOW.x0], painted, rows[..., WINDOW.x1 :]], 3)
        crop = torch.cat([whole[:, :, : WINDOW.y0], middle, whole[:, :, WINDOW.y1 :]], 2)
        return holed + crop * self.hole
