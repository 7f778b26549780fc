"""What can be typed after ``farm``."""

import argparse
import importlib.metadata
from pathlib import Path
from typing import Any

from farm.cli.model_parser import add_model
from farm.cli.parser_parts import Commands, add_connect, seconds
from farm.config import FarmConfig
from farm.config_rules import device_name
from farm.espeak import DEFAULT_VOICE
from workers.quality import DEFAULT_QUALITY, MAX_QUALITY

MAX_BATCH_SIZE = 64
MAX_COMPOSITORS = 256
DEFAULTS = FarmConfig()


def parser() -> argparse.ArgumentParser:
    """All commands.  Those that were named set ``run`` to their module and function."""
    top = argparse.ArgumentParser(
        prog="farm", description="Speech and an avatar in, a talking video out."
    )
    version = importlib.metadata.version("lipfarm")
    top.add_argument("--version", action="version", version=f"lipfarm {version}")
    commands = top.add_subparsers(metavar="COMMAND")
    _add_render(commands)
    _add_serve(commands)
    _add_jobs(commands)
    _add_avatar(commands)
    add_model(commands)
    check = commands.add_parser("check", help="say what this installation has and lacks")
    check.set_defaults(run=("farm.cli.check", "main"))
    return top


def _add_render(commands: Commands) -> None:
    render = commands.add_parser("render", help="render speech, or a text, to a video")
    _add_job(render)
    render.add_argument(
        "--batch-size",
        type=_whole(1, MAX_BATCH_SIZE),
        metavar="N",
        help=f"frames per inference call (default: {DEFAULTS.inference.batch_size})",
    )
    render.add_argument(
        "--compositors", type=_whole(1, MAX_COMPOSITORS), metavar="N", help="(default: cores - 1)"
    )
    render.add_argument(
        "--device", type=_device, metavar="D", help="cpu, cuda:N or tensorrt:N (default: best)"
    )
    render.add_argument(
        "--sequential", action="store_true", help="in one process, without a farm: the same frames"
    )
    add_connect(render, "a running farm's address (default: start one for this job alone)")
    render.set_defaults(run=("farm.cli.render", "main"))


def _add_job(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "audio", nargs="?", metavar="AUDIO", help="any file with sound, or - for standard input"
    )
    command.add_argument(
        "--text", help="instead of AUDIO: words for espeak-ng to speak, or - for standard input"
    )
    command.add_argument("--voice", help=f"of espeak-ng, for --text (default: {DEFAULT_VOICE})")
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="OUT.mp4, OUT.mkv, or OUT/ for JPEGs"
    )
    command.add_argument(
        "--avatar", default="demo", metavar="ID|PATH", help="avatar id or bundle (default: demo)"
    )
    command.add_argument(
        "--model",
        metavar="ID|DIR",
        help="model id, or directory of a model pair (default: the avatar's own, else demo)",
    )
    command.add_argument(
        "--video", choices=("h264", "mjpeg"), help="codec (default: h264); mjpeg keeps the JPEGs"
    )
    command.add_argument(
        "--quality",
        type=_whole(1, MAX_QUALITY),
        metavar="Q",
        help=f"of the JPEGs, 1..{MAX_QUALITY} (default: the avatar's own, by far the quickest)",
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="run a farm until it is told to end")
    serve.add_argument("--config", type=Path, metavar="FILE", help="see configs/farm.toml")
    serve.add_argument("--endpoint", metavar="URL", help="where clients connect")
    serve.add_argument(
        "--compositors", type=_whole(1, MAX_COMPOSITORS), metavar="N", help="(default: cores - 1)"
    )
    serve.add_argument("--batch-size", type=_whole(1, MAX_BATCH_SIZE), metavar="N")
    serve.add_argument(
        "--device",
        action="append",
        type=_device,
        metavar="D",
        help="where inference runs; may be repeated (default: all GPUs, else cpu)",
    )
    serve.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="ROLE",
        help="run broker, audio, inference or compositor under cProfile; may be repeated",
    )
    serve.add_argument(
        "--profile-dir",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where NAME-PID.pstats are written (default: here)",
    )
    serve.set_defaults(run=("farm.cli.serve", "main"))


def _add_jobs(commands: Commands) -> None:
    own_farm = "the farm's address (default: this user's own farm)"
    submit = commands.add_parser("submit", help="render on a running farm")
    _add_job(submit)
    submit.add_argument("--job-id", metavar="ID", help="yours to choose (default: random)")
    submit.add_argument("--priority", type=_whole(-100, 100), default=0, help="higher goes first")
    submit.add_argument(
        "--deadline", type=seconds, metavar="S", help="give up after so many seconds"
    )
    status = commands.add_parser("status", help="a job's state, or the farm's own")
    status.add_argument("job", nargs="?", metavar="JOB")
    status.add_argument("--json", action="store_true")
    cancel = commands.add_parser("cancel", help="cancel a job")
    cancel.add_argument("job", metavar="JOB")
    for name, command in (("submit", submit), ("status", status), ("cancel", cancel)):
        add_connect(command, own_farm)
        command.set_defaults(run=("farm.cli.jobs", name))


def _add_avatar(commands: Commands) -> None:
    avatar = commands.add_parser("avatar", help="list, describe, verify and build avatars")
    verbs = avatar.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="the ids known here").set_defaults(
        run=("farm.cli.avatar", "list_ids")
    )
    info = verbs.add_parser("info", help="what a bundle holds")
    verify = verbs.add_parser("verify", help="check every byte of a bundle")
    for verb, run in ((info, "info"), (verify, "verify")):
        verb.add_argument("avatar", metavar="ID|PATH")
        verb.set_defaults(run=("farm.cli.avatar", run))
    _add_avatar_build(verbs)


def _add_avatar_build(verbs: Commands) -> None:
    build = verbs.add_parser(
        "build",
        help="make an avatar of your frames and boxes",
        description="SOURCE holds crop_rects.json with frame_0000.png..., or landmarks/ with"
        " full_body_img/ (SyncTalk_2D), or coords.pkl with full_imgs/ (LiveTalking, MuseTalk).",
    )
    build.add_argument("source", type=Path, metavar="SOURCE", help="directory of frames and boxes")
    build.add_argument("--id", required=True, metavar="ID", help="what it will be called")
    build.add_argument(
        "--quality",
        type=_whole(1, MAX_QUALITY),
        default=DEFAULT_QUALITY,
        metavar="Q",
        help=f"of its JPEGs, 1..{MAX_QUALITY} (default: {DEFAULT_QUALITY})",
    )
    build.add_argument(
        "--paste",
        choices=("feather", "hard"),
        default="feather",
        help="how mouths are put into frames: with a soft edge (the default) or a hard one",
    )
    build.add_argument(
        "--boxes",
        choices=("xyxy", "yyxx"),
        help="what the numbers in coords.pkl are; yyxx: y0 y1 x0 x1, as Wav2Lip's (default: see)",
    )
    build.add_argument(
        "--model", metavar="ID", help="of the model that was trained on it; its jobs then use that"
    )
    build.add_argument("--force", action="store_true", help="build it anew, whatever is there")
    build.set_defaults(run=("farm.cli.avatar", "build"))


def _whole(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: must be {least}..{most}")
        return number

    return parse


def _device(text: str) -> str:
    if complaint := device_name(text):
        raise argparse.ArgumentTypeError(f"{text!r}: {complaint}")
    return text
