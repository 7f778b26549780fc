"""JPEG qualities that are offered, on libjpeg's scale; the command line needs no more of us."""

DEFAULT_QUALITY = 90
MAX_QUALITY = 95  #: libjpeg's authors: beyond, files grow and pictures do not get better
