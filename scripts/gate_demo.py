"""Measure a demo model against its bounds; write metrics.json and the model card's figures.

Everything is computed from the files in the directory: by way of the product's own code, on
sentences and voices that training never heard.  Needs what ``train_demo.py`` needs, and its work
directory for the comparison with torch; takes about eight minutes on two cores.  Exit code 1 when
a bound is broken.

    python scripts/gate_demo.py [--model DIR] [--work DIR] [--limit N]
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from demo_training.card import update_card
from demo_training.corpus import Utterance, clip, recorded_somewhere, utterances
from demo_training.cost import batch_difference, cost, torch_difference
from demo_training.figures import (
    OPENING_BOUNDS,
    PEOPLE,
    PERSON_BOUNDS,
    bounds_of,
    figures,
    is_broken,
)
from demo_training.golden import golden_figures, write_golden
from demo_training.judging import Verdict, drawn_crop, judge, mouth_middle
from demo_training.measuring import read_mouth, rounding_mix
from demo_training.visemes import ROUNDING

from farm.avatars import DRAWN, find_avatar
from farm.demo.avatar import DRAWING_VERSION, Portrait
from farm.demo.mouth import MouthShape
from farm.paths import DEMO_MODEL, user_paths
from farm.progress import print_table, progress_bar
from workers.avatar import Bundle
from workers.devices import ONE_THREAD
from workers.model import Model

ROOT = Path(__file__).resolve().parent.parent
METRICS = "metrics.json"
STRIDE_OTHER_PEOPLE = 5  #: every fifth utterance, both voices in turn, for each of the other four
N_CALIBRATION = 400  #: drawn mouths that the ruler's rounding is calibrated on


@cache
def _judge_room(model: Path, avatar: str) -> tuple[Model, Bundle, Portrait]:
    return Model.load(model, ONE_THREAD), _bundle(avatar), Portrait(DRAWN[avatar])


def _judged(job: tuple[Path, str, Utterance]) -> Verdict:
    directory, avatar, utterance = job
    model, bundle, who = _judge_room(directory, avatar)
    mouths = clip(utterance).mouths
    return judge(
        utterance.text,
        utterance.voice,
        utterance.speech,
        mouths,
        model=model,
        bundle=bundle,
        who=who,
    )


def _verdicts(
    what: str, model: Path, avatar: str, said: Sequence[Utterance], n_processes: int
) -> list[Verdict]:
    jobs = [(model, avatar, utterance) for utterance in said]
    with (
        progress_bar(what, len(jobs)) as advance,
        ProcessPoolExecutor(n_processes) as pool,
    ):
        every = []
        for verdict in pool.map(_judged, jobs):
            every.append(verdict)
            advance()
    return every


def _calibrated(model: Path, said: Sequence[Utterance]) -> np.ndarray:
    """The ruler's rounding, from drawn mouths of utterances that are not judged."""
    loaded, bundle, who = _judge_room(model, "demo")
    mouths = np.concatenate([clip(utterance).mouths for utterance in said])
    rng = np.random.default_rng(0)
    chosen = mouths[rng.choice(len(mouths), N_CALIBRATION, replace=False)]
    readings = []
    for k, mouth in enumerate(chosen):
        template = k * 20 // N_CALIBRATION * 5
        box = bundle.box(template)
        crop = drawn_crop(who, template, MouthShape(*map(float, mouth)), box, loaded.family)
        readings.append(read_mouth(crop, mouth_middle(who, template, box, loaded.family)))
    return rounding_mix(readings, chosen[:, ROUNDING].astype(np.float64))


def _measure(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    model = arguments.model
    measured: dict[str, dict[str, float]] = {}
    measured["cost"] = {
        **cost(model),
        "batch_difference": batch_difference(model),
        **torch_difference(model, arguments.work),
        "bytes": sum(path.stat().st_size for path in model.glob("*.onnx")),
    }
    mix = _calibrated(model, utterances("train", limit=60))
    said = {split: utterances(split, limit=arguments.limit) for split in OPENING_BOUNDS}
    said["recorded"] = [
        recorded_somewhere(utterance, seed)
        for seed, utterance in enumerate(said["held_sentence"][::2])
    ]
    for split, spoken in said.items():
        verdicts = _verdicts(split, model, "demo", spoken, arguments.processes)
        measured[split] = figures(verdicts, mix)
    for person in PEOPLE:
        # Only what needs no ruler of colours: that is made for the default person.
        spoken = said["held_voice"][::STRIDE_OTHER_PEOPLE]
        verdicts = _verdicts(person, model, person, spoken, arguments.processes)
        kept = ("frames", "psnr_db", *PERSON_BOUNDS, "copy_ssim", "outside_window_levels")
        every = figures(verdicts, mix)
        measured[person] = {name: every[name] for name in kept}
    if arguments.limit is None:
        write_golden(mix, said["held_voice"][0], said["held_sentence"])
        measured["golden"] = golden_figures(Model.load(model, ONE_THREAD), _bundle("demo"))
    return measured


def _bundle(avatar: str) -> Bundle:
    return find_avatar(avatar, user_paths(), on_template=lambda: None)


def _broken(measured: dict[str, dict[str, float]]) -> list[str]:
    nan = float("nan")  # keeps no bound: what was not measured is broken too
    return [
        f"{part}.{name} = {values.get(name, nan):.4g}, must be {bound.sense} {bound.limit:g}"
        for part, values in measured.items()
        for name, bound in bounds_of(part).items()
        if is_broken(part, name, values.get(name, nan))
    ]


def _show(measured: dict[str, dict[str, float]]) -> None:
    rows = [("figure", "value", "bound")]
    for part, values in measured.items():
        bounds = bounds_of(part)
        for name, value in values.items():
            bound = bounds.get(name)
            said = f"{bound.sense} {bound.limit:g}" if bound else ""
            if bound and not bound.holds(value):
                said += "  BROKEN" if is_broken(part, name, value) else "  short"
            rows.append((f"{part}.{name}", f"{value:.4g}", said))
    print_table(rows)


def _provenance(model: Path) -> dict[str, object]:
    espeak = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return {
        "sha256": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(model.glob("*.onnx"))
        },
        "drawing_version": DRAWING_VERSION,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "espeak_ng": espeak.stdout.split("Data at")[0].split(":")[-1].strip(),
        "machine": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "demo-model")
    parser.add_argument("--limit", type=int, help="utterances a split; nothing is written then")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    provenance = _provenance(arguments.model)
    measured = _rounded(_measure(arguments))
    _show(measured)
    broken = _broken(measured)
    if arguments.limit is None:
        report = {**provenance, "figures": measured}
        (arguments.model / METRICS).write_text(json.dumps(report, indent=2) + "\n")
        update_card(arguments.model, measured)
    for line in broken:
        print(f"gate: {line}", file=sys.stderr)
    return 1 if broken else 0


def _rounded(measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        part: {name: float(f"{value:.5g}") for name, value in values.items()}
        for part, values in measured.items()
    }


if __name__ == "__main__":
    sys.exit(main())
