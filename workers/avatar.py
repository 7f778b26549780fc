"""An avatar bundle: what a compiled avatar looks like on disk, and how it is opened.

A directory of plain files, read through memory maps that all processes share:

    manifest.json   sizes, boxes and checksums, with its own digest
    crops.u8        what the model sees of each template: uint8 (n, C, C, 3), RGB
    patches.u8      the templates' pixels that are encoded anew for a frame, RGB, one after another
    segments.jpg    the templates' JPEGs without their common head, one after another
    offsets.i64     where in it each segment begins: int64 (n, n_segments + 1), little-endian

No frame is kept as pixels: around the mouth it is never decoded, only joined.

The directory is opened once and the files through it: a bundle that is replaced meanwhile is seen
whole, the old one or the new.  Opening checks the manifest and the sizes, in milliseconds.  What
belongs to a template is checked against its checksum when a process first touches it.  Bundles are
written by ``workers.avatar_compiler`` and never changed.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image

from workers.arrays import I64, U8
from workers.errors import BundleError
from workers.families import Family
from workers.geometry import Box, Rect
from workers.kernels.jpeg import NotSpliceable
from workers.kernels.splice import UNCHANGED, TemplateJpeg, join, template_head
from workers.manifest import Manifest

MANIFEST, CROPS, PATCHES = "manifest.json", "crops.u8", "patches.u8"
SEGMENTS, OFFSETS = "segments.jpg", "offsets.i64"
FILES = (MANIFEST, CROPS, PATCHES, SEGMENTS, OFFSETS)
MAX_MANIFEST_BYTES = 64 << 20  #: 300,000 template frames


class Bundle:
    """An open avatar bundle; all it gives are views into the page cache.

    Raises BundleError when something is missing, has another size, or was changed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._checked: set[tuple[str, int]] = set()
        self._templates: dict[int, TemplateJpeg] = {}
        while True:
            with _opened(directory) as descriptor:
                try:
                    return self._open_files(descriptor)
                except BundleError:
                    # It may have been replaced, and the old one's files removed under our eyes.
                    if not _is_replaced(directory, descriptor):
                        raise

    def _open_files(self, descriptor: int) -> None:
        self.manifest = manifest = _read_manifest(self.directory, descriptor)
        sizes = [3 * rect.width * rect.height for rect in manifest.patch_rects]
        self._patch_begins = [0, *accumulate(sizes)]
        n_offsets = manifest.n_templates * (manifest.grid.n_segments + 1)
        n_crop_bytes = int(np.prod((manifest.n_templates, *manifest.crop_shape), dtype=np.int64))
        map_file = partial(_map, self.directory, descriptor)
        self._crops = map_file(CROPS, n_crop_bytes).reshape(-1, *manifest.crop_shape)
        self._patches = map_file(PATCHES, self._patch_begins[-1])
        self._segments = map_file(SEGMENTS, manifest.body_bytes)
        offsets = map_file(OFFSETS, 8 * n_offsets).view("<i8").astype(np.int64, copy=False)
        self._offsets: I64 = offsets.reshape(manifest.n_templates, -1)
        self._head = bytes.fromhex(manifest.head)
        if self._head != template_head(manifest.grid):
            # Its segments and those that we would encode are not of one picture.
            raise BundleError(
                f"{self.directory}: was compiled with another JPEG encoder; build it again"
            )

    def require_family(self, family: Family) -> None:
        """Raises BundleError unless the crops are for models of this family."""
        mine = (self.manifest.family, self.manifest.canvas_px)
        if mine != (family.name, family.canvas_px):
            raise BundleError(
                f"{self.directory}: was compiled for {mine[0]} at {mine[1]} pixels, the model is"
                f" {family.name} at {family.canvas_px}: build it again"
            )

    def crop(self, index: int) -> U8:
        """The crop of template ``index``, uint8 (C, C, 3), RGB, read-only."""
        crop: U8 = self._crops[index]
        self._check(CROPS, index, self.manifest.crop_sha256, crop)
        return crop

    def patch(self, index: int) -> U8:
        """The pixels ``patch_rect(index)`` of template ``index``, uint8 (h, w, 3), RGB, read-only.

        May be empty: then no pixel of the frame ever changes.
        """
        rect = self.patch_rect(index)
        begin, end = self._patch_begins[index : index + 2]
        patch: U8 = self._patches[begin:end].reshape(rect.height, rect.width, 3)
        self._check(PATCHES, index, self.manifest.patch_sha256, patch)
        return patch

    def template(self, index: int) -> TemplateJpeg:
        """The JPEG of template ``index``, ready to be joined with a change."""
        template = self._templates.get(index)
        if template is None:
            template = self._templates[index] = self._template(index)
        return template

    def _template(self, index: int) -> TemplateJpeg:
        offsets = self._offsets[index]
        begin = self._offsets[index - 1][-1] if index > 0 else 0
        if offsets[0] != begin:
            raise self._damaged(OFFSETS, index)
        try:
            template = TemplateJpeg(self.manifest.grid, self._head, self._segments.data, offsets)
        except NotSpliceable as error:
            raise self._damaged(OFFSETS, index) from error
        body = self._segments[offsets[0] : offsets[-1]]
        if jpeg_sha256(body, offsets) != self.manifest.jpeg_sha256[index]:
            raise self._damaged(SEGMENTS, index)
        return template

    def frame(self, index: int) -> Image.Image:
        """Template ``index`` as its JPEG shows it, RGB; its patch still has the source's pixels."""
        jpeg = io.BytesIO(join(self.template(index), UNCHANGED))
        try:
            image = Image.open(jpeg).convert("RGB")
        except (OSError, Image.DecompressionBombError) as error:
            path = self.directory / SEGMENTS
            raise BundleError(f"{path}: template {index} cannot be decoded ({error})") from error
        rect = self.patch_rect(index)
        if not rect.is_empty():
            image.paste(Image.fromarray(self.patch(index)), (rect.x0, rect.y0))
        return image

    @property
    def n_bytes(self) -> int:
        """On disk."""
        return sum((self.directory / name).stat().st_size for name in FILES)

    def box(self, index: int) -> Box:
        return self.manifest.boxes[index]

    def patch_rect(self, index: int) -> Rect:
        return self.manifest.patch_rects[index]

    def verify(self) -> None:
        """Check every byte.  Raises BundleError at the first template that differs."""
        for index in range(self.manifest.n_templates):
            self.crop(index)
            self.patch(index)
            self.template(index)

    def _check(self, name: str, index: int, sums: tuple[str, ...], pixels: U8) -> None:
        if (name, index) not in self._checked:
            if pixels_sha256(pixels) != sums[index]:
                raise self._damaged(name, index)
            self._checked.add((name, index))

    def _damaged(self, name: str, index: int) -> BundleError:
        path = self.directory / name
        return BundleError(f"{path}: template {index} is damaged; build it again")


