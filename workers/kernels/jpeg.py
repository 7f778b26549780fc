"""Baseline JPEG, and where it may be cut.

Terms are those of ITU-T T.81.  An MCU ("block" to Pillow) is the smallest rectangle that is coded
on its own; after every ``interval`` MCUs stands a restart marker RST0..RST7, counted modulo 8,
and what lies between two markers is an entropy-coded segment, which depends on no other.

The head of a JPEG is everything up to its entropy-coded data, the body is the rest: segments,
each followed by its closing marker, which is an RST and for the last one EOI.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from workers.arrays import I64, U8
from workers.errors import WorkerError

#: chroma subsampling -> width and height of an MCU in pixels
MCU_PX = {"4:2:0": (16, 16), "4:2:2": (16, 8), "4:4:4": (8, 8)}
#: chroma subsampling -> what Pillow's codec calls it
CHROMA_CODES = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
PIECE_BYTES = 65_536  #: that Pillow's codec gives at once, as when Pillow calls it
TRIAL_PX = 69  #: no multiple of an MCU's sides
MAX_INTERVAL = 65_535  #: MCUs; the DRI marker has 16 bits for them
MAX_SIDE_PX = 65_500  #: JPEG_MAX_DIMENSION of libjpeg

SOI = b"\xff\xd8"
SOF0, SOS, RST0, EOI = 0xC0, 0xDA, 0xD0, 0xD9
#: SOF0, DHT, DQT, DRI, APP0..APP15 and COM: what may come before the SOS of a baseline JPEG
HEAD_MARKERS = frozenset({SOF0, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})


class NotSpliceable(WorkerError):
    """Bytes that are no JPEG of ours, or no change to one: at fault is who made or sent them."""


@dataclass(frozen=True, slots=True)
class JpegSettings:
    """How frames are encoded.  Raises ValueError for what is out of range."""

    quality: int  #: 1..100, libjpeg's scale
    chroma: str  #: "4:2:0", "4:2:2" or "4:4:4"
    interval: int  #: MCUs from one restart marker to the next, 0..65535; 0: no markers

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"JPEG quality {self.quality}: must be 1..100")
        if self.chroma not in MCU_PX:
            raise ValueError(f"JPEG chroma {self.chroma!r}: must be one of {', '.join(MCU_PX)}")
        if not 0 <= self.interval <= MAX_INTERVAL:
            raise ValueError(f"restart interval {self.interval} MCUs: must be 0..{MAX_INTERVAL}")

    @property
    def mcu_px(self) -> tuple[int, int]:
        """Width and height of an MCU."""
        return MCU_PX[self.chroma]


@dataclass(frozen=True, slots=True, eq=False)
class SplitJpeg:
    """A JPEG cut at its markers; ``body`` is a view into the bytes it was split from."""

    head: bytes
    body: memoryview  #: segments, each with its closing marker
    offsets: I64  #: shape (n_segments + 1,): where in the body each begins, then the body's length


def encode_jpeg(image: Image.Image, settings: JpegSettings) -> bytes:
    """A baseline JPEG with the standard's own Huffman tables.

    ``image`` : mode RGB or RGBX, which give the same bytes.  Raises ValueError for other
    modes: they have other components.
    """
    if image.mode not in ("RGB", "RGBX"):
        raise ValueError(f"an image of mode {image.mode}: must be RGB or RGBX")
    encode = encode_by_codec if is_codec_exact(image.mode, settings) else encode_by_save
    return encode(image, settings)


def encode_by_save(image: Image.Image, settings: JpegSettings) -> bytes:
    """See ``encode_jpeg``: Pillow's public way."""
    out = io.BytesIO()
    image.save(
        out,
        "JPEG",
        quality=settings.quality,
        subsampling=settings.chroma,
        restart_marker_blocks=settings.interval,
        comment=None,  # else Pillow copies the one of the file that the image came from
    )
    return out.getvalue()


def encode_by_codec(image: Image.Image, settings: JpegSettings) -> bytes:
    """See ``encode_jpeg``: what Pillow's public way comes to, a tenth sooner for a mouth's patch.

    It is not Pillow's interface, and may raise anything or encode otherwise in another version.
    """
    image.load()
    codec = Image.core.jpeg_encoder(  # type: ignore[attr-defined]
        image.mode,
        image.mode,  # of the pixels it is given
        settings.quality,
        *(False, 0, False, False, 0),  # progressive, smooth, optimize, keep RGB, stream type
        (0, 0),  # dots per inch
        CHROMA_CODES[settings.chroma],
        *(settings.interval, 0),  # in MCUs, in rows of them
        *(None, None, b"", b""),  # quantization tables, comment, extra markers, EXIF
    )
    codec.setimage(image.im, (0, 0, *image.size))
    pieces: list[bytes] = []
    status = 0
    while status == 0:  # then it is 1, or an error below 0
        _, status, piece = codec.encode(PIECE_BYTES)
        pieces.append(piece)
    if status < 0:
        raise OSError(f"Pillow's JPEG codec gave error {status}")
    return b"".join(pieces)


