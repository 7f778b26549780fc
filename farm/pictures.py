"""Read a picture file as the tools that made it showed it: 8-bit RGB, upright."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from farm.errors import SourceUnusable
from workers.arrays import U8
from workers.manifest import MAX_SIDE_PX

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}
"""The endings of picture files, with Pillow's names for the formats: any of them is read under any
of the endings, as OpenCV does, and no other."""

LYING = (5, 6, 7, 8)  #: the values of Exif's Orientation for a picture on its side

_WIDE_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes for 16-bit grey; it would cut them off at 255 by itself."""

#: What Pillow raises for damaged files, beside OSError.
_DAMAGED = (
    SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels of what ``read_rgb`` gives, from the file's header alone."""
    with _opened(path) as picture:
        return _upright_size(picture)


def read_rgb(path: Path) -> U8:
    """The picture, uint8 (H, W, 3), RGB; transparency is dropped, as OpenCV drops it.

    Raises SourceUnusable, which names the file, when it is unreadable or too large.
    """
    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in _WIDE_GREY:
            grey = np.clip(np.asarray(upright, dtype=np.int64), 0, 65_535)
            return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
        return np.asarray(upright.convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            # Pillow warns of sides that are within our limit, and of odd metadata.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=sorted(set(SUFFIXES.values()))) as picture:
                if max(picture.size) > MAX_SIDE_PX:
                    width, height = picture.size
                    raise SourceUnusable(
                        f"{path}: {width}x{height} pixels, at most {MAX_SIDE_PX} a side are read"
                    )
                yield picture
    except UnidentifiedImageError as error:
        raise SourceUnusable(f"{path}: is no picture that can be read{_lacking(path)}") from error
    except OSError as error:
        raise SourceUnusable(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGED as error:
        raise SourceUnusable(f"{path}: cannot be read ({error})") from error


def _lacking(path: Path) -> str:
    """Pillow-SIMD is compiled on the spot, without what the machine did not have."""
    if path.suffix.lower() == ".webp" and not features.check("webp"):
        return ": Pillow was built without WebP here; make PNGs of them"
    return ""


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    return (height, width) if _orientation(picture) in LYING else (width, height)


def _orientation(picture: Image.Image) -> object:
    if picture.format == "PNG" and "exif" not in picture.info:
        return None  # getexif would decode all of it, to look behind the pixels
    return picture.getexif().get(ExifTags.Base.Orientation)
