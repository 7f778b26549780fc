"""Samples to mel columns, bit-equal however the samples arrive.

Columns are computed in blocks of one fixed size aligned to absolute columns, because the last
bits of vectorised arithmetic may depend on how many rows it is given.  The band sums avoid BLAS
for the same reason: a matrix product's last bits depend on its row count and its threads.

Numbers: SyncTalk_2D's ``audio.py`` and ``hparams``, with the window and padding of librosa.
"""

from functools import cache

import numpy as np

from workers.arrays import F32, F64, I64

SAMPLE_RATE_HZ = 16_000
N_FFT = 800  #: samples; also the window length
HOP = 200  #: samples between columns: 80 columns a second
PAD = N_FFT // 2  #: zeros in front and behind, so that column c is centred on sample 200 c
N_MELS = 80
MIN_HZ, MAX_HZ = 55.0, 7600.0
PREEMPHASIS = 0.97
MIN_AMPLITUDE = 1e-5  #: -100 dB: the floor of the level, and what silence becomes
REFERENCE_DB = 20.0
MIN_LEVEL_DB = -100.0
MAX_ABS = 4.0  #: columns are normalised to -4..4
SILENCE = -MAX_ABS
BLOCK = 16  #: columns a block: 0.2 s, so that a live stream waits little
BLOCK_HOP = BLOCK * HOP  #: samples between blocks
BLOCK_SAMPLES = (BLOCK - 1) * HOP + N_FFT  #: samples under one block's windows


def n_columns(n_samples: int) -> int:
    """Mel columns of a whole file of ``n_samples`` samples."""
    return 1 + n_samples // HOP


def mel_spectrogram(samples: F32) -> F32:
    """The normalised mel spectrogram of a whole file.

    Parameters
    ----------
    samples : float32, shape (N,), mono at 16 kHz, about -1..1, N >= 1.  Not modified.

    Returns
    -------
    float32, shape (1 + N // 200, 80), time first, in -4..4; silence is exactly -4.

    Agrees within 1e-4 with ``librosa.stft(center=True, pad_mode="constant")`` and
    ``librosa.filters.mel`` (tests/unit/workers/test_mel.py).
    """
    stream = MelStream()
    return np.concatenate([stream.push(samples), stream.finish()])


class MelStream:
    """The same columns from samples in any split, each as soon as its block is complete.

    Holds less than one block of samples between calls.
    """

    def __init__(self) -> None:
        self._n_samples = 0
        self._n_columns = 0
        self._previous: float | None = None
        self._pending = np.zeros(PAD, np.float64)  # begins where the next block's first window does

    def push(self, samples: F32) -> F32:
        """Take the next samples, float32 (n,); give the columns they complete, float32 (m, 80)."""
        if len(samples) == 0:
            return _no_columns()
        self._pending = np.append(self._pending, _emphasise(samples, self._previous))
        self._previous = float(samples[-1])
        self._n_samples += len(samples)
        n_blocks = max(0, (len(self._pending) - BLOCK_SAMPLES) // BLOCK_HOP + 1)
        return self._take(n_blocks)

    def finish(self) -> F32:
        """Give the last columns, computed with zeros behind the last sample."""
        missing = n_columns(self._n_samples) - self._n_columns
        n_blocks = -(-missing // BLOCK)
        self._pending = np.append(self._pending, np.zeros(n_blocks * BLOCK_HOP + N_FFT))
        return self._take(n_blocks)[:missing]

    def _take(self, n_blocks: int) -> F32:
        starts = range(0, n_blocks * BLOCK_HOP, BLOCK_HOP)
        blocks = [_mel_block(self._pending[s : s + BLOCK_SAMPLES]) for s in starts]
        self._pending = self._pending[n_blocks * BLOCK_HOP :].copy()
        self._n_columns += n_blocks * BLOCK
        return np.concatenate([_no_columns(), *blocks])


def _no_columns() -> F32:
    return np.empty((0, N_MELS), np.float32)


def _emphasise(samples: F32, previous: float | None) -> F64:
    """Lift the treble: y[n] = x[n] - 0.97 x[n-1], in float64.

    ``previous`` is the sample before the first one, None at the start of a file: y[0] = x[0].
    """
    x = samples.astype(np.float64)
    emphasised = x.copy()
    emphasised[1:] -= PREEMPHASIS * x[:-1]
    if previous is not None and len(x):
        emphasised[0] -= PREEMPHASIS * previous
    return emphasised


def _mel_block(emphasised: F64) -> F32:
    """One block of columns.

    ``emphasised`` : float64, shape (BLOCK_SAMPLES,), beginning 400 samples before the block's
    first centre, zeros outside the file.  Returns float32, shape (BLOCK, 80), in -4..4.
    """
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, N_FFT)[::HOP]
    spectrum = np.fft.rfft(frames * _hann(), axis=1)
    magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2)
    bands = _mel_bands()
    mel = np.add.reduceat(magnitude[:, bands.bins] * bands.weights, bands.starts, axis=1)
    level_db = 20.0 * np.log10(np.maximum(MIN_AMPLITUDE, mel)) - REFERENCE_DB
    scaled = 2 * MAX_ABS * (level_db - MIN_LEVEL_DB) / -MIN_LEVEL_DB - MAX_ABS
    return np.clip(scaled, -MAX_ABS, MAX_ABS).astype(np.float32)


@cache
def _hann() -> F64:
    """The periodic Hann window; the symmetric one errs by 0.03 in the result."""
    window: F64 = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    return window


class _MelBands:
    """The filter bank as runs of (bin, weight), band after band.

    Triangles overlap in pairs, so 80 bands touch about 760 bins, not 80 x 401.
    """

    def __init__(self, filters: F64) -> None:
        band_of, bins = np.nonzero(filters)
        self.bins: I64 = bins
        self.weights: F64 = filters[band_of, bins]
        self.starts: I64 = np.searchsorted(band_of, np.arange(len(filters)))
        assert len(np.unique(band_of)) == len(filters), "an empty band would break reduceat"


@cache
def _mel_bands() -> _MelBands:
    return _MelBands(mel_filters())


def mel_filters() -> F64:
    """The mel filter bank: float64, shape (80, 401), Slaney's scale, each triangle of area 1."""
    bin_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, 1 + N_FFT // 2)
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(MIN_HZ), _hz_to_mel(MAX_HZ), N_MELS + 2))
    low, centre, high = (edges_hz[k : k + N_MELS, None] for k in range(3))
    rising = (bin_hz - low) / (centre - low)
    falling = (high - bin_hz) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters: F64 = triangles * 2 / (high - low)
    return filters


# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz, logarithmic above.
_HZ_PER_MEL = 200 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_PER_MEL
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: F64) -> F64:
    above: F64 = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, above)
