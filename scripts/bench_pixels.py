"""What a frame costs once its mouth is there, against the same work with OpenCV.

All paths get the same frames, boxes and model output, and take turns in one run:

    spliced   lipfarm's: only the patch around the mouth is encoded
    whole     lipfarm's, where a job wants another quality: decode, paste, encode
    opencv    bench_opencv's quickest variant; its mouths have no feather

All begin with pixels: what turns a model's floats into them is part of its graph.
"""

import argparse
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from bench_material import (
    FAMILY,
    PICTURES,
    box_at,
    bundle_of,
    painted_crops,
    picture,
    scratch_directory,
)
from bench_opencv import OpenCvPath, variants
from bench_rows import Row, cpu_ms, row, table, value
from PIL import Image

from workers.avatar import Bundle
from workers.frames import Finisher
from workers.stages import StageTimes

SIZES = ((1280, 720), (1920, 1080), (3840, 2160))
SIDES = (182, 300)
N_TEMPLATES = 8
WALKS = 4  #: through the templates in a turn: the first one finds the caches as others left them
ALL_CORES_S = 1.5

Work = Callable[[int], bytes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quality", type=int, default=90, help="of all JPEGs (default: 90)")
    parser.add_argument("--quick", action="store_true", help="1920x1080 from a camera, box 300")
    parser.add_argument("--rounds", type=int, default=9, help="in which all take turns")


def run(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    cases = list(product(PICTURES, SIZES, SIDES))
    if arguments.quick:
        cases = [("noisy", (1920, 1080), 300)]
    for kind, size, side in cases:
        with scratch_directory() as directory:
            case = Case(directory, kind, size, side, arguments.quality)
            rows += [{"picture": kind, **r} for r in case.rows(arguments.rounds)]
    return rows


class Case:
    """One frame size and one box; ``rows`` measures all paths on it."""

    def __init__(
        self, directory: Path, kind: str, size: tuple[int, int], side: int, quality: int
    ) -> None:
        self.quality = quality
        self.keys = {"frame": f"{size[0]}x{size[1]}", "box": side, "quality": quality}
        self.frames = [picture(i, *size, kind) for i in range(N_TEMPLATES)]
        self.boxes = [box_at(i, *size, side) for i in range(N_TEMPLATES)]
        self.bundles = {
            paste: bundle_of(self.frames, self.boxes, directory / paste, paste, quality)
            for paste in ("hard", "feather")
        }
        self.painted = painted_crops(self.bundles["hard"], N_TEMPLATES)

    def rows(self, rounds: int) -> Iterator[Row]:
        works: dict[tuple[str, str], Work] = {}
        works["opencv", "hard"], variant_rows = self._opencv()
        yield from variant_rows
        for paste, bundle in self.bundles.items():
            works["spliced", paste] = self._ours(bundle, None)
        works["whole", "hard"] = self._ours(self.bundles["hard"], self.quality - 1)
        ms = cpu_ms({name: partial(turn, work) for name, work in works.items()}, rounds=rounds)
        for (path, paste), taken in ms.items():
            keys = {**self.keys, "path": path, "paste": paste}
            yield row(taken / WALKS / N_TEMPLATES, "ms/frame", **keys)
            if path != "whole":
                rate = frames_per_s(works[path, paste])
                yield row(rate, "frames/s", **keys, cores=os.cpu_count())
        yield from self._sizes()

    def _ours(self, bundle: Bundle, quality: int | None) -> Work:
        finisher = Finisher(FAMILY, StageTimes())
        return lambda i: finisher.jpeg(bundle, i, self.painted[i], quality)

    def _opencv(self) -> tuple[Work, list[Row]]:
        bgr_frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in self.frames]
        crops = [self.bundles["hard"].crop(i)[..., ::-1].copy() for i in range(N_TEMPLATES)]
        inner = np.s_[FAMILY.inner.y0 : FAMILY.inner.y1, FAMILY.inner.x0 : FAMILY.inner.x1]
        mouths = [np.ascontiguousarray(painted[inner][..., 2::-1]) for painted in self.painted]
        paths = variants(bgr_frames, crops, self.boxes, self.quality)
        ms = cpu_ms(
            {n: partial(turn, work_of(path, mouths)) for n, path in enumerate(paths)}, rounds=3
        )
        best = paths[min(ms, key=lambda n: ms[n])]
        keys = {**self.keys, "path": "opencv variant"}
        rows = [
            row(ms[n] / WALKS / N_TEMPLATES, "ms/frame", **keys, variant=path.name)
            for n, path in enumerate(paths)
        ]
        return work_of(best, mouths), rows

    def _sizes(self) -> Iterator[Row]:
        for paste, bundle in self.bundles.items():
            spliced = self._ours(bundle, None)
            jpegs = [spliced(i) for i in range(N_TEMPLATES)]
            finished = [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in jpegs]
            keys = {**self.keys, "path": "spliced", "paste": paste}
            yield row(float(np.mean([*map(len, jpegs)])), "bytes/frame", **keys)
            for name, options in OPTIMAL.items():
                sizes = [len(encoded(image, self.quality, options)) for image in finished]
                yield row(float(np.mean(sizes)), "bytes/frame", **{**keys, "path": name})
            n_bytes = sum(file.stat().st_size for file in bundle.directory.iterdir())
            yield row(n_bytes / N_TEMPLATES, "bundle bytes/template", **keys)
            yield row(bundle.manifest.interval, "MCUs/segment", **keys)


OPTIMAL: dict[str, dict[str, bool]] = {
    "no restart markers": {},
    "no restart markers, optimised tables": {"optimize": True},
}


def encoded(image: Image.Image, quality: int, options: dict[str, bool]) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling="4:2:0", **options)
    return out.getvalue()


