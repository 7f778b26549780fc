"""What computes: audio features, inference, pixels.  Never imports ``farm``."""
