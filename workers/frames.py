"""The steps every frame goes through, for the sequential renderer and the farm alike."""

import numpy as np
from PIL import Image

from workers.arrays import U8
from workers.avatar import Bundle
from workers.families import Family
from workers.geometry import template_index
from workers.kernels.backends import DEFAULT, kernels
from workers.kernels.jpeg import JpegSettings, encode_jpeg
from workers.kernels.paste import blend, face
from workers.kernels.patch_memory import PatchMemory
from workers.kernels.splice import changed, splice
from workers.stages import StageTimes


def crops_of(bundle: Bundle, frames: range) -> U8:
    """The crops of consecutive frames' templates, uint8 (n, C, C, 3), RGB; see `gather_crops`."""
    crops = np.empty((len(frames), *bundle.manifest.crop_shape), np.uint8)
    gather_crops(bundle, frames, crops)
    return crops


def gather_crops(bundle: Bundle, frames: range, out: U8) -> None:
    """The crops of consecutive frames' templates, copied into ``out``, uint8 (n, C, C, 3), RGB.

    ``frames`` : absolute frame indices.  Raises BundleError for a damaged crop.
    """
    for place, frame in zip(out, frames, strict=True):
        place[...] = bundle.crop(_template(bundle, frame))


class Finisher:
    """Painted crops to JPEG frames, each step timed, in memory that all its frames share.

    ``painted`` is everywhere what the model made of the frame's crop: uint8 (C, C, 4), RGBX.  All
    raise BundleError for a damaged template.  For one thread.
    """

    def __init__(self, family: Family, times: StageTimes, backend: str = DEFAULT) -> None:
        self._family = family
        self._times = times
        self._kernels = kernels(backend)
        self._memory = PatchMemory()

    def jpeg(self, bundle: Bundle, frame: int, painted: U8, quality: int | None = None) -> bytes:
        """The finished frame: spliced, or encoded whole where another quality is wanted.

        ``quality`` : None, or the avatar's own, for the one it was compiled with.
        """
        index = _template(bundle, frame)
        if quality is not None and quality != bundle.manifest.quality:
            return self._whole(bundle, index, painted, quality)
        jpeg = self._patch_jpeg(bundle, index, painted)
        with self._times.stage("splice"):
            return splice(bundle.template(index), jpeg, bundle.manifest.changed_rects[index])

    def change(self, bundle: Bundle, frame: int, painted: U8) -> bytes:
        """What tells the finished frame from its template; see `workers.kernels.splice`."""
        index = _template(bundle, frame)
        jpeg = self._patch_jpeg(bundle, index, painted)
        with self._times.stage("splice"):
            return changed(jpeg, bundle.template(index), bundle.manifest.changed_rects[index])

    def patch(self, bundle: Bundle, frame: int, painted: U8) -> Image.Image:
        """The finished frame in its template's patch rectangle, RGBX; not if that is empty.

        Valid until the next frame is finished.
        """
        return self._patch(bundle, _template(bundle, frame), painted)

    def _patch_jpeg(self, bundle: Bundle, index: int, painted: U8) -> bytes:
        if bundle.patch_rect(index).is_empty():
            return b""
        patch = self._patch(bundle, index, painted)
        with self._times.stage("encode"):
            return encode_jpeg(patch, bundle.manifest.grid.settings)

    def _patch(self, bundle: Bundle, index: int, painted: U8) -> Image.Image:
        box, paste = bundle.box(index), bundle.manifest.paste
        with self._times.stage("resize"):
            mouth = face(painted, box.side, paste, self._family)
        with self._times.stage("blend"):
            patch, at = bundle.patch(index), bundle.patch_rect(index)
            mix = self._kernels.paste_mixed
            return blend(patch, at, mouth, box, paste, self._family, mix, self._memory)

    def _whole(self, bundle: Bundle, index: int, painted: U8, quality: int) -> bytes:
        """Around the mouth it is a copy of a copy: the template's own JPEG is what there is."""
        with self._times.stage("template"):
            image = bundle.frame(index)
        at = bundle.patch_rect(index)
        if not at.is_empty():
            image.paste(self._patch(bundle, index, painted), (at.x0, at.y0))
        with self._times.stage("encode"):
            return encode_jpeg(image, JpegSettings(quality, bundle.manifest.chroma, 0))


def _template(bundle: Bundle, frame: int) -> int:
    return template_index(frame, bundle.manifest.n_templates)
