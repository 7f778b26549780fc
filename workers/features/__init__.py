"""From speech to the U-Net's audio tensors, as pure arithmetic.

samples -> mel columns (`mel`) -> encoder windows -> feature rows -> tensors (`windows`).
Each step exists twice: for a whole file, and as a stream that takes any split of the same
input and gives bit-equal output in bounded memory (`stream`).
"""

from workers.features.mel import mel_spectrogram

__all__ = ["mel_spectrogram"]
