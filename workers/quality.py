"""Qualities of JPEGs and of int8 models; the command line needs no more of us."""

DEFAULT_QUALITY = 90  #: of JPEGs, on libjpeg's scale
MAX_QUALITY = 95  #: libjpeg's authors: beyond, files grow and pictures do not get better
MIN_PSNR_DB = 40.0
"""Of int8 against float32: a hundredth of the full scale.  Models are 30 to 34 dB off the truth."""
