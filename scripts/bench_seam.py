"""How visible the mouth's edge is, against the template frame's own pixels.

For each side of the hole, or of the box, and each place k along its normal, from ``OUTSIDE_PX``
outside to the end of the feather inside: the mean of |p[k + 1] - p[k]| over the side's length and
the channels.  The largest of these is the side's step.  ``ratio`` is the largest step of all
finished frames over the largest of their templates.

The demo and the tiny model repeat the crop near the hole's edge; "lighter" is the demo model with
an error of colour, LIGHTER_LEVELS in every pixel, as real ones have it.
"""

import argparse
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from bench_material import FAMILY, scratch_directory
from bench_rows import Row, row, table, value

from farm.demo.avatar import N_TEMPLATES, draw_frame
from farm.media.audio import open_speech
from farm.paths import DEMO_MODEL, DEMO_SPEECH, TINY_MODEL
from workers.arrays import F32, U8
from workers.avatar import Bundle
from workers.avatar_compiler import compile_avatar
from workers.frames import Finisher
from workers.geometry import Rect, template_index
from workers.kernels.paste import FEATHER_CANVAS_PX, PASTES, changed_rect
from workers.model import Model
from workers.sequential import batches, paint
from workers.stages import StageTimes

MODELS = {"demo": DEMO_MODEL, "tiny": TINY_MODEL}
OUTSIDE_PX = 2
LIGHTER_LEVELS = np.uint8(8)
N_FRAMES = 100
KINDS = ("model", "paste", "edge")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=N_FRAMES)


def run(arguments: argparse.Namespace) -> list[Row]:
    with scratch_directory() as directory:
        return list(measured(directory, arguments.frames))


def measured(directory: Path, n_frames: int) -> Iterator[Row]:
    """The demo avatar says the demo speech."""
    drawn = [draw_frame(k) for k in range(min(n_frames, N_TEMPLATES))]
    bundles = {}
    for paste in PASTES:
        compile_avatar(
            [(frame.image_rgb, frame.box) for frame in drawn],
            directory / paste,
            avatar_id="seam",
            source_version="1",
            family=FAMILY,
            paste=paste,
        )
        bundles[paste] = Bundle(directory / paste)
    templates = [frame.image_rgb for frame in drawn]
    said = {
        name: list(paintings(Model.load(path), bundles["hard"], n_frames))
        for name, path in MODELS.items()
    }
    said["lighter"] = [(n, lighter(painted)) for n, painted in said["demo"]]
    for model, paste, edge in product(said, PASTES, ("hole", "box")):
        finished, own = steps(bundles[paste], templates, said[model], edge)
        keys = {"model": model, "paste": paste, "edge": edge, "frames": n_frames}
        yield row(finished.max(), "levels", measure="largest step", **keys)
        yield row(own.max(), "levels", measure="of the templates", **keys)
        yield row(finished.max() / own.max(), "times", measure="ratio", **keys)
        yield row((finished / own).max(), "times", measure="worst of one side", **keys)


def lighter(painted: U8) -> U8:
    """The mouth alone: the crop's rim is the template's own."""
    inner, result = FAMILY.inner, painted.copy()
    mouth = result[inner.y0 : inner.y1, inner.x0 : inner.x1]
    mouth[...] = np.minimum(mouth, 255 - LIGHTER_LEVELS) + LIGHTER_LEVELS
    return result


def paintings(model: Model, bundle: Bundle, n_frames: int) -> Iterator[tuple[int, U8]]:
    with open_speech(str(DEMO_SPEECH)) as reader:
        speech: F32 = np.concatenate([span.speech for span in reader.spans()])
    speech = np.resize(speech, 640 * n_frames)
    for batch in batches([speech], model, batch_size=8, times=StageTimes()):
        yield from paint(batch, bundle, model, StageTimes())


def steps(
    bundle: Bundle, templates: list[U8], mouths: list[tuple[int, U8]], edge: str
) -> tuple[np.ndarray, np.ndarray]:
    """Of finished frames and of their templates: shape (n, 4), levels."""
    finisher = Finisher(FAMILY, StageTimes())
    finished, own = [], []
    for frame, mouth in mouths:
        index = template_index(frame, len(templates))
        at, box = bundle.patch_rect(index), bundle.box(index)
        picture = templates[index].copy()
        patch = np.asarray(finisher.patch(bundle, frame, mouth))
        picture[at.y0 : at.y1, at.x0 : at.x1] = patch[..., :3]
        sides = changed_rect(box, "feather", FAMILY) if edge == "hole" else box.rect
        band_px = round(FEATHER_CANVAS_PX * box.side / FAMILY.canvas_px)
        finished.append(side_steps(picture, sides, band_px))
        own.append(side_steps(templates[index], sides, band_px))
    return np.array(finished), np.array(own)


def side_steps(picture: U8, sides: Rect, band_px: int) -> list[float]:
    """The largest mean step across the band at each of ``sides``, in levels.

    ``sides`` : at least OUTSIDE_PX inside ``picture``.
    """
    rows = slice(sides.y0 - OUTSIDE_PX, sides.y1 + OUTSIDE_PX)
    columns = slice(sides.x0 - OUTSIDE_PX, sides.x1 + OUTSIDE_PX)
    around = picture[rows, columns].astype(np.float64)
    turned = [np.rot90(around, turns) for turns in range(4)]
    lines = [side[: OUTSIDE_PX + band_px + 1, OUTSIDE_PX:-OUTSIDE_PX] for side in turned]
    return [max(np.abs(b - a).mean() for a, b in pairwise(side)) for side in lines]


def shown(rows: list[Row]) -> str:
    measures = list(dict.fromkeys(r["measure"] for r in rows))
    kinds = dict.fromkeys((r["model"], r["paste"], r["edge"]) for r in rows)
    lines = [
        (*kind, *(value(rows, **dict(zip(KINDS, kind, strict=True)), measure=m) for m in measures))
        for kind in kinds
    ]
    return table((*KINDS, *measures), lines)
