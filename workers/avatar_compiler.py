"""Template frames and boxes to an avatar bundle, written once and whole.

Everything goes to a temporary directory beside the target, which is renamed at the end: a bundle
under its own name is always complete.
"""

import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from workers.arrays import U8
from workers.avatar import CROPS, MANIFEST, OFFSETS, PATCHES, SEGMENTS, jpeg_sha256, pixels_sha256
from workers.directories import put_in_place
from workers.families import Family
from workers.geometry import Box
from workers.kernels.crop import crop_canvas
from workers.kernels.jpeg import JpegSettings, encode_jpeg, split
from workers.kernels.paste import PASTES, changed_rect
from workers.kernels.splice import SpliceGrid, intervals
from workers.manifest import COMPILER_VERSION, Manifest, check_size
from workers.quality import DEFAULT_QUALITY, MAX_QUALITY

CHROMA = "4:2:0"

PIXEL_COST = 2.6
"""ns to unpack and encode one more, on a core of 2023: the slope from 192x192 to 720x512, quality
90, a camera's noise (0.6 is unpacking and Pillow's own, the rest is libjpeg-turbo)."""
BYTE_COST = 2.0
"""ns for one more byte: 0.04 to join and 0.38 for each of two ZeroMQ hops, measured there too; the
rest is for who writes it to a disk."""


def compile_avatar(
    templates: Iterable[tuple[U8, Box]],
    target: Path,
    *,
    avatar_id: str,
    source_version: str,
    family: Family,
    quality: int = DEFAULT_QUALITY,
    chroma: str = CHROMA,
    paste: str = PASTES[0],
    model: str = "",
) -> Manifest:
    """Write a bundle.

    Parameters
    ----------
    templates : frames, uint8 (H, W, 3), RGB, all of one size, each with its box; read once.
    target : the bundle's directory.  A bundle that is there already is replaced.
    source_version : changes whenever ``templates`` would.
    quality : of every frame's JPEG, 1..95.
    paste : "feather" or "hard".
    model : id of the one that was trained on these frames; empty for any.

    Raises ValueError when there are no frames, or frames or boxes that cannot be used.
    """
    if not 1 <= quality <= MAX_QUALITY:
        raise ValueError(f"quality {quality}: must be 1..{MAX_QUALITY}")
    if paste not in PASTES:
        raise ValueError(f"paste {paste!r}: must be one of {', '.join(PASTES)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    partial = Path(scratch)
    try:
        with ExitStack() as files:
            compiler = _Compiler(partial, files, family, JpegSettings(quality, chroma, 0), paste)
            written = [compiler.add(*template) for template in templates]
        manifest = compiler.manifest(written, avatar_id, source_version, model)
        (partial / MANIFEST).write_text(manifest.to_json(), "utf-8")
        partial.chmod(0o755)
        put_in_place(partial, target)
        return manifest
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Template:
    """What the manifest says of one."""

    box: Box
    crop_sha256: str
    patch_sha256: str
    jpeg_sha256: str


class _Compiler:
    """Writes one template after the other; the first one decides how all are cut."""

    def __init__(
        self, directory: Path, files: ExitStack, family: Family, settings: JpegSettings, paste: str
    ) -> None:
        def create(name: str) -> BinaryIO:
            return files.enter_context(open(directory / name, "wb"))

        self._crops, self._patches = create(CROPS), create(PATCHES)
        self._segments, self._offsets = create(SEGMENTS), create(OFFSETS)
        self._family, self._settings, self._paste = family, settings, paste
        self._grid: SpliceGrid | None = None
        self._head = b""
        self._body_bytes = 0

    def add(self, frame: U8, box: Box) -> _Template:
        height_px, width_px, _ = frame.shape
        check_size(width_px, height_px, box)
        image = Image.fromarray(frame)
        changed = changed_rect(box, self._paste, self._family)
        if self._grid is None:
            self._grid = choose_grid(image, changed.width, changed.height, self._settings)
        grid = self._grid
        if (width_px, height_px) != (grid.width_px, grid.height_px):
            sizes = f"{grid.width_px}x{grid.height_px} and {width_px}x{height_px}"
            raise ValueError(f"template frames must all have one size, got {sizes}")
        at = grid.patch_rect(changed)
        crop = crop_canvas(frame, box, self._family.canvas_px)
        patch = np.ascontiguousarray(frame[at.y0 : at.y1, at.x0 : at.x1])
        self._crops.write(crop.data)
        self._patches.write(patch.data)
        jpeg_sum = self._add_jpeg(encode_jpeg(image, grid.settings))
        return _Template(box, pixels_sha256(crop), pixels_sha256(patch), jpeg_sum)

    def _add_jpeg(self, jpeg: bytes) -> str:
        parts = split(jpeg)
        self._head = parts.head
        offsets = parts.offsets + self._body_bytes
        self._segments.write(parts.body)
        self._offsets.write(offsets.astype("<i8").data)
        self._body_bytes += len(parts.body)
        return jpeg_sha256(np.frombuffer(parts.body, np.uint8), offsets)

    def manifest(
        self, templates: list[_Template], avatar_id: str, source_version: str, model: str
    ) -> Manifest:
        if self._grid is None:
            raise ValueError("there are no template frames")
        manifest = Manifest(
            avatar_id=avatar_id,
            family=self._family.name,
            compiler_version=COMPILER_VERSION,
            source_version=source_version,
            width_px=self._grid.width_px,
            height_px=self._grid.height_px,
            canvas_px=self._family.canvas_px,
            paste=self._paste,
            quality=self._grid.settings.quality,
            chroma=self._grid.settings.chroma,
            interval=self._grid.settings.interval,
            head=self._head.hex(),
            body_bytes=self._body_bytes,
            boxes=tuple(template.box for template in templates),
            crop_sha256=tuple(template.crop_sha256 for template in templates),
            patch_sha256=tuple(template.patch_sha256 for template in templates),
            jpeg_sha256=tuple(template.jpeg_sha256 for template in templates),
            model=model,
        )
        manifest.validate()
        return manifest


def choose_grid(
    frame: Image.Image, width_px: int, height_px: int, settings: JpegSettings
) -> SpliceGrid:
    """The restart interval that makes an avatar's frames cheapest: measured on one of them.

    ``width_px``, ``height_px`` : of what changes.  Long segments make it wider than it need be,
    short ones make every JPEG larger.  The sizes are measured and their prices are constants: the
    same source always gives the same bundle, on a busy machine too.
    """
    mcu_width_px, mcu_height_px = settings.mcu_px
    mcus = -(-frame.width // mcu_width_px)

    def cost_ns(interval: int) -> float:
        # What a patch measures on average, over all places where a box may lie.
        patch_px = min(width_px + mcu_width_px * interval - 1, frame.width)
        patch_px *= min(height_px + mcu_height_px - 1, frame.height)
        n_bytes = len(encode_jpeg(frame, replace(settings, interval=interval)))
        return PIXEL_COST * patch_px + BYTE_COST * n_bytes

    best = min(intervals(mcus), key=cost_ns)
    return SpliceGrid(frame.width, frame.height, replace(settings, interval=best))
