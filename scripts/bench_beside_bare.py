"""A farm beside a bare onnxruntime loop: what both bench_inference and bench_gpu measure.

They take turns, a few seconds each, and what a farm gives is compared with the bare loops right
before and after it: a machine that grows slower meanwhile slows both.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from bench_pipeline import demo_speech
from bench_rows import Row, row

from farm.avatars import find_avatar
from farm.client import Client, JobSpec
from farm.embedded import embedded_farm
from farm.paths import user_paths
from workers.arrays import F32
from workers.devices import Device, Execution
from workers.pair import ModelPair
from workers.unet import UNet, load_unet

EDGE = 0.15  #: of the frames, at both ends, that do not count
WATCH_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is run."""

    directory: Path  #: of the model
    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int
    threads: int = 1  #: of a CPU
    seconds: float  #: that each turn takes
    rounds: int
    n_jobs: tuple[int, ...]
    has_client_processes: bool = False  #: a process each, where one would be the bottleneck

    @property
    def keys(self) -> dict[str, object]:
        """That name the measurement in a row."""
        keys = {"device": self.device, "precision": self.precision, "batch": self.batch_size}
        return {**keys, "threads": self.threads} if self.device == "cpu" else keys

    def execution(self, is_spinning: bool = False) -> Execution:
        return Execution(
            device=Device.named(self.device),
            threads=self.threads,
            is_spinning=is_spinning,
            precision=self.precision,
        )

    def load(self, is_spinning: bool = False) -> UNet:
        pair = ModelPair.find(self.directory)
        return load_unet(pair, self.execution(is_spinning), user_paths().graphs)

    def farm(self) -> AbstractContextManager[Client]:
        """Of the demo avatar, 1280x720."""
        bundle = find_avatar("demo", user_paths(), on_template=lambda: None)
        keys = {
            "model.directory": str(self.directory.absolute()),
            "inference.batch_size": self.batch_size,
            "inference.threads": self.threads,
            "inference.devices": [self.device],
            "inference.precision": self.precision,
        }
        return embedded_farm(bundle.directory, keys)


@dataclass(frozen=True)
class Rate:
    """Of a farm."""

    frames_per_s: float
    busy: float  #: share of the inference worker's time
    idle: float  #: the same, standing still though a batch was there


def beside_bare(setting: Setting) -> Iterator[Row]:
    """Rates of both loops, the farm's share of the bare one, and how busy its device was."""
    loops = {False: setting.load()}
    if setting.device == "cpu":
        loops[True] = setting.load(is_spinning=True)
    bare: dict[bool, list[float]] = {is_spinning: [] for is_spinning in loops}
    farm: dict[int, list[tuple[Rate, float]]] = {n: [] for n in setting.n_jobs}
    with setting.farm() as client:
        before = bare_rate(loops[False], setting)
        for _ in range(setting.rounds):
            for n, of_farm in farm.items():
                rate = farm_rate(client, n, before, setting)
                after = bare_rate(loops[False], setting)
                of_farm.append((rate, (before + after) / 2))
                bare[False].append(after)
                before = after
            if True in loops:
                bare[True].append(bare_rate(loops[True], setting))
    for is_spinning, rates in bare.items():
        keys = {"path": "bare", "jobs": None, "spinning": is_spinning, **setting.keys}
        yield row(median(rates), "frames/s", **keys)
    best = max(median(rates) for rates in bare.values()) / median(bare[False])
    for n, of_farm in farm.items():
        keys = {"path": "farm", "jobs": n, **setting.keys}
        yield row(median(r.frames_per_s for r, _ in of_farm), "frames/s", **keys)
        yield row(
            median(r.frames_per_s / beside / best for r, beside in of_farm), "of bare", **keys
        )
        yield row(median(r.busy for r, _ in of_farm), "busy", **keys)
        yield row(median(r.idle for r, _ in of_farm), "idle gaps", **keys)


