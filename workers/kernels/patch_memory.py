"""The memory in which frames' patches are put together, one after the other.

A patch is RGB in its bundle and RGBX here.  What a mouth is going to hide is not copied.
"""

import numpy as np
from PIL import Image

from workers.arrays import U8, U32
from workers.geometry import Rect
from workers.kernels.tensors import as_image, fours, unpack

NOTHING = Rect(0, 0, 0, 0)
MAX_IMAGES = 64  #: of 1 KB and 8 bytes a row
KEPT_BYTES = 8 << 20  #: more than Pillow and a JPEG take for any part of a frame at once


class PatchMemory:
    """As large as the largest patch that it has held.  For one thread."""

    def __init__(self) -> None:
        keep_freed_memory()
        self._pixels: U32 = np.empty(0, np.uint32)
        #: width and height -> image of the memory's beginning, and what Pillow keeps its pixels by
        self._images: dict[tuple[int, int], tuple[Image.Image, object]] = {}

    def image(self, patch: U8, hidden: Rect = NOTHING) -> Image.Image:
        """A patch as an image of mode RGBX, valid until the next call.

        Parameters
        ----------
        patch : uint8, shape (h, w, 3), RGB.  Not modified.
        hidden : the part of it, or none, that the caller is going to write over.  Until then it has
            pixels of patches before.
        """
        height, width, _ = patch.shape
        if self._pixels.size < height * width:
            self._pixels = np.empty(height * width, np.uint32)
            self._images.clear()
        pixels, rgb = self._pixels[: height * width], np.ascontiguousarray(patch).reshape(-1)
        if hidden.is_empty():
            unpack(rgb, pixels)
        else:
            unpack_around(rgb, pixels, width, hidden)
        return self._image_of(pixels, (width, height))

    def _image_of(self, pixels: U32, size: tuple[int, int]) -> Image.Image:
        """Made once for each size: avatars have few, and mapping takes half as long as a paste."""
        image, core = self._images.get(size, (None, None))
        if image is None or image.im is not core:
            width, height = size
            image = as_image(pixels.view(np.uint8).reshape(height, width, 4))
            # Else Pillow takes a copy at the first paste.  Should it do so all the same, that costs
            # time and no pixel: such an image is not used again.
            image.readonly = 0
            if len(self._images) == MAX_IMAGES:
                self._images.clear()
            self._images[size] = image, image.im
        return image


def keep_freed_memory() -> None:
    """Let the next frame have what one has freed: else glibc may give it to the system meanwhile.

    A frame then begins with 150 page faults, as long as its encoding takes.  glibc keeps what is
    smaller than the largest block that was freed so far (mallopt(3), M_MMAP_THRESHOLD): this one
    is never touched, and so costs nothing.
    """
    np.empty(KEPT_BYTES, np.uint8)


def unpack_around(rgb: U8, rgbx: U32, width: int, hidden: Rect) -> None:
    """``unpack`` for a picture of this width, all but the pixels of a rectangle inside it."""
    begin, end = hidden.y0 * width + hidden.x0, (hidden.y1 - 1) * width + hidden.x1
    joined = fours(rgb)
    rgbx[:begin] = joined[:begin]
    rgbx[end:-1] = joined[end:]
    rgbx[-1:].view(np.uint8)[:3] = rgb[-3:]
    # Between: from right of the rectangle to left of it in the next row, one run for each row.
    right, n_runs, run = begin + hidden.width, hidden.height - 1, width - hidden.width
    runs = rgb[3 * right : 3 * end].reshape(n_runs, 3 * width)[:, : 3 * run]
    # Gathered first: pixel by pixel, each run would wait for memory that no cache has, 0.04 ms
    # for a mouth's patch; copied whole, several do at once.
    near = np.empty(runs.size + 1, np.uint8)
    near[:-1].reshape(runs.shape)[...] = runs
    rgbx[right:end].reshape(n_runs, width)[:, :run] = fours(near).reshape(n_runs, run)