def work_of(path: OpenCvPath, mouths: list[np.ndarray]) -> Work:
    return lambda i: path.jpeg(i, mouths[i])


def turn(work: Work) -> None:
    for _ in range(WALKS):
        all_frames(work)


def all_frames(work: Work) -> None:
    for i in range(N_TEMPLATES):
        work(i)


def frames_per_s(work: Work) -> float:
    """With a process on each core, all doing the same."""
    fork = multiprocessing.get_context("fork")
    counts, start = fork.SimpleQueue(), fork.Barrier(os.cpu_count() or 1)

    def count() -> None:
        all_frames(work)
        start.wait(timeout=60)
        n, begin = 0, time.perf_counter()
        while (elapsed_s := time.perf_counter() - begin) < ALL_CORES_S:
            all_frames(work)
            n += N_TEMPLATES
        counts.put(n / elapsed_s)

    processes = [fork.Process(target=count) for _ in range(os.cpu_count() or 1)]
    for process in processes:
        process.start()
    rates = [counts.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rates)


def shown(rows: list[Row]) -> str:
    times = [r for r in rows if r["unit"] == "ms/frame" and r["path"] != "opencv variant"]
    titles = ("picture", "frame", "box", "path", "ms/frame", "x opencv", "frames/s", "x")
    lines = []
    for r in times:
        keys = {k: v for k, v in r.items() if k not in ("value", "unit")}
        theirs = {**keys, "path": "opencv", "paste": "hard"}
        rate = value(rows, unit="frames/s", **keys)
        their_ms = value(rows, unit="ms/frame", **theirs)
        their_rate = value(rows, unit="frames/s", **theirs)
        lines.append(
            (
                *(r[key] for key in ("picture", "frame", "box")),
                r["path"] if r["path"] == "opencv" else f"{r['path']} {r['paste']}",
                r["value"],
                times_better(their_ms, r["value"]),
                rate and round(rate),
                times_better(rate, their_rate),
            )
        )
    return "\n\n".join(
        (
            "One core (its CPU time), and all cores:\n\n" + table(titles, lines),
            "Variants of opencv; the quickest one stands above:\n\n" + shown_variants(rows),
            "Bytes of a JPEG, and of a template in its bundle:\n\n" + shown_sizes(rows),
        )
    )


def times_better(larger: float | None, smaller: float | None) -> str | None:
    return f"{larger / smaller:.2f}" if larger and smaller else None


def shown_variants(rows: list[Row]) -> str:
    found = [r for r in rows if r["path"] == "opencv variant"]
    names = ("picture", "frame", "box", "variant", "value")
    titles = (*names[:-1], "ms/frame")
    return table(titles, ([r[name] for name in names] for r in found))


def shown_sizes(rows: list[Row]) -> str:
    lines = []
    for r in rows:
        if r["unit"] != "bundle bytes/template":
            continue
        keys = {k: r[k] for k in ("picture", "frame", "box", "quality", "paste")}
        sizes = [
            value(rows, unit="bytes/frame", path=path, **keys) for path in ("spliced", *OPTIMAL)
        ]
        interval = value(rows, unit="MCUs/segment", path="spliced", **keys)
        shares = [f"{100 * sizes[0] / size - 100:+.1f} %" for size in sizes[1:]]
        shown_keys = [keys[k] for k in ("picture", "frame", "box", "paste")]
        lines.append((*shown_keys, int(interval), int(sizes[0]), *shares, int(r["value"])))
    titles = ("picture", "frame", "box", "paste", "interval", "bytes", "over plain", "over optimal")
    return table((*titles, "bundle/template"), lines)
