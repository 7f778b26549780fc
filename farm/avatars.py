"""Find avatars: by id in the data directory, by path, or the built-in ``demo``."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from farm.demo.avatar import DRAWING_VERSION, draw_frames
from farm.errors import UnknownAvatar
from farm.paths import Paths
from workers.arrays import U8
from workers.avatar import MANIFEST, Bundle
from workers.avatar_compiler import compile_avatar
from workers.errors import BundleError
from workers.families import FAMILIES
from workers.geometry import Box

DEMO_ID = "demo"
DEMO_SOURCE_VERSION = f"drawing {DRAWING_VERSION}"
DEMO_FAMILY = FAMILIES["synctalk-328-ave"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def find_avatar(name: str, paths: Paths, *, on_template: Callable[[], None]) -> Bundle:
    """Open the avatar called ``name``, an id or a path to a bundle.

    ``on_template`` is called for each template frame drawn, when ``demo`` is used the first time.
    Raises UnknownAvatar and BundleError.
    """
    if _ID.fullmatch(name) and (paths.avatars / name / MANIFEST).exists():
        return Bundle(paths.avatars / name)
    if name == DEMO_ID:
        return _demo_bundle(paths.demo_avatar, on_template)
    if name and Path(name).is_dir():
        return Bundle(Path(name))
    known = ", ".join(avatar_ids(paths))
    raise UnknownAvatar(f"{name}: no avatar of that id or path (there are: {known})")


def avatar_ids(paths: Paths) -> list[str]:
    """Every id ``find_avatar`` knows, ``demo`` first."""
    built = sorted(path.parent.name for path in paths.avatars.glob(f"*/{MANIFEST}"))
    return [DEMO_ID, *(avatar_id for avatar_id in built if avatar_id != DEMO_ID)]


def _demo_bundle(directory: Path, on_template: Callable[[], None]) -> Bundle:
    """The demo avatar, drawn and compiled when the cache does not hold today's drawing."""
    try:
        bundle = Bundle(directory)
        if bundle.manifest.source_version == DEMO_SOURCE_VERSION:
            return bundle
    except BundleError:
        pass  # not there, or from another version: a cache is simply made again
    compile_avatar(
        _demo_templates(on_template),
        directory,
        avatar_id=DEMO_ID,
        source_version=DEMO_SOURCE_VERSION,
        family=DEMO_FAMILY,
    )
    return Bundle(directory)


def _demo_templates(on_template: Callable[[], None]) -> Iterator[tuple[U8, Box]]:
    for drawn in draw_frames():
        yield drawn.image_rgb, drawn.box
        on_template()