def first_calls(setting: Setting) -> Iterator[Row]:
    """What a model costs before it is warm."""
    begin = time.perf_counter()
    call = call_of(setting.load(), setting.batch_size)
    loaded = time.perf_counter()
    call()
    first = time.perf_counter()
    call()
    warm = time.perf_counter()
    for what, seconds in (
        ("load", loaded - begin),
        ("first batch", first - loaded),
        ("warm batch", warm - first),
    ):
        yield row(1e3 * seconds, "ms", path="bare", measure=what, **setting.keys)


def bare_rate(unet: UNet, setting: Setting) -> float:
    """Frames a second of a loop that does nothing else."""
    call = call_of(unet, setting.batch_size)
    call()
    n, begin = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - begin) < setting.seconds:
        call()
        n += setting.batch_size
    return n / elapsed_s


def call_of(unet: UNet, n: int) -> Callable[[], object]:
    """A call of a batch of noise, its output bound."""
    family, rng = unet.family, np.random.default_rng(0)
    crops = rng.integers(0, 256, (n, *family.crop_shape), np.uint8)
    audio = rng.random((n, *family.audio_shape), np.float32)
    painted = np.empty((n, *family.painted_shape), np.uint8)
    return lambda: unet.paint_into(crops, audio, painted)


def farm_rate(client: Client, n_jobs: int, bare: float, setting: Setting) -> Rate:
    """What ``n_jobs`` clients get together, while all of them do."""
    seconds = max(2.0, bare * setting.seconds / n_jobs / 25)
    speeches = [_its_own(demo_speech(seconds), k) for k in range(n_jobs)]
    with ExitStack() as stack:
        clients = stack.enter_context(_client_pool(n_jobs, setting))
        watched = stack.enter_context(ThreadPoolExecutor(1)).submit(_watch, client, done := [])
        jobs = [clients.submit(_arrivals, client.url, speech) for speech in speeches]
        arrivals = sorted(at for job in jobs for at in job.result())
        done.append(True)
        samples = watched.result()
    edge = int(EDGE * len(arrivals))
    begin, end = arrivals[edge], arrivals[-edge - 1]
    busy_s, idle_s = _spent(samples, begin, end)
    rate = (len(arrivals) - 2 * edge - 1) / (end - begin)
    return Rate(rate, busy_s / (end - begin), idle_s / (end - begin))


def _client_pool(n_jobs: int, setting: Setting) -> Executor:
    if setting.has_client_processes:
        return ProcessPoolExecutor(n_jobs, mp_context=multiprocessing.get_context("spawn"))
    return ThreadPoolExecutor(n_jobs)


def _its_own(speech: F32, k: int) -> F32:
    """The same speech a little later: features that are kept help nobody."""
    return np.roll(speech, 1_600 * k + 7)


def _arrivals(url: str, speech: F32) -> list[float]:
    """When each frame came, on the machine's clock."""
    with Client(url) as client:
        job = client.submit(JobSpec(audio=speech, avatar="avatar", model="default"))
        return [time.monotonic() for _ in job]


def _watch(client: Client, done: Sequence[bool]) -> list[tuple[float, float, float]]:
    """When the inference worker had been busy, and idle beside a batch, for how long."""
    samples = []
    while not done:
        report = client.models.status("default", timeout_s=30)
        samples.append((time.monotonic(), report.busy_s, report.idle_s))
        time.sleep(WATCH_S)
    return samples


def _spent(samples: list[tuple[float, float, float]], begin: float, end: float) -> list[float]:
    """Busy and idle seconds from ``begin`` to ``end``."""
    times = [sample[0] for sample in samples]
    return [
        float(np.diff(np.interp([begin, end], times, [sample[k] for sample in samples]))[0])
        for k in (1, 2)
    ]


def alone(setting: Setting, batch_size: int, precision: str) -> Setting:
    """The same in another batch size and precision."""
    return replace(setting, batch_size=batch_size, precision=precision)
