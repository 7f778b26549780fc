"""Samples to mel columns, bit-equal for a whole file and for any part of it.

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
BLOCK = 16  #: columns a block: 0.2 s, so that a part of a file computes little more than itself
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
    return mel_columns(samples, 0, range(n_columns(len(samples))))


def mel_columns(samples: F32, first_sample: int, columns: range) -> F32:
    """Some columns of a file from the samples around them.

    Parameters
    ----------
    samples : float32, shape (n,): samples ``first_sample`` and on of the file.  They must hold
        ``samples_under(columns)``, as far as the file does.
    columns : absolute.

    Returns
    -------
    float32, shape (len(columns), 80), bit-equal to these columns of the whole file.
    """
    emphasised, first = _emphasise(samples, first_sample)
    blocks = range(columns.start // BLOCK, -(-columns.stop // BLOCK))
    starts = [block * BLOCK_HOP - PAD - first for block in blocks]
    mel = [_mel_block(_cut(emphasised, start, BLOCK_SAMPLES)) for start in starts]
    skipped = columns.start - blocks.start * BLOCK
    return np.concatenate(mel)[skipped : skipped + len(columns)]


def samples_under(columns: range) -> range:
    """The samples that ``columns`` depend on, absolute; may begin before the file does."""
    before = PAD + 1  # the pre-emphasis looks one sample back
    return range(columns.start * HOP - before, (columns.stop - 1) * HOP + PAD)


def _emphasise(samples: F32, first_sample: int) -> tuple[F64, int]:
    """Lift the treble, y[n] = x[n] - 0.97 x[n-1] in float64; gives y and where it begins.

    y[0] = x[0] at the start of a file; elsewhere the first sample only serves the second.
    """
    x = samples.astype(np.float64)
    lifted = x[1:] - PREEMPHASIS * x[:-1]
    if first_sample == 0:
        return np.concatenate([x[:1], lifted]), 0
    return lifted, first_sample + 1


def _cut(emphasised: F64, start: int, length: int) -> F64:
    """``length`` values from ``start`` on, which may be negative; zeros outside."""
    cut = np.zeros(length, np.float64)
    low, high = max(start, 0), min(start + length, len(emphasised))
    if low < high:
        cut[low - start : high - start] = emphasised[low:high]
    return cut


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
