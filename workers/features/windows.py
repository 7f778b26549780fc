"""Mel columns to encoder windows, and feature rows to the U-Net's audio tensors (mode "ave").

Frame indices are absolute in the whole audio, here and everywhere: how a job is cut into batches
changes no bit of any tensor.  Rules: SyncTalk_2D's ``utils.py`` (AudDataset, get_audio_features).
"""

import numpy as np

from workers.arrays import F32
from workers.features.mel import N_MELS, SAMPLE_RATE_HZ, SILENCE

FPS = 25  #: video frames a second the models were trained at
WINDOW_COLUMNS = 16  #: mel columns under one encoder window: 0.2 s
FEATURE_SIZE = 512  #: values in one feature row
ROWS_BEFORE, ROWS_AFTER = 8, 7  #: rows of context around a frame's own row
TENSOR_ROWS = ROWS_BEFORE + 1 + ROWS_AFTER
TENSOR_SHAPE = (32, 16, 16)


def n_frames(n_samples: int) -> int:
    """Video frames of ``n_samples`` at 16 kHz: round_half_up(N x 25 / 16000), at least 1."""
    return max(1, (2 * FPS * n_samples + SAMPLE_RATE_HZ) // (2 * SAMPLE_RATE_HZ))


def n_windows(n_columns: int) -> int:
    """Encoder windows of a whole file; in floating point, as the models' own code counts."""
    return int((max(n_columns, WINDOW_COLUMNS) - WINDOW_COLUMNS) / 80.0 * 25.0) + 2


def window_start(window_index: int) -> int:
    """First mel column of a window: 80 columns to 25 frames, so 0, 3, 6, 9, 12, 16, ..."""
    return WINDOW_COLUMNS * window_index // 5


def padded_mel(mel: F32) -> F32:
    """``mel`` with silence behind it up to one window's length."""
    missing = max(0, WINDOW_COLUMNS - len(mel))
    return np.pad(mel, ((0, missing), (0, 0)), constant_values=np.float32(SILENCE))


def cut_windows(mel: F32, starts: list[int]) -> F32:
    """Gather the windows that begin at columns ``starts``: float32, shape (n, 1, 80, 16)."""
    if not starts:
        return np.empty((0, 1, N_MELS, WINDOW_COLUMNS), np.float32)
    every = np.lib.stride_tricks.sliding_window_view(mel, WINDOW_COLUMNS, axis=0)
    return np.ascontiguousarray(every[starts][:, None])
