"""``farm avatar list | info | verify``."""

import argparse

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
    print_table(
        [
            ("avatar", manifest.avatar_id),
            ("directory", str(bundle.directory)),
            ("frames", f"{manifest.n_templates} of {manifest.width_px}x{manifest.height_px}"),
            ("boxes", f"{min(sides)} to {max(sides)} pixels wide"),
            ("crops", f"{manifest.canvas_px}x{manifest.canvas_px}, for {manifest.family}"),
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


def open_avatar(name: str) -> Bundle:
    """An avatar by id or path; a built-in one is drawn if it has to be, with a bar."""
    with progress_bar(f"drawing the avatar {name}", N_TEMPLATES) as on_template:
        return find_avatar(name, user_paths(), on_template=on_template)
