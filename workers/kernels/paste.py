"""Prediction to finished frame, in Pillow images: the work of a compositor."""

import io

from PIL import Image

from workers.arrays import U8
from workers.geometry import Box, Rect

JPEG_QUALITY = 90
CHROMA_420 = 2  #: Pillow's name for 4:2:0


def paste_prediction(
    frame: U8, canvas: U8, prediction: U8, *, inner: Rect, box: Box
) -> Image.Image:
    """Put a mouth back into its template frame (``paste = "hard"``).

    Parameters
    ----------
    frame : uint8, shape (H, W, 3), RGB.  Not modified.
    canvas : uint8, shape (C, C, 3), RGB: the crop the prediction was made from.
    prediction : uint8, shape (S, S, 3), RGB.
    inner : the S x S rectangle of the canvas that the prediction replaces.
    box : where the canvas came from.  Only the part inside the frame is written.

    Returns
    -------
    The frame as an RGB image, equal to ``frame`` outside ``box``.  The canvas is resized by
    Pillow's BICUBIC: a = -0.5, antialiased when it shrinks.
    """
    face = Image.fromarray(canvas)
    face.paste(Image.fromarray(prediction), (inner.x0, inner.y0))
    face = face.resize((box.side, box.side), Image.Resampling.BICUBIC)
    image = Image.fromarray(frame)
    visible = box.rect.clipped_to(*image.size)
    # Clamped before Pillow sees it: 12.1.1 writes out of bounds for huge boxes (CVE-2026-59199).
    patch = visible.moved(-box.x, -box.y)
    image.paste(face.crop((patch.x0, patch.y0, patch.x1, patch.y1)), (visible.x0, visible.y0))
    return image


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """A baseline JPEG, 4:2:0, standard Huffman tables."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=CHROMA_420)
    return out.getvalue()
