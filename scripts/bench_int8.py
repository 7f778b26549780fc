"""The U-Net in int8 against float32: speed of the full-width one and the demo model's, and pixels.

The full-width model has random weights: only its speed means something.  Both run as in a farm,
with bytes at both ends, written straight into their place, calls in turns; the quickest counts.
The demo model is calibrated and measured on different parts of the bundled speeches.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import make_full_model
import numpy as np
from bench_material import FAMILY, bundle_of, scratch_directory
from bench_rows import Row, row, table, value

from farm.avatar_build import no_bar
from farm.calibration_frames import CalibrationFrames, frames_of, read_speeches
from farm.demo.avatar import draw_frame
from farm.paths import ASSETS, DEMO_MODEL
from workers.comparison import UNetInputs, fidelity, ms_per_frame, painted
from workers.devices import ON_CPU
from workers.int8 import int8_unet
from workers.model import Model
from workers.pair import ModelPair
from workers.quality import MIN_PSNR_DB
from workers.unet import load_unet

N_TEMPLATES = 50
MODELS = ("full", "demo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)


def run(arguments: argparse.Namespace) -> list[Row]:
    with scratch_directory() as directory:
        make_full_model.write(directory / "full")
        full, demo = ModelPair.find(directory / "full"), ModelPair.find(DEMO_MODEL)
        frames = demo_frames(directory)
        noise = some_noise(max(arguments.batch, 2))
        full_int8 = quantized(full, noise.some(2), 0, directory)
        demo_int8 = quantized(demo, frames.calibrated, MIN_PSNR_DB, directory)
        calls = {
            "full": (full, full_int8, noise.some(arguments.batch)),
            "demo": (demo, demo_int8, frames.measured.some(arguments.batch)),
        }
        rows: list[Row] = []
        for model, call in calls.items():
            rows += [{"model": model, **r} for r in speeds(*call, arguments)]
        return [*rows, *({"model": "demo", **r} for r in pixels(demo, demo_int8, frames))]


def quantized(pair: ModelPair, inputs: UNetInputs, least_db: float, directory: Path) -> ModelPair:
    made = int8_unet(pair, inputs, least_db=least_db, bar=no_bar)
    path = directory / f"{pair.unet.parent.name}-int8.onnx"
    path.write_bytes(made.content)
    return replace(pair, unet=path)


def some_noise(n: int) -> UNetInputs:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (n, *FAMILY.crop_shape), np.uint8)
    return UNetInputs(crops, rng.random((n, *FAMILY.audio_shape), np.float32))


def demo_frames(directory: Path) -> CalibrationFrames:
    drawn = [draw_frame(k) for k in range(N_TEMPLATES)]
    images, boxes = [frame.image_rgb for frame in drawn], [frame.box for frame in drawn]
    bundle = bundle_of(images, boxes, directory / "avatar", "feather")
    speeches = read_speeches(str(path) for path in sorted((ASSETS / "speech").glob("*.wav")))
    model = Model.load(DEMO_MODEL)
    return frames_of(speeches, bundle, model, lambda: None, n_calibrated=64, n_measured=48)


def speeds(
    pair: ModelPair, int8_pair: ModelPair, inputs: UNetInputs, arguments: argparse.Namespace
) -> Iterator[Row]:
    keys = {"batch": len(inputs), "threads": arguments.threads}
    unets = {"float32": pair, "int8": int8_pair}
    loaded = {
        name: load_unet(each, replace(ON_CPU, threads=arguments.threads))
        for name, each in unets.items()
    }
    ms = ms_per_frame(loaded, inputs, arguments.rounds)
    for precision, taken in ms.items():
        yield row(taken, "ms/frame", measure="speed", precision=precision, **keys)
    yield row(ms["float32"] / ms["int8"], "times", measure="ratio", **keys)
    for precision, each in unets.items():
        size = each.unet.stat().st_size
        yield row(size / 1e6, "MB", measure="U-Net's file", precision=precision)


def pixels(pair: ModelPair, int8_pair: ModelPair, frames: CalibrationFrames) -> Iterator[Row]:
    ours, reference = (painted(load_unet(p, ON_CPU), frames.measured) for p in (int8_pair, pair))
    alike = fidelity(ours, reference, FAMILY)
    keys = {"frames": alike.n_frames}
    yield row(alike.crop_db, "dB", measure="PSNR, crop", **keys)
    yield row(alike.hole_db, "dB", measure="PSNR, hole", **keys)
    yield row(alike.worst_frame_db, "dB", measure="PSNR, worst frame", **keys)
    yield row(alike.worst_levels, "levels", measure="worst pixel", **keys)


def shown(rows: list[Row]) -> str:
    lines = []
    for model in MODELS:
        for precision in ("float32", "int8"):
            taken, size = (
                value(rows, model=model, precision=precision, measure=measure)
                for measure in ("speed", "U-Net's file")
            )
            lines.append((model, precision, taken, size))
    ratios = (
        f"{model}: int8 is {r['value']:.2f} times as quick"
        f" (batch {r['batch']}, {r['threads']} threads)"
        for model in MODELS
        for r in rows
        if r["model"] == model and r["measure"] == "ratio"
    )
    alike = (
        f"demo, {r['measure']}: {r['value']:.1f} {r['unit']} of {r['frames']} frames"
        for r in rows
        if "frames" in r
    )
    titles = ("model", "precision", "ms/frame", "MB")
    return "\n".join([table(titles, lines), "", *ratios, *alike])