def pixels_sha256(pixels: U8) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def jpeg_sha256(body: U8, offsets: I64) -> str:
    """Of a template's segments and where they begin in the file."""
    digest = hashlib.sha256(np.ascontiguousarray(body).data)
    digest.update(np.ascontiguousarray(offsets, "<i8").tobytes())
    return digest.hexdigest()


def _is_replaced(directory: Path, descriptor: int) -> bool:
    try:
        return not os.path.samestat(os.stat(descriptor), os.stat(directory))
    except OSError:
        return False  # gone altogether


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{directory}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_manifest(directory: Path, descriptor: int) -> Manifest:
    path = directory / MANIFEST
    try:
        with open(MANIFEST, "rb", opener=partial(os.open, dir_fd=descriptor)) as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{directory}: is not an avatar bundle (it has no {MANIFEST})") from error
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    try:
        if len(text) > MAX_MANIFEST_BYTES:
            raise ValueError(f"more than {MAX_MANIFEST_BYTES} bytes")
        return Manifest.from_json(text.decode())
    except ValueError as error:
        raise BundleError(f"{path}: not a sound manifest ({error})") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: not a sound manifest (fields are missing or wrong)") from error


def _map(directory: Path, descriptor: int, name: str, expected: int) -> U8:
    """All bytes of a file; raises BundleError unless there are as many as expected."""
    path = directory / name
    try:
        with open(name, "rb", opener=partial(os.open, dir_fd=descriptor)) as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != expected:
                raise BundleError(f"{path}: {actual} bytes, the manifest says {expected}")
            if expected == 0:
                return np.zeros(0, np.uint8)  # nothing can be mapped
            # Not as a memmap: each slice of one would be a call of Python's.
            return np.asarray(np.memmap(file, np.uint8, mode="r", shape=(expected,)))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
