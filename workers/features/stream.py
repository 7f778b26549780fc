"""Audio to tensors span by span: bounded memory, and no bit differs from the whole file.

Four stages, each with the same two verbs: ``push`` takes the next piece of input in any split and
gives what became ready, ``finish`` gives the rest once the input has ended.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from workers.arrays import F32
from workers.features.mel import N_MELS, MelStream
from workers.features.windows import (
    FEATURE_SIZE,
    ROWS_AFTER,
    ROWS_BEFORE,
    TENSOR_SHAPE,
    WINDOW_COLUMNS,
    audio_tensor,
    cut_windows,
    n_frames,
    n_windows,
    padded_mel,
    window_start,
)

#: Encoder windows (n, 1, 80, 16) to features (n, 512), both float32.
Encode: TypeAlias = Callable[[F32], F32]

ENCODER_BATCH = 32  #: windows a call: large enough for full speed, 1.3 s of audio


class WindowStream:
    """Mel columns (m, 80) to encoder windows (n, 1, 80, 16)."""

    def __init__(self) -> None:
        self._columns = np.empty((0, N_MELS), np.float32)
        self._first_column = 0
        self._next_window = 0

    def push(self, columns: F32) -> F32:
        self._columns = np.concatenate([self._columns, columns])
        last_start = self._first_column + len(self._columns) - WINDOW_COLUMNS
        starts = []
        while window_start(self._next_window) <= last_start:
            starts.append(window_start(self._next_window))
            self._next_window += 1
        return self._cut(starts)

    def finish(self) -> F32:
        if self._next_window == 0:
            self._columns = padded_mel(self._columns)
        end = self._first_column + len(self._columns)
        n_missing = n_windows(end) - self._next_window
        return self._cut([end - WINDOW_COLUMNS] * n_missing)

    def _cut(self, starts: list[int]) -> F32:
        windows = cut_windows(self._columns, [start - self._first_column for start in starts])
        # 16 columns stay behind the next window's start: the last windows of a file reach back.
        keep_from = max(self._first_column, window_start(self._next_window) - WINDOW_COLUMNS)
        self._columns = self._columns[keep_from - self._first_column :]
        self._first_column = keep_from
        return windows


class EncoderStream:
    """Encoder windows to features, in calls of one fixed size aligned to absolute windows.

    A window thus always has the same place in a call of the same shape, whatever the split: its
    feature cannot depend on how a matrix product treats other row counts.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._pending = np.empty((0, 1, N_MELS, WINDOW_COLUMNS), np.float32)

    def push(self, windows: F32) -> F32:
        self._pending = np.concatenate([self._pending, windows])
        n_ready = len(self._pending) // ENCODER_BATCH * ENCODER_BATCH
        return self._take(n_ready)

    def finish(self) -> F32:
        n_left = len(self._pending)
        padding = np.zeros((-n_left % ENCODER_BATCH, 1, N_MELS, WINDOW_COLUMNS), np.float32)
        self._pending = np.concatenate([self._pending, padding])
        return self._take(len(self._pending))[:n_left]

    def _take(self, n_ready: int) -> F32:
        ready, self._pending = self._pending[:n_ready], self._pending[n_ready:]
        batches = (ready[k : k + ENCODER_BATCH] for k in range(0, n_ready, ENCODER_BATCH))
        return np.concatenate([_no_features(), *map(self._encode, batches)])


class TensorStream:
    """Features (n, 512) to the audio tensors (k, 32, 16, 16) of frames 0, 1, 2, ..."""

    def __init__(self) -> None:
        self._rows = _no_features()
        self._first_row = 0
        self._next_frame = 0

    def push(self, features: F32) -> F32:
        if len(self._rows) == 0:
            features = np.concatenate([features[:1], features])
        self._rows = np.concatenate([self._rows, features])
        return self._cut(self._first_row + len(self._rows) - ROWS_AFTER)

    def finish(self, frames: int) -> F32:
        """The tensors up to the last of ``frames`` frames; the last feature is repeated once."""
        self._rows = np.concatenate([self._rows, self._rows[-1:]])
        return self._cut(frames)

    def _cut(self, end: int) -> F32:
        frames = range(self._next_frame, max(self._next_frame, end))
        tensors = [audio_tensor(self._rows, frame, self._first_row) for frame in frames]
        self._next_frame = frames.stop
        keep_from = max(self._first_row, self._next_frame - ROWS_BEFORE)
        self._rows = self._rows[keep_from - self._first_row :]
        self._first_row = keep_from
        return np.stack(tensors) if tensors else np.empty((0, *TENSOR_SHAPE), np.float32)


class AudioTensorStream:
    """Samples (n,) at 16 kHz to audio tensors: the four stages in a row."""

    def __init__(self, encode: Encode) -> None:
        self._n_samples = 0
        self._mel = MelStream()
        self._windows = WindowStream()
        self._encoder = EncoderStream(encode)
        self._tensors = TensorStream()

    def push(self, samples: F32) -> F32:
        self._n_samples += len(samples)
        columns = self._mel.push(samples)
        return self._tensors.push(self._encoder.push(self._windows.push(columns)))

    def finish(self) -> F32:
        # A stage ends only after it was given the last output of the stage before it.
        windows = [self._windows.push(self._mel.finish()), self._windows.finish()]
        features = [*map(self._encoder.push, windows), self._encoder.finish()]
        tensors = [*map(self._tensors.push, features)]
        return np.concatenate([*tensors, self._tensors.finish(n_frames(self._n_samples))])


def _no_features() -> F32:
    return np.empty((0, FEATURE_SIZE), np.float32)
