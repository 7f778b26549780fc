"""What can be typed after ``farm model``."""

import argparse
import math
from pathlib import Path

from farm.cli.parser_parts import Commands, add_connect
from workers.quality import MIN_PSNR_DB

FILES, FARM = "farm.cli.model_files", "farm.cli.farm_models"


def add_model(commands: Commands) -> None:
    model = commands.add_parser("model", help="look into models, and into those of a farm")
    verbs = model.add_subparsers(required=True, metavar="VERB")
    _add_probe(verbs)
    _add_quantize(verbs)
    listing = verbs.add_parser("list", help="the models of this user, and where they lie")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=(FARM, "list_ids"))
    _add_of_a_farm(verbs)


def _add_of_a_farm(verbs: Commands) -> None:
    load = verbs.add_parser("load", help="have a model in a farm's memory before a job needs it")
    load.add_argument("model", metavar="ID")
    load.add_argument("--pin", action="store_true", help="and keep it there until it is unloaded")
    unload = verbs.add_parser("unload", help="free its memory; refused while a job uses it")
    unload.add_argument("model", metavar="ID")
    stats = verbs.add_parser("stats", help="where a farm's models are, and what they have done")
    stats.add_argument("model", nargs="?", metavar="ID", help="(default: all)")
    stats.add_argument("--json", action="store_true")
    for verb, run in ((load, "load"), (unload, "unload"), (stats, "stats")):
        add_connect(verb, "the farm's address (default: this user's own farm)")
        verb.set_defaults(run=(FARM, run))


def _add_probe(verbs: Commands) -> None:
    probe = verbs.add_parser("probe", help="say what a model file is, and whether it can be served")
    probe.add_argument("path", type=Path, metavar="FILE|DIR", help="an .onnx file, or a directory")
    probe.add_argument("--json", action="store_true")
    probe.set_defaults(run=(FILES, "probe"))


def _add_quantize(verbs: Commands) -> None:
    quantize = verbs.add_parser(
        "quantize",
        help="make an int8 model pair for CPUs",
        description="Calibrated and measured on the avatar's crops and on different parts of the"
        " speech: 3 s of it at least, 10 s and more are better.",
    )
    quantize.add_argument("model", type=Path, metavar="MODEL_DIR", help="directory of a model pair")
    quantize.add_argument(
        "--avatar", required=True, metavar="ID|PATH", help="whom the model paints"
    )
    quantize.add_argument(
        "--speech",
        required=True,
        action="append",
        metavar="FILE",
        help="any file with sound, or - for standard input; may be repeated",
    )
    quantize.add_argument(
        "-o", "--output", required=True, type=Path, metavar="OUT_DIR", help="what to make"
    )
    quantize.add_argument(
        "--min-psnr",
        type=_decibels,
        default=MIN_PSNR_DB,
        metavar="DB",
        help="against float32; layers stay in float until it is reached"
        f" (default: {MIN_PSNR_DB:g})",
    )
    quantize.add_argument("--force", action="store_true", help="replace another quantised model")
    quantize.add_argument("--json", action="store_true", help="print the figures as JSON")
    quantize.set_defaults(run=(FILES, "quantize"))


def _decibels(text: str) -> float:
    try:
        decibels = float(text)
    except ValueError:
        decibels = math.nan
    if not 0 < decibels < 100:
        raise argparse.ArgumentTypeError(f"{text!r}: must be above 0 and below 100")
    return decibels
