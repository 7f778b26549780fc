"""Template frames and boxes to an avatar bundle, written once and whole.

Everything goes to a temporary directory beside the target, which is renamed at the end: a bundle
under its own name is always complete.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from workers.arrays import U8
from workers.avatar import (
    COMPILER_VERSION,
    CROPS,
    FRAMES,
    MANIFEST,
    Manifest,
    check_size,
    image_sha256,
)
from workers.directories import put_in_place
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
        manifest = _write(templates, partial, avatar_id, source_version, family)
        partial.chmod(0o755)
        put_in_place(partial, target)
        return manifest
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(
    templates: Iterable[tuple[U8, Box]],
    directory: Path,
    avatar_id: str,
    source_version: str,
    family: Family,
) -> Manifest:
    boxes, frame_sums, crop_sums = [], [], []
    sizes: set[tuple[int, ...]] = set()
    with open(directory / FRAMES, "wb") as frames, open(directory / CROPS, "wb") as crops:
        for frame, box in templates:
            check_size(frame.shape[1], frame.shape[0], box)
            crop = crop_canvas(frame, box, family.canvas_px)
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
        family=family.name,
        compiler_version=COMPILER_VERSION,
        source_version=source_version,
        width_px=width_px,
        height_px=height_px,
        canvas_px=family.canvas_px,
        boxes=tuple(boxes),
        frame_sha256=tuple(frame_sums),
        crop_sha256=tuple(crop_sums),
    )
    manifest.validate()
    (directory / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest
