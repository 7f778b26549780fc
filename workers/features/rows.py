"""Features to the rows and tensors of frames, held no longer than they are needed."""

import numpy as np

from workers.arrays import F32
from workers.features.spans import SPAN_WINDOWS
from workers.features.windows import (
    FEATURE_SIZE,
    ROWS_AFTER,
    ROWS_BEFORE,
    TENSOR_ROWS,
    TENSOR_SHAPE,
)


class FeatureRows:
    """The feature rows of one speech, filled span by span in any order.

    Row 0 repeats the first feature, row k is feature k - 1, and the row behind the last feature
    repeats it.  Rows outside are zeros.
    """

    def __init__(self, first_span: int = 0) -> None:
        """``first_span`` : the spans before it will not come; see `first_span_needed`."""
        self._spans: dict[int, F32] = {}
        self._n_features: int | None = None
        self._n_joined = first_span  #: spans 0 .. n - 1 have all arrived
        self._dropped = first_span  #: spans 0 .. n - 1 were needed and are gone

    def add(self, span_index: int, features: F32) -> None:
        """Features of one span, float32 (n, 512).  The same span again is ignored."""
        if span_index >= self._dropped:
            self._spans.setdefault(span_index, features)
        while self._n_joined in self._spans:
            self._n_joined += 1

    def end(self, n_features: int) -> None:
        """The speech has ended and has this many features."""
        self._n_features = n_features

    @property
    def n_ready_frames(self) -> int:
        """Frames 0 .. n - 1 have all their rows; without end once the speech has ended."""
        n_joined = self._n_joined * SPAN_WINDOWS
        if self._n_features is not None and n_joined >= self._n_features:
            return 1 << 62
        return max(0, 1 + n_joined - ROWS_AFTER) if n_joined else 0

    def rows(self, frames: range) -> F32:
        """The rows around consecutive frames: float32 (n + 15, 512), frame i at i + 8."""
        wanted = range(frames.start - ROWS_BEFORE, frames.stop + ROWS_AFTER)
        picked = np.zeros((len(wanted), FEATURE_SIZE), np.float32)
        for k, row in enumerate(wanted):
            if row >= 0 and (self._n_features is None or row <= self._n_features + 1):
                picked[k] = self._feature(max(row - 1, 0))
        return picked

    def _feature(self, index: int) -> F32:
        if self._n_features is not None:
            index = min(index, self._n_features - 1)
        feature: F32 = self._spans[index // SPAN_WINDOWS][index % SPAN_WINDOWS]
        return feature

    def drop_before(self, frame_index: int) -> None:
        """Frames before this one will not be asked for again."""
        first_needed = max(0, frame_index - ROWS_BEFORE - 1)
        if self._n_features is not None:
            first_needed = min(first_needed, self._n_features - 1)
        while (self._dropped + 1) * SPAN_WINDOWS <= first_needed:
            self._spans.pop(self._dropped, None)
            self._dropped += 1


def first_span_needed(frame_index: int) -> int:
    """The first span that frames from ``frame_index`` on need, whenever the speech ends.

    One more than their rows reach back to: a speech's last rows repeat its last feature.
    """
    return max(0, (frame_index - ROWS_BEFORE - 1) // SPAN_WINDOWS - 1)


def audio_tensors(rows: F32, out: F32 | None = None) -> F32:
    """Rows around n frames, float32 (n + 15, 512), to tensors, float32 (n, 32, 16, 16).

    ``out`` : where to put them, C-contiguous; None for new memory.
    """
    every = np.lib.stride_tricks.sliding_window_view(rows, TENSOR_ROWS, axis=0).transpose(0, 2, 1)
    tensors: F32 = np.empty((len(every), *TENSOR_SHAPE), np.float32) if out is None else out
    tensors.reshape(every.shape)[...] = every
    return tensors
