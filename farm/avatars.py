"""Find avatars: by id in the data directory, by path, or one of the built-in drawn ones."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from farm.demo.avatar import DRAWING_VERSION, draw_frames
from farm.demo.look import LOOKS, Look
from farm.errors import CacheUnusable, UnknownAvatar
from farm.paths import Paths
from workers.arrays import U8
from workers.avatar import MANIFEST, Bundle
from workers.avatar_compiler import compile_avatar
from workers.errors import BundleError
from workers.families import FAMILIES
from workers.geometry import Box
from workers.ids import is_plain_id
from workers.manifest import COMPILER_VERSION

DEMO_ID = "demo"
DEMO_SOURCE_VERSION = f"drawing {DRAWING_VERSION}"
DEMO_FAMILY = FAMILIES["synctalk-328-ave"]

DRAWN: dict[str, Look] = {
    DEMO_ID: LOOKS["maya"],
    **{name: look for name, look in LOOKS.items() if name != "maya"},
}
"""The built-in avatars by id: each is drawn and compiled when it is first used."""


def find_avatar(name: str, paths: Paths, *, on_template: Callable[[], None]) -> Bundle:
    """Open the avatar called ``name``, an id or a path to a bundle.

    ``on_template`` is called for each template frame drawn, when a built-in avatar is first used.
    Raises UnknownAvatar and BundleError.
    """
    if is_plain_id(name) and (paths.avatars / name / MANIFEST).exists():
        return Bundle(paths.avatars / name)
    if name in DRAWN:
        return _drawn_bundle(name, paths.drawn_avatar(name), on_template)
    if name and Path(name).is_dir():
        return Bundle(Path(name))
    known = ", ".join(avatar_ids(paths))
    raise UnknownAvatar(f"{name!r}: no avatar of that id or path (there are: {known})")


def avatar_ids(paths: Paths) -> list[str]:
    """Every id ``find_avatar`` knows: ``demo``, the other built-in ones, those the user built."""
    names = sorted(path.parent.name for path in paths.avatars.glob(f"*/{MANIFEST}"))
    # What a build that was killed left is hidden behind a dot, which no id begins with.
    return [*DRAWN, *(name for name in names if is_plain_id(name) and name not in DRAWN)]


def _drawn_bundle(avatar_id: str, directory: Path, on_template: Callable[[], None]) -> Bundle:
    """A built-in avatar, drawn and compiled when the cache does not hold today's drawing."""
    bundle = current_drawing(directory)
    if bundle is not None:
        return bundle
    try:
        with only_builder(directory):
            # Somebody else may have drawn it while we waited.
            if (bundle := current_drawing(directory)) is not None:
                return bundle
            compile_avatar(
                _templates(DRAWN[avatar_id], on_template),
                directory,
                avatar_id=avatar_id,
                source_version=DEMO_SOURCE_VERSION,
                family=DEMO_FAMILY,
            )
    except OSError as error:
        raise CacheUnusable(
            f"{directory}: a drawn avatar cannot be kept there ({error.strerror});"
            " LIPFARM_CACHE names another place"
        ) from error
    return Bundle(directory)


def current_drawing(
    directory: Path, open_bundle: Callable[[Path], Bundle] = Bundle
) -> Bundle | None:
    """The cached bundle; None when it is not there, damaged, or not what we would draw today."""
    try:
        bundle = open_bundle(directory)
    except (BundleError, OSError):
        return None
    made_by = (bundle.manifest.source_version, bundle.manifest.compiler_version)
    return bundle if made_by == (DEMO_SOURCE_VERSION, COMPILER_VERSION) else None


@contextmanager
def only_builder(directory: Path) -> Iterator[None]:
    """Build the bundle ``directory`` alone: waits for whoever else is at it, tidies up after one
    that was killed, and leaves nothing but what is built.  Raises OSError."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock = directory.with_name(f".{directory.name}.lock")
    with _locked(lock):
        try:
            for leftover in directory.parent.glob(f".{directory.name}.*.partial"):
                # An id may have dots, and then the name of another one in front.
                if leftover.name.count(".") == directory.name.count(".") + 3:
                    shutil.rmtree(leftover, ignore_errors=True)
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on the file that is called ``path`` now."""
    while True:
        with open(path, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had it before us took the file's name away: another one may be locked by now.
            if _is_at(file.fileno(), path):
                yield
                return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _templates(look: Look, on_template: Callable[[], None]) -> Iterator[tuple[U8, Box]]:
    for drawn in draw_frames(look):
        yield drawn.image_rgb, drawn.box
        on_template()
