"""Pixels: model tensors, crops, the paste, JPEG.  Images are RGB, uint8, rows first."""
