"""The demo model's networks, in the shapes of SyncTalk_2D's 328 "ave" models.

No matrix products: every linear layer is written as a convolution, because onnxruntime computes
a convolution image by image, so that a frame has the same bits in a batch of any size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from demo_training.visemes import PARTS
from workers.features.windows import FEATURE_SIZE, ROWS_AFTER, ROWS_BEFORE, TENSOR_ROWS

AUDIO_CODE = 64  #: numbers that tell the painter what the mouth does


def _conv(n_in: int, n_out: int, kernel=3, stride=1, padding=1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.change(x))


class AudioEncoder(nn.Module):
    """Mel windows (n, 1, 80, 16) in -4..4 to features (n, 512), all >= 0."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            _conv(1, 16, (5, 3), (2, 1), (2, 1)),
            _conv(16, 32, 3, 2),
            _Residual(32),
            _conv(32, 64, 3, 2),
            _conv(64, 64, 3, 2),
        )
        self.joined = nn.Conv2d(64, FEATURE_SIZE, (5, 2))

    def forward(self, windows: Tensor) -> Tensor:
        return functional.relu(self.joined(self.seen(windows * 0.25))).flatten(1)


class Listener(nn.Module):
    """Sixteen feature rows around a frame, (n, 512, 16), to the frame's code (n, 64, 1).

    Given more rows, (n, 512, T), it gives the codes of T - 15 frames: training uses that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(FEATURE_SIZE, 48, 1)
        self.listen = nn.Conv1d(48, 160, TENSOR_ROWS)
        self.drop = nn.Dropout(0.1)
        self.code = nn.Conv1d(160, AUDIO_CODE, 1)

    def forward(self, rows: Tensor) -> Tensor:
        heard = functional.relu(self.listen(functional.relu(self.narrow(rows))))
        return functional.relu(self.code(self.drop(heard)))


class Lips(nn.Module):
    """Encoder, listener and a head that names the mouth: what stage 1 trains."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AudioEncoder()
        self.listener = Listener()
        self.head = nn.Conv1d(AUDIO_CODE, len(PARTS), 1)

    def forward(self, windows: Tensor, counts: list[tuple[int, int]]) -> Tensor:
        """The mouths of whole clips, (sum of frames, 7).

        ``windows`` : (sum of windows, 1, 80, 16); ``counts`` : windows and frames of each clip.
        """
        # Half of the time in a quarter of the bits: the encoder is most of the work.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            features = self.encoder(windows.contiguous(memory_format=torch.channels_last))
        features = features.float()
        every, first = [], 0
        for n_windows, n_frames in counts:
            rows = feature_rows(features[first : first + n_windows], n_frames)
            first += n_windows
            every.append(self.head(self.listener(rows.T[None]))[0].T)
        return torch.cat(every)


def feature_rows(features: Tensor, n_frames: int) -> Tensor:
    """A clip's features (n, 512) to the rows under its frames, (n_frames + 15, 512).

    Row 8 is the first feature repeated, and the last is repeated too; zeros before and behind.
    ``workers.features.rows`` holds the rule; a test compares the two.
    """
    rows = torch.cat([features[:1], features, features[-1:]])
    behind = ROWS_AFTER + n_frames - len(rows)
    return functional.pad(rows, (0, 0, ROWS_BEFORE, behind))
