"""A long avatar at 1920x1080: its size, how soon it is open, and a compositor's memory with it.

The frames are the demo avatar's, as if from a camera.  A compositor's memory is its private
part, anonymous or dirty (/proc/self/smaps_rollup): the bundle's own pages are shared by all and
can be dropped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from bench_material import FAMILY, PICTURES, box_at, painted_crops, picture, scratch_directory
from bench_rows import Row, row, table

from workers.arrays import U8
from workers.avatar import Bundle
from workers.avatar_compiler import compile_avatar
from workers.compositor import CompositorWorker
from workers.frames import Finisher
from workers.geometry import Box
from workers.kernels.paste import PASTES
from workers.stages import StageTimes

WIDTH_PX, HEIGHT_PX = 1920, 1080
N_DRAWN = 25  #: frames that are drawn; shifted, they become as many as are wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--frames", type=int, default=10_000, help="that a compositor makes")
    parser.add_argument("--box", type=int, nargs="+", default=[182, 300])
    parser.add_argument("--paste", nargs="+", choices=PASTES, default=PASTES)
    parser.add_argument("--picture", choices=PICTURES, default="noisy")


def run(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    drawn = [picture(k, WIDTH_PX, HEIGHT_PX, arguments.picture) for k in range(N_DRAWN)]
    for side, paste in product(arguments.box, arguments.paste):
        with scratch_directory() as directory:
            keys = {"box": side, "paste": paste, "templates": arguments.templates}
            found = measured(drawn, side, paste, arguments, directory / "avatar")
            rows += [{**keys, **r} for r in found]
    return rows


def measured(
    drawn: list[U8], side: int, paste: str, arguments: argparse.Namespace, target: Path
) -> Iterator[Row]:
    spent_s = [0.0]
    begin = time.perf_counter()
    compile_avatar(
        timed(templates(drawn, side, arguments.templates), spent_s),
        target,
        avatar_id="bench",
        source_version="1",
        family=FAMILY,
        paste=paste,
    )
    elapsed_s = time.perf_counter() - begin - spent_s[0]
    yield row(arguments.templates / elapsed_s, "frames/s", measure="compiled")
    n_bytes = sum(file.stat().st_size for file in target.iterdir())
    yield row(n_bytes / 1e6, "MB", measure="bundle")
    yield row(1e3 * opening_s(target), "ms", measure="opened")
    written_back(target)
    memory = in_a_process(target, arguments.frames)
    yield row(memory["after_mb"], "MB", measure="compositor", frames=arguments.frames)
    growth = memory["after_mb"] - memory["before_mb"]
    yield row(growth, "MB", measure="compositor grows", frames=arguments.frames)


def timed(items: Iterator[Any], spent_s: list[float]) -> Iterator[Any]:
    """The items; how long making them took is added to ``spent_s[0]``."""
    while True:
        begin = time.perf_counter()
        item = next(items, None)
        spent_s[0] += time.perf_counter() - begin
        if item is None:
            return
        yield item


def templates(drawn: list[U8], side: int, n: int) -> Iterator[tuple[U8, Box]]:
    for index in range(n):
        box = box_at(index % 40, WIDTH_PX, HEIGHT_PX, side)
        yield np.roll(drawn[index % N_DRAWN], index // N_DRAWN, axis=1), box


def opening_s(directory: Path) -> float:
    def once() -> float:
        begin = time.perf_counter()
        Bundle(directory)
        return time.perf_counter() - begin

    return min(once() for _ in range(5))


def written_back(directory: Path) -> None:
    """Else pages of the page cache that wait for the disk look like dirty ones of who maps them."""
    for file in directory.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def in_a_process(directory: Path, n_frames: int) -> dict[str, float]:
    """Of a process that does what a compositor does, without its sockets."""
    command = [sys.executable, __file__, str(directory), str(n_frames)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    memory: dict[str, float] = json.loads(output)
    return memory


def composite(directory: Path, n_frames: int) -> dict[str, float]:
    """Private memory after the first second of video, and after ``n_frames`` more."""
    assert CompositorWorker, "all that a compositor imports is imported here"
    bundle = Bundle(directory)
    (painted,) = painted_crops(bundle, 1)
    finisher = Finisher(FAMILY, StageTimes())

    def frames(numbers: range) -> None:
        for frame in numbers:
            finisher.jpeg(bundle, frame, painted)

    frames(range(25))
    before_mb = private_mb()
    frames(range(25, 25 + n_frames))
    return {"before_mb": before_mb, "after_mb": private_mb()}


def private_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kb = {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    return max(kb["Anonymous"], kb["Private_Dirty"]) * 1024 / 1e6


def shown(rows: list[Row]) -> str:
    columns = ("templates", "box", "paste", "measure", "value", "unit")
    return table(columns, ([r[column] for column in columns] for r in rows))


if __name__ == "__main__":
    print(json.dumps(composite(Path(sys.argv[1]), int(sys.argv[2]))))
