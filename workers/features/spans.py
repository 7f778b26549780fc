"""Cut speech into spans that can be encoded anywhere, in any order, each from its own samples.

A span is one full call of the audio encoder: 32 windows, 1.28 s.  A window thus always has the same
place in a call of the same shape, and a span's features are bit-equal whoever computes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from workers.arrays import F32
from workers.features.mel import HOP, N_MELS, mel_columns, n_columns, samples_under
from workers.features.windows import (
    WINDOW_COLUMNS,
    cut_windows,
    n_windows,
    padded_mel,
    window_start,
)

SPAN_WINDOWS = 32  #: enough for full speed; the features of a live stream wait this long

#: Encoder windows (32, 1, 80, 16) to features (32, 512), both float32.
Encode: TypeAlias = Callable[[F32], F32]

# The last windows of a file reach back, to its last 16 columns.
_REACH_BACK_SAMPLES = WINDOW_COLUMNS * HOP


@dataclass(frozen=True, slots=True)
class Span:
    """The samples of windows 32 ``index`` .. 32 ``index`` + 31, with what lies around them."""

    index: int
    first_sample: int  #: absolute
    samples: F32  #: shape (n,), about 1.5 s
    total_samples: int | None  #: of the whole speech; None: there is more behind this span


def span_features(span: Span, encode: Encode) -> F32:
    """The features of a span's windows, float32 (n, 512); n is 32 but for a speech's last span."""
    if span.total_samples is None:
        starts = [window_start(window) for window in _windows(span.index)]
        return encode(_encoder_input(span, starts, starts[-1] + WINDOW_COLUMNS))
    end = max(n_columns(span.total_samples), WINDOW_COLUMNS)
    windows = range(_windows(span.index).start, span_end(span.index, span.total_samples))
    starts = [min(window_start(window), end - WINDOW_COLUMNS) for window in windows]
    return encode(_encoder_input(span, starts, end))[: len(windows)]


def _encoder_input(span: Span, starts: list[int], end: int) -> F32:
    """The windows that begin at columns ``starts``, filled up to 32 with zeros."""
    stop = end if span.total_samples is None else n_columns(span.total_samples)
    first_column = min(starts[0], stop)
    mel = mel_columns(span.samples, span.first_sample, range(first_column, stop))
    windows = cut_windows(padded_mel(mel), [start - first_column for start in starts])
    filled = np.zeros((SPAN_WINDOWS, 1, N_MELS, WINDOW_COLUMNS), np.float32)
    filled[: len(windows)] = windows
    return filled


def _windows(index: int) -> range:
    return range(SPAN_WINDOWS * index, SPAN_WINDOWS * (index + 1))


def n_spans(total_samples: int) -> int:
    """Spans of a whole speech."""
    return -(-n_windows(n_columns(total_samples)) // SPAN_WINDOWS)


def span_end(index: int, total_samples: int) -> int:
    """One behind the last window of a span, in a speech of known length."""
    return min(_windows(index).stop, n_windows(n_columns(total_samples)))


def n_ready_spans(n_samples: int) -> int:
    """Spans that can be encoded now that ``n_samples`` have arrived and more may follow."""
    ready = max(0, n_spans(n_samples) - 2)
    while samples_under(_columns(ready)).stop <= n_samples:
        ready += 1
    return ready


def _columns(index: int) -> range:
    windows = _windows(index)
    return range(window_start(windows.start), window_start(windows.stop - 1) + WINDOW_COLUMNS)


def first_sample_needed(span: int) -> int:
    """The samples before this one tell nothing about the spans from ``span`` on."""
    return max(0, samples_under(_columns(span)).start - _REACH_BACK_SAMPLES)


class SpanCutter:
    """Samples in pieces of any size to spans, each as soon as it can be encoded.

    Holds no more than the samples that are not in a span yet, and the context of the next one.
    """

    def __init__(self, first_span: int = 0, first_sample: int = 0) -> None:
        """``first_span`` : those before are not wanted.

        ``first_sample`` : where the pushed samples begin, at most `first_sample_needed`.
        """
        self.n_samples = first_sample  #: arrived so far, with those left out in front
        self._next_span = first_span
        self._held = np.empty(0, np.float32)
        self._first_held = first_sample

    def push(self, samples: F32) -> list[Span]:
        """Take the next samples, float32 (n,); give the spans they complete."""
        self._held = np.concatenate([self._held, samples])
        self.n_samples += len(samples)
        ready = range(self._next_span, n_ready_spans(self.n_samples))
        spans = [self._cut(index, samples_under(_columns(index)), None) for index in ready]
        self._next_span = max(self._next_span, ready.stop)
        self._forget()
        return spans

    def finish(self) -> list[Span]:
        """Give the last spans: one, two, or none when nothing arrived."""
        if self.n_samples == 0:
            return []
        left = range(self._next_span, n_spans(self.n_samples))
        whole = range(self._first_held, self.n_samples)
        return [self._cut(index, whole, self.n_samples) for index in left]

    def _cut(self, index: int, wanted: range, total_samples: int | None) -> Span:
        first = max(wanted.start, 0)
        samples = self._held[first - self._first_held : wanted.stop - self._first_held]
        return Span(index, first, samples, total_samples)

    def _forget(self) -> None:
        needed = min(first_sample_needed(self._next_span), self.n_samples)
        keep_from = max(self._first_held, needed)
        self._held = self._held[keep_from - self._first_held :].copy()
        self._first_held = keep_from
