"""The whole farm against a bare onnxruntime loop: how much of the device's speed is delivered.

The bare loop runs the same wrapped graph, its output bound, with the same batch and threads, and
does nothing else; the quicker one of spinning on and off counts.  The farm delivers finished JPEG
frames of 1280x720 to clients.  They take turns, a few seconds each, and what a farm gives is
compared with the bare loops right before and after it.

    rate        frames a second while all jobs run: their begin and end are left out
    busy        of the inference worker's time, while all jobs run
    idle gaps   its device stood still though a batch was there
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import make_full_model
import numpy as np
from bench_material import scratch_directory
from bench_pipeline import demo_speech
from bench_rows import Row, row, table, value, values

from farm.avatars import find_avatar
from farm.client import Client, JobSpec
from farm.embedded import embedded_farm
from farm.paths import DEMO_MODEL, TINY_MODEL, user_paths
from workers.arrays import F32
from workers.devices import ON_CPU, Execution
from workers.pair import ModelPair
from workers.unet import UNet, load_unet

EDGE = 0.15  #: of the frames, at both ends, that do not count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", default="full,demo", help="of full, demo, tiny")
    parser.add_argument("--jobs", default="1,8", help="at a time (default: 1,8)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=6.0, help="that each loop is to take")
    parser.add_argument("--rounds", type=int, default=5)


def run(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with scratch_directory() as directory:
        directories = {"demo": DEMO_MODEL, "tiny": TINY_MODEL, "full": directory / "full"}
        names = arguments.models.split(",")
        if "full" in names:
            make_full_model.write(directories["full"])
        for name in names:
            case = Case(directories[name], arguments)
            rows += [{"model": name, **r} for r in case.rows()]
    return rows


@dataclass(frozen=True)
class Rate:
    frames_per_s: float
    busy: float  #: share of the inference worker's time
    idle: float  #: the same, standing still beside a batch


class Case:
    """One model."""

    def __init__(self, directory: Path, arguments: argparse.Namespace) -> None:
        self.directory = directory
        self.arguments = arguments
        self.n_jobs = [int(n) for n in arguments.jobs.split(",")]
        self.keys = {"batch": arguments.batch_size, "threads": arguments.threads}

    def rows(self) -> Iterator[Row]:
        still, awake = self._load(False), self._load(True)
        for what, ms in self._first_calls().items():
            yield row(ms, "ms", path="bare", measure=what, **self.keys)
        bare: dict[bool, list[float]] = {False: [], True: []}
        farm: dict[int, list[tuple[Rate, float]]] = {n: [] for n in self.n_jobs}
        with self._farm() as client:
            before = self._bare(still)
            for _ in range(self.arguments.rounds):
                for n, of_farm in farm.items():
                    rate = self._through(client, n, before)
                    after = self._bare(still)
                    # A machine that grows slower meanwhile slows both loops beside it.
                    of_farm.append((rate, (before + after) / 2))
                    bare[False].append(after)
                    before = after
                bare[True].append(self._bare(awake))
        for is_spinning, rates in bare.items():
            keys = {"path": "bare", "spinning": is_spinning, **self.keys}
            yield row(median(rates), "frames/s", jobs=None, **keys)
        awake_gains = max(1.0, median(bare[True]) / median(bare[False]))
        for n, of_farm in farm.items():
            keys = {"path": "farm", "jobs": n, **self.keys}
            yield row(median(r.frames_per_s for r, _ in of_farm), "frames/s", **keys)
            ratios = [r.frames_per_s / beside / awake_gains for r, beside in of_farm]
            yield row(median(ratios), "of bare", **keys)
            yield row(median(r.busy for r, _ in of_farm), "busy", **keys)
            yield row(median(r.idle for r, _ in of_farm), "idle gaps", **keys)

    def _execution(self, is_spinning: bool) -> Execution:
        return replace(ON_CPU, threads=self.arguments.threads, is_spinning=is_spinning)

    def _load(self, is_spinning: bool) -> UNet:
        pair = ModelPair.find(self.directory)
        return load_unet(pair, self._execution(is_spinning), user_paths().graphs)

    def _first_calls(self) -> dict[str, float]:
        begin = time.perf_counter()
        unet = self._load(False)
        loaded = time.perf_counter()
        call = _call(unet, self.arguments.batch_size)
        call()
        first = time.perf_counter()
        call()
        warm = time.perf_counter()
        return {
            "load": 1e3 * (loaded - begin),
            "first batch": 1e3 * (first - loaded),
            "warm batch": 1e3 * (warm - first),
        }

    def _bare(self, unet: UNet) -> float:
        call = _call(unet, self.arguments.batch_size)
        call()
        n, begin = 0, time.perf_counter()
        while (elapsed_s := time.perf_counter() - begin) < self.arguments.seconds:
            call()
            n += self.arguments.batch_size
        return n / elapsed_s

    def _farm(self) -> AbstractContextManager[Client]:
        bundle = find_avatar("demo", user_paths(), on_template=lambda: None)
        keys = {
            "model.directory": str(self.directory.absolute()),
            "inference.batch_size": self.arguments.batch_size,
            "inference.threads": self.arguments.threads,
            "inference.devices": ["cpu"],
        }
        return embedded_farm(bundle.directory, keys)

    def _through(self, client: Client, n_jobs: int, bare_rate: float) -> Rate:
        seconds = max(2.0, bare_rate * self.arguments.seconds / n_jobs / 25)
        speeches = [_its_own(demo_speech(seconds), k) for k in range(n_jobs)]
        with ThreadPoolExecutor(n_jobs + 1) as threads:
            watched = threads.submit(_watch, client, done := [])
            jobs = [threads.submit(_arrivals, client.url, speech) for speech in speeches]
            arrivals = sorted(at for job in jobs for at in job.result())
            done.append(True)
            samples = watched.result()
        edge = int(EDGE * len(arrivals))
        begin, end = arrivals[edge], arrivals[-edge - 1]
        busy_s, idle_s = _spent(samples, begin, end)
        rate = (len(arrivals) - 2 * edge - 1) / (end - begin)
        return Rate(rate, busy_s / (end - begin), idle_s / (end - begin))


def _call(unet: UNet, n: int) -> Callable[[], object]:
    family, rng = unet.family, np.random.default_rng(0)
    crops = rng.integers(0, 256, (n, *family.crop_shape), np.uint8)
    audio = rng.random((n, *family.audio_shape), np.float32)
    painted = np.empty((n, *family.painted_shape), np.uint8)
    return lambda: unet.paint_into(crops, audio, painted)


def _its_own(speech: F32, k: int) -> F32:
    """The same speech a little later: features that are kept help nobody."""
    return np.roll(speech, 1_600 * k + 7)


def _arrivals(url: str, speech: F32) -> list[float]:
    with Client(url) as client:
        job = client.submit(JobSpec(audio=speech, avatar="avatar", model="default"))
        return [time.monotonic() for _ in job]


def _watch(client: Client, done: Sequence[bool]) -> list[tuple[float, float, float]]:
    """When the inference worker had been busy, and idle beside a batch, for how long."""
    samples = []
    while not done:
        report = client.models.status("default", timeout_s=30)
        samples.append((time.monotonic(), report.busy_s, report.idle_s))
        time.sleep(0.05)
    return samples


def _spent(samples: list[tuple[float, float, float]], begin: float, end: float) -> list[float]:
    """Busy and idle seconds from ``begin`` to ``end``."""
    times = [sample[0] for sample in samples]
    return [
        float(np.diff(np.interp([begin, end], times, [sample[k] for sample in samples]))[0])
        for k in (1, 2)
    ]


def shown(rows: list[Row]) -> str:
    lines: list[Sequence[object]] = []
    for r in rows:
        if r["unit"] != "frames/s":
            continue
        keys = {k: r[k] for k in ("model", "path", "jobs")}
        path = (
            f"bare, spinning {'on' if r['spinning'] else 'off'}" if r["path"] == "bare" else "farm"
        )
        of_bare = value(rows, unit="of bare", **keys) if r["path"] == "farm" else None
        shares = [value(rows, unit=unit, **keys) for unit in ("busy", "idle gaps")]
        percents = [share if share is None else f"{100 * share:.1f} %" for share in shares]
        lines.append((r["model"], path, r["jobs"], r["value"], of_bare, *percents))
    titles = ("model", "path", "jobs", "frames/s", "of bare", "busy", "idle gaps")
    firsts = [(r["model"], r["measure"], r["value"]) for r in rows if r["unit"] == "ms"]
    return "\n\n".join(
        [table(titles, lines), table(("model", "what", "ms"), firsts), _conditions(rows)]
    )


def _conditions(rows: list[Row]) -> str:
    batch, threads = rows[0]["batch"], rows[0]["threads"]
    worst = min(values(rows, unit="of bare"))
    return (
        f"batch {batch}, {threads} threads; at worst the farm delivers {worst:.3f} of the bare loop"
    )
