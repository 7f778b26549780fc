"""What benchmarks of pixels work on: one person at several sizes, and a model's output."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from farm.demo.avatar import draw_frame
from workers.arrays import U8
from workers.avatar import Bundle
from workers.avatar_compiler import compile_avatar
from workers.families import FAMILIES
from workers.geometry import Box
from workers.quality import DEFAULT_QUALITY

FAMILY = FAMILIES["synctalk-328-ave"]
NOISE_LEVELS = 2.0  #: standard deviation of a good camera's, in levels
PICTURES = ("noisy", "plain")


def picture(index: int, width_px: int, height_px: int, kind: str) -> U8:
    """A frame of the demo avatar, uint8 (H, W, 3), RGB; "noisy" as if from a camera."""
    drawn = Image.fromarray(draw_frame(index).image_rgb)
    frame = np.asarray(drawn.resize((width_px, height_px), Image.Resampling.LANCZOS))
    if kind == "plain":
        return frame
    noise = np.roll(_noise(frame.shape), 97 * index, axis=0)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.rint(np.random.default_rng(0).normal(0, NOISE_LEVELS, shape)).astype(np.int16)


def box_at(index: int, width_px: int, height_px: int, side_px: int) -> Box:
    """Around the mouth, and on another place of the JPEG's grid for each index."""
    middle_x, top = width_px // 2 + 5 * index, height_px * 55 // 100 - side_px // 2 + 3 * index
    return Box(middle_x - side_px // 2, top, side_px)


def bundle_of(
    frames: list[U8], boxes: list[Box], directory: Path, paste: str, quality: int = DEFAULT_QUALITY
) -> Bundle:
    templates = zip(frames, boxes, strict=True)
    compile_avatar(
        templates,
        directory,
        avatar_id="bench",
        source_version="1",
        family=FAMILY,
        paste=paste,
        quality=quality,
    )
    return Bundle(directory)


def painted_crops(bundle: Bundle, n: int) -> list[U8]:
    """As from a model: the first templates' crops, flatter inside; uint8 (C, C, 4), RGBX."""
    inner, every = FAMILY.inner, []
    for index in range(n):
        painted = np.pad(bundle.crop(index), [(0, 0), (0, 0), (0, 1)])
        mouth = painted[inner.y0 : inner.y1, inner.x0 : inner.x1]
        mouth[...] = 0.96 * mouth + 5
        every.append(painted)
    return every


@contextmanager
def scratch_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lipfarm-bench-") as directory:
        yield Path(directory)
