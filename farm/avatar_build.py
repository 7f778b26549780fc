"""Build an avatar of the user's own: frames and boxes in, a bundle under an id out."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from farm.avatar_notes import notes
from farm.avatar_sources import Source, open_source
from farm.avatars import DEMO_FAMILY, DRAWN, only_builder
from farm.box_files import BoxOrder
from farm.errors import AvatarRefused, SourceUnusable
from farm.paths import Paths
from farm.signals import raise_if_ended
from workers.arrays import U8
from workers.avatar import MANIFEST, Bundle
from workers.avatar_compiler import compile_avatar
from workers.errors import BundleError
from workers.families import Family
from workers.geometry import Box
from workers.ids import is_plain_id
from workers.manifest import COMPILER_VERSION, Manifest
from workers.quality import DEFAULT_QUALITY

Paste: TypeAlias = Literal["hard", "feather"]
Bar: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

READER_VERSION = 1  #: raise it when the same files would give other frames or boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What else decides about the bundle."""

    quality: int = DEFAULT_QUALITY  #: of JPEGs, 1..95
    paste: Paste = "feather"  #: how mouths are put into frames
    box_order: BoxOrder | None = None  #: of coords.pkl; None: find out
    family: Family = DEMO_FAMILY  #: of the models that will paint
    model: str = ""  #: id of the one that was trained on it; empty: any


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What was built, or was there already."""

    bundle: Bundle
    is_new: bool
    notes: tuple[str, ...]  #: what may be worth a look
    elapsed_s: float


@contextmanager
def no_bar(_what: str, _total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def build_avatar(
    directory: Path,
    avatar_id: str,
    paths: Paths,
    options: BuildOptions | None = None,
    *,
    force: bool = False,
    bar: Bar = no_bar,
) -> BuildReport:
    """Compile the material in ``directory`` to the avatar ``avatar_id`` of this user.

    Does nothing when that has been built before of the same material with the same options.  An
    avatar that was built of anything else is replaced only with ``force``.  Waits for another
    build of the same id.

    ``bar`` : is told of each stage and the number of its steps, as ``farm.progress.progress_bar``.
    Raises SourceUnusable and AvatarRefused; then, as when it is interrupted, nothing has changed.
    """
    options = options or BuildOptions()
    began = time.monotonic()
    target = paths.avatars / avatar_id
    _check_id(avatar_id)
    if options.model and not is_plain_id(options.model):
        raise AvatarRefused(f"model {options.model!r}: is no id of a model")
    source = open_source(directory, box_order=options.box_order)
    try:
        _check_target(target, directory)
        source, digests = _without_way_back(source, _digests(source, bar))
        version = _source_version(source, digests, options)
        with only_builder(target):
            is_new = force or not _is_built(target, version)
            if is_new:
                _compile(source, target, version, options, bar)
            bundle = Bundle(target)
    except OSError as error:
        raise AvatarRefused(
            f"{target}: cannot be written ({error.strerror}); LIPFARM_DATA names another place"
        ) from error
    elapsed_s = time.monotonic() - began
    return BuildReport(bundle=bundle, is_new=is_new, notes=notes(source), elapsed_s=elapsed_s)


def _compile(
    source: Source, target: Path, version: str, options: BuildOptions, bar: Bar
) -> Manifest:
    with bar(f"building the avatar {target.name}", source.n_templates) as advance:
        try:
            return compile_avatar(
                _told(source.templates(), advance),
                target,
                avatar_id=target.name,
                source_version=version,
                family=options.family,
                quality=options.quality,
                paste=options.paste,
                model=options.model,
            )
        except ValueError as error:
            raise SourceUnusable(f"{source.directory}: {error}") from error


def _told(
    templates: Iterator[tuple[U8, Box]], advance: Callable[[], None]
) -> Iterator[tuple[U8, Box]]:
    for template in templates:
        raise_if_ended()  # a picture library may have swallowed it
        yield template
        advance()


def _check_id(avatar_id: str) -> None:
    if not is_plain_id(avatar_id):
        raise AvatarRefused(
            f"{avatar_id!r}: is no id of an avatar; use letters, digits, dots, dashes and"
            " underscores, at most 64, a letter or digit first"
        )
    if avatar_id in DRAWN:
        raise AvatarRefused(f"{avatar_id!r}: is a built-in avatar; choose another id")


def _check_target(target: Path, directory: Path) -> None:
    """Nothing but a bundle is ever replaced, and never what is being read."""
    if directory.resolve().is_relative_to(target.resolve()):
        raise AvatarRefused(f"{directory}: would be replaced by what is built of it; move it away")
    is_empty = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not is_empty and not (target / MANIFEST).is_file():
        raise AvatarRefused(f"{target}: is in the way, and no avatar bundle; move it away")


def _is_built(target: Path, version: str) -> bool:
    """Whether the very same avatar is there, intact; False when it has to be built.

    Raises AvatarRefused when another one is there.
    """
    if not (target / MANIFEST).exists():
        return False
    manifest = _manifest(target)
    if manifest is None or manifest.source_version != version:
        what = "other material or options" if manifest else "what cannot be read"
        raise AvatarRefused(
            f"{target.name}: exists already, and was built of {what}; --force replaces it"
        )
    if manifest.compiler_version != COMPILER_VERSION:
        return False
    try:
        Bundle(target).verify()
    except BundleError:
        return False
    return True


def _manifest(target: Path) -> Manifest | None:
    """Without the rest of the bundle, which may be damaged."""
    try:
        return Manifest.from_json((target / MANIFEST).read_text("utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digests(source: Source, bar: Bar) -> list[str]:
    """SHA-256 of each frame's file: a fifteenth of the time that decoding takes."""
    digests = []
    with bar("reading the frames", source.n_templates) as advance:
        for path in source.frames:
            raise_if_ended()
            try:
                with open(path, "rb") as file:
                    digests.append(hashlib.file_digest(file, "sha256").hexdigest())
            except OSError as error:
                raise SourceUnusable(f"{path}: {error.strerror}") from error
            advance()
    return digests


def _without_way_back(source: Source, digests: list[str]) -> tuple[Source, list[str]]:
    """MuseTalk keeps its frames to and fro.  Ours are walked to and fro anyway: the first half."""
    half, rest = divmod(source.n_templates, 2)
    templates = list(zip(digests, source.boxes, strict=True))
    if rest or half < 2 or templates != templates[::-1]:
        return source, digests
    note = f"frames {half} and on are the first {half} backwards, and left out"
    kept = replace(
        source,
        frames=source.frames[:half],
        boxes=source.boxes[:half],
        notes=(*source.notes, note),
    )
    return kept, digests[:half]


def _source_version(source: Source, digests: Sequence[str], options: BuildOptions) -> str:
    """Changes whenever the bundle would; the same for the same files, wherever they are."""
    templates = [
        [path.name, digest, box.x, box.y, box.side]
        for path, digest, box in zip(source.frames, digests, source.boxes, strict=True)
    ]
    settings = [READER_VERSION, options.family.name, options.quality, options.paste]
    settings += [options.model] if options.model else []
    return "sha256:" + hashlib.sha256(json.dumps([settings, templates]).encode()).hexdigest()
