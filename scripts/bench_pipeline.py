"""The demo avatar through a farm and through the sequential renderer, in one run.

Milliseconds a frame per stage, CPU per process, the broker's share, and the bytes that are copied
for a frame.
"""

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench_material import box_at, bundle_of, picture, scratch_directory
from bench_rows import Row, row, table

from farm.avatars import find_avatar
from farm.client import Client, JobSpec
from farm.embedded import embedded_farm
from farm.media.audio import open_speech
from farm.paths import DEMO_MODEL, DEMO_SPEECH, NULL_MODEL, TINY_MODEL, user_paths
from workers.arrays import F32
from workers.avatar import Bundle
from workers.families import FAMILIES
from workers.frames import Finisher, crops_of
from workers.model import Model
from workers.sequential import render
from workers.stages import StageTimes

MODELS = {"null": NULL_MODEL, "tiny": TINY_MODEL, "demo": DEMO_MODEL}
N_TEMPLATES, SIDE_PX = 12, 182


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=4, help="at a time (default: 4)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of speech a job")
    parser.add_argument("--compositors", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument(
        "--frame",
        type=frame_size,
        help="WIDTHxHEIGHT of another avatar, from a camera, its boxes 182 pixels wide",
    )


def run(arguments: argparse.Namespace) -> list[Row]:
    with scratch_directory() as directory:
        return run_with(_avatar(arguments.frame, directory), arguments)


def frame_size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def _avatar(size: tuple[int, int] | None, directory: Path) -> Bundle:
    if size is None:
        return find_avatar("demo", user_paths(), on_template=lambda: None)
    frames = [picture(i, *size, "noisy") for i in range(N_TEMPLATES)]
    boxes = [box_at(i, *size, SIDE_PX) for i in range(N_TEMPLATES)]
    return bundle_of(frames, boxes, directory / "avatar", "feather")


def run_with(bundle: Bundle, arguments: argparse.Namespace) -> list[Row]:
    speech = demo_speech(arguments.seconds)
    keys = {
        "compositors.count": arguments.compositors,
        "inference.batch_size": arguments.batch_size,
        "limits.max_jobs_per_client": max(64, arguments.jobs),
        "model.directory": str(MODELS[arguments.model]),
    }
    with embedded_farm(bundle.directory, keys) as client:
        run_jobs(client.url, [speech[:32_000]])
        with cpu_by_process() as cpu_s:
            begin = time.perf_counter()
            done = run_jobs(client.url, [speech] * arguments.jobs)
            elapsed_s = time.perf_counter() - begin
    n_frames = sum(job["frames"] for job in done)
    stage_ms: dict[str, float] = {}
    for job in done:
        for stage, ms in job["stage_ms"].items():
            stage_ms[stage] = stage_ms.get(stage, 0.0) + ms / n_frames
    sequential = run_in_sequence(speech, bundle, MODELS[arguments.model])
    jpeg_bytes = int(np.mean([job["jpeg_bytes"] / job["frames"] for job in done]))
    rate = n_frames / elapsed_s
    manifest = bundle.manifest
    frame = f"{manifest.width_px}x{manifest.height_px}"
    keys = {
        "model": arguments.model,
        "frame": frame,
        "jobs": arguments.jobs,
        "cores": os.cpu_count(),
    }
    shares = {name: cpu / elapsed_s for name, cpu in cpu_s.items()}
    rows = [
        row(rate, "frames/s", measure="farm"),
        row(sequential["frames_per_s"], "frames/s", measure="sequential renderer"),
        row(rate / sequential["frames_per_s"], "times", measure="farm over sequential renderer"),
        row(1e3 * min(job["first_frame_s"] for job in done), "ms", measure="first frame"),
        *_rows(stage_ms, "ms/frame", "stage in the farm"),
        *_rows(sequential["stage_ms_per_frame"], "ms/frame", "stage of the sequential renderer"),
        *_rows(shares, "cores", "CPU"),
        *_rows(copies(bundle, jpeg_bytes), "bytes/frame", "copied"),
    ]
    return [{**keys, **r} for r in rows]


def _rows(values: Mapping[str, float], unit: str, measure: str) -> list[Row]:
    return [row(value, unit, measure=measure, part=part) for part, value in values.items()]


def demo_speech(seconds: float) -> F32:
    with open_speech(str(DEMO_SPEECH)) as reader:
        spoken = np.concatenate([span.speech for span in reader.spans()])
    return np.resize(spoken, int(seconds * 16_000))


def run_jobs(url: str, speeches: list[F32]) -> list[dict[str, Any]]:
    """All at once, each with a client of its own."""

    def run(speech: F32) -> dict[str, Any]:
        begin = time.perf_counter()
        first_frame_s, n_bytes = 0.0, 0
        with Client(url) as client:
            job = client.submit(JobSpec(audio=speech, avatar="avatar"))
            for jpeg in job:
                first_frame_s = first_frame_s or time.perf_counter() - begin
                n_bytes += len(jpeg)
        assert job.done is not None
        return {
            "frames": job.done.frames,
            "stage_ms": job.done.stage_ms,
            "first_frame_s": first_frame_s,
            "jpeg_bytes": n_bytes,
        }

    with ThreadPoolExecutor(len(speeches)) as clients:
        return list(clients.map(run, speeches))


def run_in_sequence(speech: F32, bundle: Bundle, directory: Path) -> dict[str, Any]:
    model, times = Model.load(directory), StageTimes()
    begin = time.perf_counter()
    n_frames = sum(1 for _ in render([speech], bundle, model, batch_size=8, times=times))
    elapsed_s = time.perf_counter() - begin
    return {
        "frames_per_s": n_frames / elapsed_s,
        "stage_ms_per_frame": {k: 1e3 * v / n_frames for k, v in times.seconds.items()},
    }


@contextmanager
def cpu_by_process() -> Iterator[dict[str, float]]:
    """CPU seconds of every process of the farm while the block runs."""
    processes = {name_of(p): p for p in psutil.Process().children(recursive=True)}
    before = {name: sum(p.cpu_times()[:2]) for name, p in processes.items()}
    spent: dict[str, float] = {}
    own = time.process_time()
    yield spent
    spent.update({n: sum(p.cpu_times()[:2]) - before[n] for n, p in processes.items()})
    spent["clients"] = time.process_time() - own


def name_of(process: psutil.Process) -> str:
    words = process.cmdline()
    if "--name" in words:
        return words[words.index("--name") + 1]
    return "broker" if "farm.broker_main" in words else "supervisor"


def copies(bundle: Bundle, jpeg_bytes: int) -> dict[str, int]:
    """Bytes written for one frame outside the model, step by step, from the arrays' sizes."""
    manifest = bundle.manifest
    holes = [rect.width * rect.height for rect in manifest.changed_rects]
    patches = [rect.width * rect.height for rect in manifest.patch_rects]
    return {
        "feature rows to the inference worker": int((1 + 15 / 8) * 512 * 4),
        "crop gathered": 328 * 328 * 3,
        "painted crop into its slot": 328 * 328 * 4,
        "resized mouth": 4 * int(np.mean(holes)),
        "patch": 4 * int(np.mean(patches)),
        "change, compositor to broker to client": 4 * change_bytes(bundle),
        "JPEG, joined by the client": jpeg_bytes,
    }


def change_bytes(bundle: Bundle) -> int:
    """What travels of a frame once the client has its template, on average over the first ones."""
    family = FAMILIES[bundle.manifest.family]
    finisher = Finisher(family, StageTimes())
    frames = range(min(10, bundle.manifest.n_templates))
    # The fourth byte of a pixel is not looked at.
    painted = np.pad(crops_of(bundle, frames), [(0, 0)] * 3 + [(0, 1)])
    return int(np.mean([len(finisher.change(bundle, k, painted[k])) for k in frames]))


def shown(rows: list[Row]) -> str:
    columns = ("measure", "part", "value", "unit")
    return table(columns, ([r.get(column, "") for column in columns] for r in rows))
