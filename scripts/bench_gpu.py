"""Everything that a GPU changes, on one: right pixels first, then speed.

    agreement   what the GPU paints against what the CPU does, in levels of 255
    bare        the wrapped graph alone, for batch sizes and precisions; the seed server's 43.9
                finished frames a second on an RTX 4090 beside it
    farm        finished JPEG frames of 1280x720 delivered to clients in processes of their own,
                against the bare loop in the same run
    audio       windows a second of the encoder, on the CPU

``--device cpu --quick`` tries the script where there is no GPU: its figures then say nothing.
"""

import argparse
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import bench_audio
import make_full_model
import numpy as np
from bench_beside_bare import Setting, alone, bare_rate, beside_bare, first_calls
from bench_material import FAMILY, scratch_directory
from bench_rows import Row, row, table, value

from farm.paths import DEMO_MODEL
from workers.comparison import UNetInputs, fidelity, painted
from workers.devices import ON_CPU
from workers.pair import ModelPair
from workers.unet import load_unet

SEED_FRAMES_PER_S = 43.9  #: finished, batch 25, RTX 4090, after its last optimisation
BATCHES = (1, 4, 8, 16, 25, 32, 64)
FARM_BATCH = 32
JOBS = (1, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precisions", default="fp32,fp16")
    parser.add_argument("--seconds", type=float, default=4.0, help="that each turn is to take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="one batch size, one round, demo model"
    )


def run(arguments: argparse.Namespace) -> list[Row]:
    with scratch_directory() as directory:
        models = {"demo": DEMO_MODEL}
        if not arguments.quick:
            make_full_model.write(directory / "full")
            models = {"full": directory / "full", **models}
        rows = [{"measure": "machine", "unit": "", **facts} for facts in machine(arguments.device)]
        for name, path in models.items():
            rows += [{"model": name, **r} for r in measured(path, arguments)]
        if not arguments.quick:
            audio = bench_audio.measured(DEMO_MODEL, rounds=3)
            rows += [{"model": "demo", "part": "audio", **r} for r in audio]
        return rows


def machine(device: str) -> Iterator[Row]:
    yield {"what": "device", "value": device}
    yield {"what": "GPU, driver", "value": _gpu()}
    yield {"what": "onnxruntime", "value": _onnxruntime()}
    yield {"what": "Python", "value": platform.python_version()}


def _gpu() -> str:
    ask = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return answer.stdout.strip().splitlines()[0]


def _onnxruntime() -> str:
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return f"{name} {version(name)}"
        except ModuleNotFoundError:
            continue
    return "unknown"


def measured(directory: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    is_cpu = arguments.device == "cpu"
    setting = Setting(
        directory=directory,
        device=arguments.device,
        batch_size=8 if arguments.quick else FARM_BATCH,
        seconds=arguments.seconds,
        rounds=1 if arguments.quick else arguments.rounds,
        n_jobs=JOBS,
        has_client_processes=not is_cpu,
    )
    batches = (8,) if arguments.quick else BATCHES
    for precision in arguments.precisions.split(","):
        yield from agreement(replace(setting, precision=precision))
        for n in batches:
            yield from bare(alone(setting, n, precision))
        yield from (
            {"part": "farm", **r} for r in beside_bare(replace(setting, precision=precision))
        )


def agreement(setting: Setting) -> Iterator[Row]:
    """On noise, which shows every difference: pictures of people are kinder."""
    inputs = _noise(setting.batch_size)
    reference = painted(load_unet(ModelPair.find(setting.directory), ON_CPU), inputs)
    alike = fidelity(painted(setting.load(), inputs), reference, FAMILY)
    keys = {"part": "agreement", **setting.keys}
    yield row(alike.worst_levels, "levels", measure="worst pixel", **keys)
    yield row(alike.crop_db, "dB", measure="PSNR", **keys)


def _noise(n: int) -> UNetInputs:
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, (n, *FAMILY.crop_shape), np.uint8)
    return UNetInputs(crops, rng.random((n, *FAMILY.audio_shape), np.float32))


def bare(setting: Setting) -> Iterator[Row]:
    for r in first_calls(setting):
        yield {"part": "bare", **r}
    rate = bare_rate(setting.load(), setting)
    yield row(rate, "frames/s", part="bare", path="bare", **setting.keys)
    yield row(rate / SEED_FRAMES_PER_S, "times the seed", part="bare", **setting.keys)


def shown(rows: list[Row]) -> str:
    facts = [(r["what"], r["value"]) for r in rows if r.get("measure") == "machine"]
    parts = [table(("what", "value"), facts), _agreements(rows), _bare(rows), _farms(rows)]
    audio = [r for r in rows if r.get("part") == "audio" and r["unit"] == "windows/s"]
    if audio:
        lines = [(r["path"], r["cores"], round(r["value"])) for r in audio]
        parts.append(table(("audio", "cores", "windows/s"), lines))
    return "\n\n".join(parts)


def _agreements(rows: list[Row]) -> str:
    lines = [
        (r["model"], r["precision"], r["measure"], r["value"], r["unit"])
        for r in rows
        if r.get("part") == "agreement"
    ]
    return table(("model", "precision", "against the CPU", "value", "unit"), lines)


def _bare(rows: list[Row]) -> str:
    lines = []
    for r in rows:
        if r.get("part") == "bare" and r["unit"] == "frames/s":
            keys = {k: r[k] for k in ("model", "precision", "batch")}
            firsts = [
                value(rows, part="bare", measure=what, unit="ms", **keys)
                for what in ("load", "first batch", "warm batch")
            ]
            times = f"{r['value'] / SEED_FRAMES_PER_S:.1f}"
            lines.append((*keys.values(), r["value"], times, *firsts))
    titles = ("model", "precision", "batch", "bare frames/s", "x seed")
    return table((*titles, "load ms", "first batch ms", "warm batch ms"), lines)


def _farms(rows: list[Row]) -> str:
    lines = []
    for r in rows:
        if r.get("part") == "farm" and r["unit"] == "frames/s" and r["path"] == "farm":
            keys = {k: r[k] for k in ("model", "precision", "batch", "jobs")}
            of_bare, busy, idle = (
                value(rows, part="farm", path="farm", unit=unit, **keys)
                for unit in ("of bare", "busy", "idle gaps")
            )
            times = f"{r['value'] / SEED_FRAMES_PER_S:.1f}"
            shares = [f"{100 * (share or 0):.1f} %" for share in (busy, idle)]
            lines.append((*keys.values(), r["value"], times, of_bare, *shares))
    titles = ("model", "precision", "batch", "jobs", "farm frames/s", "x seed")
    return table((*titles, "of bare", "busy", "idle gaps"), lines)
