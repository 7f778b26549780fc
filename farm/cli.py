"""The command ``farm``: arguments in, exit codes out.

The one place where errors become exit codes: 0 done, 2 the caller's fault, 1 anything else, which
is ours.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from farm.avatars import DEMO_ID, avatar_ids, find_avatar
from farm.check import Verdict, findings
from farm.demo.avatar import N_TEMPLATES
from farm.errors import FarmError
from farm.paths import TINY_MODEL, user_paths
from farm.progress import print_table, progress_bar
from farm.render import RenderReport, RenderRequest, render_file
from workers.avatar import Bundle
from workers.errors import CallerFault, WorkerError

EXIT_OURS, EXIT_CALLERS = 1, 2
MAX_BATCH_SIZE = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.  Signals are ``farm.entry``'s."""
    arguments = _parser().parse_args(argv)
    try:
        exit_code: int = arguments.run(arguments)
        sys.stdout.flush()
        return exit_code
    except CallerFault as error:
        return _fail(EXIT_CALLERS, str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FarmError, WorkerError, OSError) as error:
        return _fail(EXIT_OURS, str(error))
    except Exception:  # noqa: BLE001 - the last stop: everything becomes an exit code here
        traceback.print_exc()
        return _fail(EXIT_OURS, "this is a bug in lipfarm, please report it with the lines above")


def _fail(exit_code: int, message: str) -> int:
    one_line = " ".join(message.split())
    print(f"farm: {one_line.encode(errors='replace').decode()}", file=sys.stderr)
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="farm", description="Speech and an avatar in, a talking video out."
    )
    version = importlib.metadata.version("lipfarm")
    parser.add_argument("--version", action="version", version=f"lipfarm {version}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_render(commands)
    _add_avatar(commands)
    check = commands.add_parser("check", help="say what this installation has and lacks")
    check.set_defaults(run=_check)
    return parser


def _add_render(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    render = commands.add_parser("render", help="render a speech file to a video")
    render.add_argument(
        "audio", metavar="AUDIO", help="any file with sound, or - for standard input"
    )
    render.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="OUT.mp4, OUT.mkv, or OUT/ for JPEG frames",
    )
    render.add_argument(
        "--avatar",
        default=DEMO_ID,
        metavar="ID|PATH",
        help="avatar id or bundle (default: %(default)s)",
    )
    render.add_argument(
        "--model", type=Path, default=TINY_MODEL, metavar="DIR", help="directory of a model pair"
    )
    render.add_argument(
        "--batch-size",
        type=_batch_size,
        default=8,
        metavar="N",
        help="frames per call (default: 8)",
    )
    render.add_argument(
        "--video",
        choices=("h264", "mjpeg"),
        help="codec (default: h264); mjpeg keeps the JPEGs as they are",
    )
    render.add_argument("--json", action="store_true", help="print the report as JSON")
    render.set_defaults(run=_render)


def _batch_size(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_BATCH_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 1..{MAX_BATCH_SIZE}")
    return int(text)


def _render(arguments: argparse.Namespace) -> int:
    request = RenderRequest(
        audio=arguments.audio,
        output=arguments.output,
        avatar=arguments.avatar,
        model=arguments.model,
        batch_size=arguments.batch_size,
        codec=arguments.video,
    )
    report = render_file(request, user_paths())
    if report.n_skipped_packets:
        _note(f"{arguments.audio}: {report.n_skipped_packets} broken packets were left out")
    if report.missing_s:
        _note(f"{arguments.audio}: ends {report.missing_s:.1f} s before its header says")
    print(json.dumps(report.to_json(), indent=2) if arguments.json else _summary(report))
    return 0


def _note(message: str) -> None:
    print(f"farm: note: {message}", file=sys.stderr)


def _summary(report: RenderReport) -> str:
    stages = " + ".join(f"{name} {ms:.1f}" for name, ms in report.stage_ms_per_frame.items())
    return (
        f"{report.request.output}: {_count(report.n_frames, 'frame')} in {report.elapsed_s:.1f} s"
        f" = {report.frames_per_s:.1f} frames/s on {report.provider}\n"
        f"milliseconds a frame: {stages}"
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _add_avatar(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    avatar = commands.add_parser("avatar", help="list, describe and verify avatars")
    verbs = avatar.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="the ids known here").set_defaults(run=_avatar_list)
    info = verbs.add_parser("info", help="what a bundle holds")
    verify = verbs.add_parser("verify", help="check every byte of a bundle")
    for verb, run in ((info, _avatar_info), (verify, _avatar_verify)):
        verb.add_argument("avatar", metavar="ID|PATH")
        verb.set_defaults(run=run)


def _avatar_list(_arguments: argparse.Namespace) -> int:
    print("\n".join(avatar_ids(user_paths())))
    return 0


def _avatar_info(arguments: argparse.Namespace) -> int:
    bundle = _open_avatar(arguments.avatar)
    manifest = bundle.manifest
    sides = [box.side for box in manifest.boxes]
    print_table(
        [
            ("avatar", manifest.avatar_id),
            ("directory", str(bundle.directory)),
            ("frames", f"{manifest.n_templates} of {manifest.width_px}x{manifest.height_px}"),
            ("boxes", f"{min(sides)} to {max(sides)} pixels wide"),
            ("crops", f"{manifest.canvas_px}x{manifest.canvas_px}"),
            ("compiled from", manifest.source_version),
            ("digest", manifest.digest),
        ]
    )
    return 0


def _avatar_verify(arguments: argparse.Namespace) -> int:
    bundle = _open_avatar(arguments.avatar)
    bundle.verify()
    print(f"{bundle.directory}: all {bundle.manifest.n_templates} frames are intact")
    return 0


def _open_avatar(name: str) -> Bundle:
    with progress_bar("drawing the demo avatar", N_TEMPLATES) as on_template:
        return find_avatar(name, user_paths(), on_template=on_template)


def _check(_arguments: argparse.Namespace) -> int:
    report = findings(user_paths())
    print_table([(f.verdict.value, f.subject, f.value) for f in report])
    return EXIT_OURS if any(f.verdict is Verdict.BROKEN for f in report) else 0