@lru_cache(maxsize=256)
def is_codec_exact(mode: str, settings: JpegSettings) -> bool:
    """Whether this Pillow's codec gives what its public way gives: tried, not looked up."""
    pixels = np.random.default_rng(0).integers(0, 256, (TRIAL_PX, TRIAL_PX, 3), np.uint8)
    trial = Image.fromarray(pixels).convert(mode)
    try:
        return encode_by_codec(trial, settings) == encode_by_save(trial, settings)
    except (AttributeError, OSError, SystemError, TypeError, ValueError):
        return False


def split(jpeg: bytes | memoryview) -> SplitJpeg:
    """Head and segments of a JPEG, uncopied but for the head.

    Raises NotSpliceable: not baseline, cut short, restart markers out of order, or bytes after EOI.
    """
    body_start = _body_start(jpeg)
    body = memoryview(jpeg)[body_start:]
    levels = np.frombuffer(body, np.uint8)
    markers = find_markers(levels)
    check_markers(levels, markers, closing_codes(len(markers)))
    offsets = np.zeros(len(markers) + 1, np.int64)
    np.add(markers, 2, out=offsets[1:])
    return SplitJpeg(bytes(jpeg[:body_start]), body, offsets)


def find_markers(body: U8) -> I64:
    """Where in the entropy-coded bytes ``body``, shape (n,), markers begin, in order.

    0xFF begins a marker unless 0 follows, which makes it a byte like any other.
    """
    (escapes,) = (body[:-1] == 0xFF).nonzero()
    markers: I64 = escapes[body[1:][escapes] != 0]
    return markers


def check_markers(body: U8, markers: I64, codes: U8) -> None:
    """Raise NotSpliceable unless ``markers`` of ``body`` are ``codes`` and the last one ends it.

    codes : uint8, shape (n_segments,), the byte after 0xFF of each closing marker.
    """
    if len(markers) != len(codes) or not len(codes):
        raise NotSpliceable(f"{len(markers)} segments where {max(len(codes), 1)} belong")
    if markers[-1] + 2 != len(body):
        raise NotSpliceable("bytes after the last segment's marker")
    if body[1:][markers].tobytes() != codes.tobytes():
        raise NotSpliceable("the segments' markers are not those that belong there")


def closing_codes(n_segments: int) -> U8:
    """What follows each segment of a JPEG: uint8, shape (n_segments,), RST0..RST7 and at last EOI.

    Codes are the marker's second byte.
    """
    codes = (RST0 + np.arange(n_segments) % 8).astype(np.uint8)
    codes[-1:] = EOI
    return codes


def with_size(head: bytes, width_px: int, height_px: int) -> bytes:
    """The head of a JPEG that is alike in all but its size.  Raises NotSpliceable: no head."""
    at = next((start for code, start, _ in _head_segments(head) if code == SOF0), None)
    if at is None:
        raise NotSpliceable("no SOF0: not a baseline JPEG")
    # After the marker's length and the bits per sample.
    size = height_px.to_bytes(2, "big") + width_px.to_bytes(2, "big")
    return head[: at + 3] + size + head[at + 7 :]


def _body_start(jpeg: bytes | memoryview) -> int:
    for code, _, end in _head_segments(jpeg):
        if code == SOS:
            return end
    raise NotSpliceable("not a JPEG: it ends before its entropy-coded data")


def _head_segments(jpeg: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Each marker before the body: its code, and from where to where it has parameters."""
    if jpeg[:2] != SOI:
        raise NotSpliceable("not a JPEG: it does not begin with SOI")
    at = 2
    while at + 4 <= len(jpeg):
        escape, code = jpeg[at], jpeg[at + 1]
        if escape != 0xFF or (code not in HEAD_MARKERS and code != SOS):
            raise NotSpliceable(f"bytes {escape:02x} {code:02x} in the head: not a baseline JPEG")
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if not at + 4 <= end <= len(jpeg):
            raise NotSpliceable("not a JPEG: a marker's length is wrong")
        yield code, at + 2, end
        if code == SOS:
            return
        at = end
