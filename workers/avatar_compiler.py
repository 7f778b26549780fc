"""Template frames and boxes to an avatar bundle, written once and whole.

Everything goes to a temporary directory beside the target, which is renamed at the end: a bundle
under its own name is always complete.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from workers.arrays import U8
from workers.avatar import CROPS, FRAMES, MANIFEST, Manifest, check_size, image_sha256
from workers.families import Family
from workers.geometry import Box
from workers.kernels.crop import crop_canvas


def compile_avatar(
    templates: Iterable[tuple[U8, Box]],
    target: Path,
    *,
    avatar_id: str,
    source_version: str,
    family: Family,
) -> Manifest:
    """Write a bundle.

    Parameters
    ----------
    templates : frames, uint8 (H, W, 3), RGB, all of one size, each with its box; read once.
    target : the bundle's directory.  A bundle that is there already is replaced.
    source_version : changes whenever ``templates`` would.

    Raises ValueError when there are no frames, or frames or boxes that cannot be used.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    partial = Path(scratch)
    try:
        manifest = _write(templates, partial, avatar_id, source_version, family.canvas_px)
        partial.chmod(0o755)
        _replace(partial, target)
        return manifest
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(
    templates: Iterable[tuple[U8, Box]],
    directory: Path,
    avatar_id: str,
    source_version: str,
    canvas_px: int,
) -> Manifest:
    boxes, frame_sums, crop_sums = [], [], []
    sizes: set[tuple[int, ...]] = set()
    with open(directory / FRAMES, "wb") as frames, open(directory / CROPS, "wb") as crops:
        for frame, box in templates:
            check_size(frame.shape[1], frame.shape[0], box)
            crop = crop_canvas(frame, box, canvas_px)
            frames.write(frame.tobytes())
            crops.write(crop.tobytes())
            boxes.append(box)
            frame_sums.append(image_sha256(frame))
            crop_sums.append(image_sha256(crop))
            sizes.add(frame.shape)
    if len(sizes) != 1:
        raise ValueError(f"template frames must all have one size, got {sorted(sizes) or 'none'}")
    height_px, width_px, _ = sizes.pop()
    manifest = Manifest(
        avatar_id=avatar_id,
        source_version=source_version,
        width_px=width_px,
        height_px=height_px,
        canvas_px=canvas_px,
        boxes=tuple(boxes),
        frame_sha256=tuple(frame_sums),
        crop_sha256=tuple(crop_sums),
    )
    manifest.validate()
    (directory / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest


def _replace(partial: Path, target: Path) -> None:
    """Put ``partial`` in the place of ``target``.

    A directory cannot be renamed over a full one, so an old bundle is moved aside first.  Processes
    that have it open keep their memory maps.
    """
    if target.exists():
        aside = partial.with_suffix(".old")
        target.rename(aside)
        partial.rename(target)
        shutil.rmtree(aside)
    else:
        partial.rename(target)
