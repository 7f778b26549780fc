"""``farm avatar list | info | verify | build``."""

import argparse
import sys

from farm.avatar_build import BuildOptions, BuildReport, build_avatar
from farm.avatars import avatar_ids, find_avatar
from farm.demo.avatar import N_TEMPLATES
from farm.paths import user_paths
from farm.progress import print_table, progress_bar
from workers.avatar import Bundle


def list_ids(_arguments: argparse.Namespace) -> int:
    print("\n".join(avatar_ids(user_paths())))
    return 0


def info(arguments: argparse.Namespace) -> int:
    bundle = open_avatar(arguments.avatar)
    manifest = bundle.manifest
    sides = [box.side for box in manifest.boxes]
    n, n_bytes = manifest.n_templates, bundle.n_bytes
    mcus = "MCU" if manifest.interval == 1 else f"{manifest.interval} MCUs"
    print_table(
        [
            ("avatar", manifest.avatar_id),
            ("directory", str(bundle.directory)),
            ("frames", f"{manifest.n_templates} of {manifest.width_px}x{manifest.height_px}"),
            ("boxes", f"{min(sides)} to {max(sides)} pixels wide"),
            ("crops", f"{manifest.canvas_px}x{manifest.canvas_px}, for {manifest.family}"),
            (
                "jpegs",
                f"quality {manifest.quality}, {manifest.chroma}, restart markers every {mcus}",
            ),
            ("paste", manifest.paste),
            ("model", manifest.model or "any"),
            ("on disk", f"{n_bytes / 1e6:.1f} MB, {n_bytes / 1e3 / n:.0f} kB a frame"),
            ("compiled from", manifest.source_version),
            ("digest", manifest.digest),
        ]
    )
    return 0


def verify(arguments: argparse.Namespace) -> int:
    bundle = open_avatar(arguments.avatar)
    bundle.verify()
    print(f"{bundle.directory}: all {bundle.manifest.n_templates} frames are intact")
    return 0


def build(arguments: argparse.Namespace) -> int:
    options = BuildOptions(
        quality=arguments.quality,
        paste=arguments.paste,
        box_order=arguments.boxes,
        model=arguments.model or "",
    )
    report = build_avatar(
        arguments.source, arguments.id, user_paths(), options, force=arguments.force,
        bar=progress_bar,
    )  # fmt: skip
    if report.notes:
        print(f"farm: note: {'; '.join(report.notes)}", file=sys.stderr)
    print(_summary(report))
    return 0


def _summary(report: BuildReport) -> str:
    manifest = report.bundle.manifest
    if not report.is_new:
        return f"{manifest.avatar_id}: nothing to do, it is what these files give"
    sides = [box.side for box in manifest.boxes]
    return (
        f"{manifest.avatar_id}: {manifest.n_templates} frames of"
        f" {manifest.width_px}x{manifest.height_px}, boxes {min(sides)} to {max(sides)} pixels"
        f" wide, {report.bundle.n_bytes / 1e6:.1f} MB in {report.elapsed_s:.1f} s;"
        f" try: farm render speech.wav -o talk.mp4 --avatar {manifest.avatar_id}"
    )


def open_avatar(name: str) -> Bundle:
    """An avatar by id or path; a built-in one is drawn if it has to be, with a bar."""
    with progress_bar(f"drawing the avatar {name}", N_TEMPLATES) as on_template:
        return find_avatar(name, user_paths(), on_template=on_template)
