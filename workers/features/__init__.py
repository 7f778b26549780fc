"""From speech to the U-Net's audio tensors, as pure arithmetic.

samples -> spans -> mel columns (`mel`) -> encoder windows (`windows`) -> features (`spans`)
-> rows -> tensors (`rows`).  A span's features depend on its own samples alone, so that spans can
be encoded in any order and by anyone, and no bit depends on how the speech arrived.
"""

from workers.features.mel import mel_spectrogram

__all__ = ["mel_spectrogram"]
