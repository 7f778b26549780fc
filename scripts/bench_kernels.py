"""Every kernel with every back end, losers included, each alone and its memory warm.

Milliseconds until it is done, on as many threads as stand there.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial

import numexpr
import numpy as np
from bench_material import FAMILY
from bench_rows import Row, row, table, wall_ms
from PIL import Image

from workers.arrays import F32, U8
from workers.kernels.backends import kernels
from workers.kernels.crop import NUMEXPR_SIDE_PX, cubic_taps, weighted_by_numpy
from workers.kernels.expressions import weighted_taps
from workers.kernels.paste import BICUBIC, feather_edges, feather_mask, hole_rect
from workers.kernels.reference import resize_bicubic
from workers.kernels.tensors import as_image, to_pixels

Versions = dict[tuple[str, int], tuple[Callable[[], object], bool]]
"""Back end and threads: what to call, and whether lipfarm does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=40)


def run(arguments: argparse.Namespace) -> list[Row]:
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for kernel, versions in (
        ("model output to pixels", output_to_pixels(rng)),
        ("resize to a box of 182", resizes(rng, 182)),
        ("resize to a box of 300", resizes(rng, 300)),
        ("mix a feather's edges, box 300", edges(rng, 300)),
        *((f"crop a box of {side}", crops(rng, side)) for side in (182, 300, 600, 1000, 2000)),
    ):
        ms = timed(versions, arguments.rounds)
        for (backend, threads), taken in ms.items():
            is_used = versions[backend, threads][1]
            keys = {"kernel": kernel, "backend": backend, "threads": threads, "is_used": is_used}
            rows.append(row(taken, "ms", **keys))
    return rows


def timed(versions: Versions, rounds: int) -> dict[tuple[str, int], float]:
    """In turns among those of as many threads: changing their number takes longer than a kernel."""
    ms: dict[tuple[str, int], float] = {}
    for n_threads in sorted({threads for _, threads in versions}):
        numexpr.set_num_threads(n_threads)
        works = {key: work for key, (work, _) in versions.items() if key[1] == n_threads}
        ms |= wall_ms(works, rounds=rounds)
    return {key: ms[key] for key in versions}


def output_to_pixels(rng: np.random.Generator) -> Versions:
    output = rng.random(FAMILY.output_shape, np.float32)
    cores = os.cpu_count() or 1
    return {
        ("numpy", 1): (partial(kernels("fastest").converter().rgbx, output), True),
        ("numpy, plain", 1): (partial(to_pixels, output[None]), False),
        ("numpy and Pillow's merge", 1): (partial(merged, output), False),
        ("numexpr", 1): (partial(kernels("numexpr").converter().rgbx, output), False),
        ("numexpr", cores): (partial(kernels("numexpr").converter().rgbx, output), False),
    }


def merged(output: F32) -> Image.Image:
    planes = (np.clip(output, 0, 1) * np.float32(255)).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes[::-1]])


def resizes(rng: np.random.Generator, side: int) -> Versions:
    canvas = rng.integers(0, 256, (328, 328, 4), dtype=np.uint8)
    image = as_image(canvas)
    return {
        ("pillow", 1): (partial(image.resize, (side, side), BICUBIC), True),
        ("numpy, plain", 1): (partial(resize_bicubic, canvas[..., :3], side), False),
        ("numexpr", os.cpu_count() or 1): (partial(four_taps, canvas[..., :3], side), False),
    }


def edges(rng: np.random.Generator, side: int) -> Versions:
    hole = hole_rect(side, FAMILY)
    old, new = rng.integers(0, 256, (2, hole.height, hole.width, 4), dtype=np.uint8)
    image, mouth = as_image(old).copy(), as_image(new)

    def paste_edges(backend: str) -> None:
        paste_mixed = kernels(backend).paste_mixed
        parts = [
            (edge, image.crop((edge.x0, edge.y0, edge.x1, edge.y1)), share)
            for edge, share in feather_edges(side, FAMILY)
        ]
        image.paste(mouth)
        for edge, own, share in parts:
            paste_mixed(image, own, (edge.x0, edge.y0), share)

    whole = partial(image.paste, mouth, (0, 0), feather_mask(side, FAMILY))
    return {
        ("pillow", 1): (partial(paste_edges, "fastest"), True),
        ("pillow, all masked", 1): (whole, False),
        ("numpy", 1): (partial(paste_edges, "numpy"), False),
        ("numexpr", 1): (partial(paste_edges, "numexpr"), False),
    }


def crops(rng: np.random.Generator, side: int) -> Versions:
    pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    takes_numexpr = side >= NUMEXPR_SIDE_PX
    by_numexpr = partial(cubic, weighted_taps, pixels)
    cores = os.cpu_count() or 1
    return {
        ("numpy", 1): (partial(cubic, weighted_by_numpy, pixels), not takes_numexpr),
        ("numexpr", 1): (by_numexpr, takes_numexpr and cores == 1),
        ("numexpr", cores): (by_numexpr, takes_numexpr),
    }


def cubic(sums: Callable[..., np.ndarray], pixels: U8) -> np.ndarray:
    taps, weights = cubic_taps(pixels.shape[0], FAMILY.canvas_px)
    return sums(sums(pixels, taps, weights).transpose(1, 0, 2), taps, weights)


def four_taps(pixels: U8, side: int) -> np.ndarray:
    """What a resize without antialiasing would cost."""
    taps, weights = cubic_taps(pixels.shape[0], side)
    return weighted_taps(weighted_taps(pixels, taps, weights).transpose(1, 0, 2), taps, weights)


def shown(rows: list[Row]) -> str:
    lines = []
    for r in rows:
        used = next(q["value"] for q in rows if q["kernel"] == r["kernel"] and q["is_used"])
        mark = "used" if r["is_used"] else ""
        ratio = f"{r['value'] / used:.1f}"
        lines.append((r["kernel"], r["backend"], r["threads"], r["value"], ratio, mark))
    return table(("kernel", "back end", "threads", "ms", "x used", ""), lines)
