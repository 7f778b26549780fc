"""The same work as a good engineer does it with OpenCV and libjpeg-turbo: what we compare with.

Frames are decoded in memory; a mouth is resized and written over its box (no feather); the whole
frame is encoded.  Each step has its variants, and the benchmark takes the quickest of all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from workers.arrays import U8
from workers.geometry import Box

try:  # its wheels carry libjpeg-turbo; not among the dependencies of the tests
    import simplejpeg
except ImportError:
    simplejpeg = None

SAMPLING_420 = 0x221111


def by_imencode(frame: U8, quality: int) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING_420]
    return cv2.imencode(".jpg", frame, settings)[1].tobytes()


def by_simplejpeg(frame: U8, quality: int) -> bytes:
    # The accurate transform, as in every other path: the fast one is another picture.
    return simplejpeg.encode_jpeg(frame, quality, "BGR", "420", fastdct=False)


ENCODES = (by_imencode, *([by_simplejpeg] if simplejpeg else []))


@dataclass(frozen=True)
class OpenCvPath:
    """Mouths to JPEG frames.  All pictures are BGR, uint8.

    ``puts_back`` : paste into the template itself and put its own pixels back afterwards, instead
    of into a copy of it.
    """

    frames: list[U8]
    crops: list[U8]
    boxes: list[Box]
    quality: int
    encode: Callable[[U8, int], bytes]
    puts_back: bool

    @property
    def name(self) -> str:
        return f"{self.encode.__name__} {'in place' if self.puts_back else 'copy'}"

    def jpeg(self, index: int, mouth: U8) -> bytes:
        """``mouth`` : uint8 (S, S, 3)."""
        box, canvas = self.boxes[index], self.crops[index].copy()
        canvas[4:324, 4:324] = mouth
        face = cv2.resize(canvas, (box.side, box.side), interpolation=cv2.INTER_CUBIC)
        template = self.frames[index]
        inside = np.s_[box.y : box.y + box.side, box.x : box.x + box.side]
        if not self.puts_back:
            frame = template.copy()
            frame[inside] = face
            return self.encode(frame, self.quality)
        before = template[inside].copy()
        template[inside] = face
        jpeg = self.encode(template, self.quality)
        template[inside] = before
        return jpeg


def variants(frames: list[U8], crops: list[U8], boxes: list[Box], quality: int) -> list[OpenCvPath]:
    cv2.setNumThreads(1)
    return [
        OpenCvPath(frames, crops, boxes, quality, encode, puts_back)
        for encode, puts_back in product(ENCODES, (False, True))
    ]
