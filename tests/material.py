"""What tests are made from: speech, small avatars, comparisons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from farm.media.audio import open_speech
from workers.arrays import F32, U8
from workers.avatar import Bundle
from workers.avatar_compiler import compile_avatar
from workers.families import FAMILIES
from workers.geometry import Box
from workers.model import Model
from workers.sequential import render
from workers.stages import StageTimes

FAMILY = FAMILIES["synctalk-328-ave"]
EDGE_BOXES = (Box(-30, 60, 182), Box(230, -21, 201), Box(180, 150, 340), Box(101, 43, 97))
EDGE_WIDTH_PX, EDGE_HEIGHT_PX = 361, 243


def read_speech(path: Path) -> F32:
    with open_speech(str(path)) as reader:
        return np.concatenate([span.speech for span in reader.spans()])


def noise_avatar(
    directory: Path, boxes: Sequence[Box] = EDGE_BOXES, *, paste: str = "feather"
) -> Bundle:
    """A bundle of coloured clouds, bluish and reddish in turn, with no black in them."""
    templates = zip(clouds(len(boxes)), boxes, strict=True)
    compile_avatar(
        templates,
        directory,
        avatar_id="noise",
        source_version="1",
        family=FAMILY,
        paste=paste,
    )
    return Bundle(directory)


def two_avatars(data: Path) -> None:
    """Anna and Ben, of different length, where a farm with this data directory finds them."""
    noise_avatar(data / "avatars" / "anna")
    noise_avatar(data / "avatars" / "ben", EDGE_BOXES[2:])


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job, and what must come of it."""

    avatar: str
    speech: F32
    frames: list[bytes]


def wanted(data: Path, avatar: str, speech: F32, model: Model) -> Wanted:
    return Wanted(avatar, speech, expected(data, avatar, speech, model))


def expected(
    data: Path, avatar: str, speech: F32, model: Model, *, quality: int | None = None
) -> list[bytes]:
    """A job's frames as the sequential renderer makes them: every farm's oracle."""
    bundle = Bundle(data / "avatars" / avatar)
    return list(render([speech], bundle, model, batch_size=8, times=StageTimes(), quality=quality))


def clouds(n: int, width: int = EDGE_WIDTH_PX, height: int = EDGE_HEIGHT_PX) -> Iterator[U8]:
    """Smooth frames, uint8 (height, width, 3), RGB, 30..225."""
    y, x = np.mgrid[:height, :width]
    for k in range(n):
        waves = [np.sin(x / (31 + 5 * c + k)) + np.cos(y / (23 + 3 * c) + k) for c in range(3)]
        yield (127 + 48 * np.stack(waves, -1)).astype(np.uint8)


def in_pieces(samples: F32, rng: np.random.Generator, longest: int) -> Iterator[F32]:
    """The same samples in pieces of uneven sizes, empty ones among them."""
    begin = 0
    while begin < len(samples):
        end = begin + int(rng.integers(0, longest + 1))
        yield samples[begin:end]
        begin = end


def psnr_db(a: U8, b: U8) -> float:
    """Peak signal to noise of two pictures; 99 when they are equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)
