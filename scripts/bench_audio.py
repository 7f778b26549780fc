"""The audio encoder: many windows a call against one, and whole spans from their samples.

    one       a window a call, as a loop over frames does
    many      32 windows a call, as in a span
    spans     the same with all around it: mel spectrogram, windows, and the encoder

One thread each; "cores" is the number of processes that do the same, as ``audio.workers`` do.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import make_full_model
import numpy as np
from bench_material import scratch_directory
from bench_pipeline import demo_speech
from bench_rows import Row, cpu_ms, row, table, value

from farm.paths import DEMO_MODEL
from workers.devices import ONE_THREAD
from workers.encoder import Encoder
from workers.features.spans import SPAN_WINDOWS, SpanCutter, span_features
from workers.pair import ModelPair

SPEECH_S = 60.0
ALL_CORES_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=9, help="in which all take turns")


def run(arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with scratch_directory() as directory:
        make_full_model.write(directory / "full")
        for name, path in {"full": directory / "full", "demo": DEMO_MODEL}.items():
            rows += [{"model": name, **r} for r in measured(path, arguments.rounds)]
    return rows


def measured(directory: Path, rounds: int) -> list[Row]:
    encoder = Encoder(ModelPair.find(directory), ONE_THREAD)
    windows = np.random.default_rng(0).normal(0, 1, (SPAN_WINDOWS, 1, 80, 16)).astype(np.float32)
    spans = SpanCutter().push(demo_speech(SPEECH_S))
    works: dict[str, Callable[[], object]] = {
        "one": lambda: [encoder.encode(windows[k : k + 1]) for k in range(SPAN_WINDOWS)],
        "many": lambda: encoder.encode(windows),
        "spans": lambda: span_features(spans[3], encoder.encode),
    }
    rows = []
    for path, ms in cpu_ms(works, rounds=rounds).items():
        rows.append(row(1e3 * SPAN_WINDOWS / ms, "windows/s", path=path, cores=1))
    rate = SPAN_WINDOWS * on_all_cores(works["spans"])
    rows.append(row(rate, "windows/s", path="spans", cores=os.cpu_count()))
    many, one = (value(rows, path=path, cores=1) for path in ("many", "one"))
    assert many is not None
    assert one is not None
    return [*rows, row(many / one, "times", measure="many over one")]


def on_all_cores(work: Callable[[], object]) -> float:
    """Calls a second, with a process on each core."""
    fork = multiprocessing.get_context("fork")
    n_cores = os.cpu_count() or 1
    rates, start = fork.SimpleQueue(), fork.Barrier(n_cores)

    def count() -> None:
        work()
        start.wait(timeout=60)
        n, begin = 0, time.perf_counter()
        while (elapsed_s := time.perf_counter() - begin) < ALL_CORES_S:
            work()
            n += 1
        rates.put(n / elapsed_s)

    processes = [fork.Process(target=count) for _ in range(n_cores)]
    for process in processes:
        process.start()
    total = sum(rates.get() for _ in processes)
    for process in processes:
        process.join()
    return float(total)


def shown(rows: list[Row]) -> str:
    lines = []
    for r in rows:
        if r["unit"] == "windows/s":
            one = value(rows, unit="windows/s", model=r["model"], path="one", cores=1)
            assert one is not None
            lines.append(
                (r["model"], r["path"], r["cores"], round(r["value"]), f"{r['value'] / one:.1f}")
            )
    notes = "A frame needs one window: 25 windows are a second of video."
    return table(("model", "path", "cores", "windows/s", "x one"), lines) + f"\n\n{notes}"
