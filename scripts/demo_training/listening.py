"""Stage 1: from the sound to the mouth's seven numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from demo_training.corpus import Clip, read_corpus
from demo_training.networks import Lips
from demo_training.steps import Schedule, train
from demo_training.visemes import OPEN, PARTS, PRESS, TUCK
from workers.features.windows import cut_windows, n_windows, padded_mel, window_start

F32 = NDArray[np.float32]

CLIPS_A_STEP = 8
SCHEDULE = Schedule(n_steps=4000, peak_rate=2.5e-3, warm_up_steps=100)
_SEED = 11

_PART_WEIGHTS = torch.tensor([3, 1.4, 1.6, 1, 0.7, 1.2, 1.2])
_PRESSED = 0.6  #: lips that touch


def clip_windows(mel: F32) -> F32:
    """Every encoder window of a clip: float32 (n, 1, 80, 16), as the farm cuts them."""
    mel = padded_mel(mel)
    last = len(mel) - 16
    return cut_windows(mel, [min(window_start(k), last) for k in range(n_windows(len(mel)))])


def train_listener(corpus: Path, checkpoint: Path) -> Lips:
    """Train, or go on training, and give the result."""
    clips = read_corpus(corpus)
    torch.manual_seed(_SEED)
    lips = Lips().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(lips.parameters(), weight_decay=1e-2)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([_SEED, step])
        chosen = [clips[k] for k in rng.integers(0, len(clips), CLIPS_A_STEP)]
        windows, counts = _batch(chosen)
        spoken = torch.from_numpy(np.concatenate([clip.mouths for clip in chosen]))
        return _loss(lips(_masked(windows, rng), counts), spoken)

    train("listening", lips, optimizer, loss, SCHEDULE, checkpoint)
    return lips.eval()


def load_listener(checkpoint: Path) -> Lips:
    lips = Lips()
    lips.load_state_dict(torch.load(checkpoint)["network"])
    return lips.eval()


@torch.no_grad()
def heard_mouths(lips: Lips, clip: Clip) -> F32:
    """What the trained listener takes the mouth for: float32 (F, 7)."""
    windows, counts = _batch([clip])
    return lips(windows, counts).numpy()


def correlations(lips: Lips, clips: Sequence[Clip]) -> dict[str, float]:
    """Pearson's r of each part of the mouth over all frames of the clips."""
    heard = np.concatenate([heard_mouths(lips, clip) for clip in clips])
    spoken = np.concatenate([clip.mouths for clip in clips])
    return {
        part: round(float(np.corrcoef(heard[:, k], spoken[:, k])[0, 1]), 4)
        for k, part in enumerate(PARTS)
    }


def _batch(clips: Sequence[Clip]) -> tuple[Tensor, list[tuple[int, int]]]:
    windows = [clip_windows(clip.mel) for clip in clips]
    counts = [(len(w), len(clip.mouths)) for w, clip in zip(windows, clips, strict=True)]
    return torch.from_numpy(np.concatenate(windows)), counts


def _masked(windows: Tensor, rng: np.random.Generator) -> Tensor:
    """Louder or quieter, and half the time without a few bands."""
    windows = windows + float(rng.normal(0, 0.1))
    if rng.random() < 0.5:
        low = int(rng.integers(0, 72))
        windows[:, :, low : low + int(rng.integers(1, 9))] = -3
    return windows


def _loss(heard: Tensor, spoken: Tensor) -> Tensor:
    away = functional.smooth_l1_loss(heard, spoken, beta=0.1, reduction="none")
    moves = (heard.diff(dim=0) - spoken.diff(dim=0)).abs()
    pressed = spoken[:, PRESS] > _PRESSED
    too_open = functional.relu(heard[:, OPEN] - spoken[:, OPEN]) * pressed
    # Rare and large: an absolute error would learn that lips are never tucked.
    square = (heard - spoken).square().mean(dim=0)
    return (
        (away * _PART_WEIGHTS).mean()
        + 0.5 * (moves * _PART_WEIGHTS).mean()
        + 2 * too_open.mean()
        + 6 * square[TUCK]
        + 2 * square[OPEN]
    )
