"""Measure a demo model against its bounds; write metrics.json and the model card's figures.

Everything is computed from the files in the directory: by way of the product's own code, on
sentences and voices that training never heard.  Needs what ``train_demo.py`` needs; takes about
eight minutes on two cores.  Exit code 1 when a bound is broken.

    scripts/gate_demo.py [--model DIR] [--work DIR] [--quick]
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
from demo_training.corpus import Utterance, clip, utterances
from demo_training.cost import batch_difference, cost, torch_difference
from demo_training.figures import (
    COST_BOUNDS,
    OPENING_BOUNDS,
    SPEECH_BOUNDS,
    Bound,
    figures,
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
from workers.model import Model

ROOT = Path(__file__).resolve().parent.parent
CARD, METRICS = "MODEL_CARD.md", "metrics.json"
FIGURES_BEGIN, FIGURES_END = "<!-- figures -->\n", "<!-- end of figures -->\n"
N_QUICK = 6  #: utterances of each split with --quick
N_OTHER_PEOPLE = 12  #: utterances for each of the other four
N_CALIBRATION = 400  #: drawn mouths that the ruler's rounding is calibrated on


@cache
def _judge_room(model: Path, avatar: str) -> tuple[Model, Bundle, Portrait]:
    return Model.load(model, threads=1), _bundle(avatar), Portrait(DRAWN[avatar])


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
    model, n = arguments.model, N_QUICK if arguments.quick else None
    measured: dict[str, dict[str, float]] = {}
    measured["cost"] = {
        **cost(model),
        "batch_difference": batch_difference(model),
        **torch_difference(model, arguments.work),
        "bytes": sum(path.stat().st_size for path in model.glob("*.onnx")),
    }
    mix = _calibrated(model, utterances("train")[:60])
    for split in OPENING_BOUNDS:
        said = utterances(split)
        said = said[:: max(1, len(said) // n)][:n] if n else said
        verdicts = _verdicts(split, model, "demo", said, arguments.processes)
        measured[split] = figures(verdicts, mix)
    others = [name for name in DRAWN if name != "demo"]
    said = utterances("held_voice")[:: N_OTHER_PEOPLE // 2][:N_OTHER_PEOPLE]
    for avatar in [] if arguments.quick else others:
        # Only what needs no ruler of colours: that is made for the default person.
        verdicts = _verdicts(avatar, model, avatar, said, arguments.processes)
        kept = ("frames", "psnr_db", "psnr_over_copy_db", "ssim", "copy_ssim", "outside_levels")
        measured[avatar] = {k: v for k, v in figures(verdicts, mix).items() if k in kept}
    if not arguments.quick:
        write_golden(mix)
        measured["golden"] = golden_figures(Model.load(model, threads=1), _bundle("demo"))
    return measured


def _bundle(avatar: str) -> Bundle:
    return find_avatar(avatar, user_paths(), on_template=lambda: None)


def _bounds(part: str) -> dict[str, Bound]:
    if part == "cost":
        return COST_BOUNDS
    if part in OPENING_BOUNDS:
        return {"opening_r": OPENING_BOUNDS[part], **SPEECH_BOUNDS}
    return {}


def _broken(measured: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"{part}.{name} = {values[name]:.4g}, must be {bound.sense} {bound.limit:g}"
        for part, values in measured.items()
        for name, bound in _bounds(part).items()
        if name in values and not bound.holds(values[name])
    ]


def _show(measured: dict[str, dict[str, float]]) -> None:
    rows = [("figure", "value", "bound")]
    for part, values in measured.items():
        bounds = _bounds(part)
        for name, value in values.items():
            bound = bounds.get(name)
            said = f"{bound.sense} {bound.limit:g}" if bound else ""
            broken = "  BROKEN" if bound and not bound.holds(value) else ""
            rows.append((f"{part}.{name}", f"{value:.4g}", said + broken))
    print_table(rows)


def _update_card(path: Path, measured: dict[str, dict[str, float]]) -> None:
    """Put today's figures between the card's two marks."""
    if not path.exists():
        return
    before, rest = path.read_text().split(FIGURES_BEGIN)
    _, after = rest.split(FIGURES_END)
    path.write_text(before + FIGURES_BEGIN + _card_table(measured) + FIGURES_END + after)


def _card_table(measured: dict[str, dict[str, float]]) -> str:
    rows = [
        "| figure | bound | held-out sentences | held-out voices |",
        "| --- | --- | --- | --- |",
    ]
    columns = [measured[split] for split in OPENING_BOUNDS]
    limits = {"opening_r": OPENING_BOUNDS["held_sentence"], **SPEECH_BOUNDS}
    for name, bound in limits.items():
        values = " | ".join(f"{column[name]:.3g}" for column in columns)
        limit = f"{bound.sense} {bound.limit:g}"
        if name == "opening_r":
            limit = " / ".join(f"{b.sense} {b.limit:g}" for b in OPENING_BOUNDS.values())
        rows.append(f"| {name} | {limit} | {values} |")
    return "\n".join(rows) + "\n"


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
    parser.add_argument("--quick", action="store_true", help="a few utterances; writes nothing")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    measured = _measure(arguments)
    _show(measured)
    broken = _broken(measured)
    if not arguments.quick:
        report = {**_provenance(arguments.model), "figures": _rounded(measured)}
        (arguments.model / METRICS).write_text(json.dumps(report, indent=2) + "\n")
        _update_card(arguments.model / CARD, measured)
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
