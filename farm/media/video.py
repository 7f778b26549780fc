"""JPEG frames and their sound to a video file.

Frame i is shown at i/25 s: times come from frame numbers, never from a clock.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from farm.media.audio import SoundFormat
from workers.arrays import U8
from workers.features.windows import FPS

VideoCodec: TypeAlias = Literal["h264", "mjpeg"]
FrameSize: TypeAlias = tuple[int, int]  #: width, height in pixels

Packet: TypeAlias = "av.Packet[Any]"

FRAME_TIME = Fraction(1, FPS)  #: seconds

H264_OPTIONS = {"preset": "veryfast", "crf": "18"}  #: visually lossless, 4x faster than "medium"
#: libswscale's fast path darkens everything by 2 levels of 255; this costs 2 ms a 720p frame more.
UNBIASED = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
AAC_BIT_RATE = 160_000  #: bits a second
AAC_RATES_HZ = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
BT709 = (
    1  #: the code of ITU-R BT.709 for matrix, primaries and transfer in H.264 (table E-3 to E-5)
)


class VideoWriter:
    """A video file being written: frames in order, sound as it comes."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        codec: VideoCodec,
        size: FrameSize,
        sound: SoundFormat,
    ) -> None:
        self._n_frames = 0
        self._container = container
        self._video = (_JpegTrack if codec == "mjpeg" else _H264Track)(container, size)
        self._sound = _SoundTrack(container, sound)

    def add_sound(self, frames: Iterable[av.AudioFrame]) -> None:
        for frame in frames:
            self._container.mux(self._sound.encode(frame))

    def add_frame(self, jpeg: bytes) -> None:
        """The next video frame, a baseline JPEG of the size announced."""
        self._container.mux(self._video.encode(jpeg, self._n_frames))
        self._n_frames += 1

    def finish(self) -> None:
        self._container.mux(self._sound.flush())
        self._container.mux(self._video.flush())


@contextmanager
def new_video(
    path: Path, *, codec: VideoCodec, size: FrameSize, sound: SoundFormat
) -> Iterator[VideoWriter]:
    """Write a video to ``path``; its ending names the container."""
    # The index goes in front, so that a browser can play before it has the whole file.
    options = {"movflags": "+faststart"} if path.suffix.lower() == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        writer = VideoWriter(container, codec, size, sound)
        yield writer
        writer.finish()


class _JpegTrack:
    """Our JPEGs, copied byte for byte."""

    def __init__(self, container: av.container.OutputContainer, size: FrameSize) -> None:
        width, height = size
        self._stream = container.add_mux_stream("mjpeg", rate=FPS, width=width, height=height)

    def encode(self, jpeg: bytes, frame_index: int) -> list[Packet]:
        packet = av.Packet(jpeg)
        packet.stream = self._stream
        packet.time_base = FRAME_TIME
        packet.pts = packet.dts = frame_index
        packet.duration = 1
        packet.is_keyframe = True
        return [packet]

    def flush(self) -> list[Packet]:
        return []


class _H264Track:
    """Decoded and encoded again, in the colours that players expect of HD video."""

    def __init__(self, container: av.container.OutputContainer, size: FrameSize) -> None:
        self._stream = container.add_stream("libx264", rate=FPS, options=H264_OPTIONS)
        # H.264's 4:2:0 refuses odd sides.
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = FRAME_TIME
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        # libavcodec's own decoder keeps the JPEG's planes: no trip through RGB.
        self._decoder = av.VideoCodecContext.create("mjpeg", "r")
        self._decoder.thread_count = 1  # more would hold frames back
        self._reformatter = VideoReformatter()

    def encode(self, jpeg: bytes, frame_index: int) -> list[Packet]:
        (decoded,) = self._decoder.decode(av.Packet(jpeg))
        # JPEG is BT.601 in full range; HD video without a word is taken for BT.709 in TV range.
        frame = self._reformatter.reformat(
            _even(decoded),
            format="yuv420p",
            src_colorspace=Colorspace.ITU601,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=UNBIASED,
        )
        frame.pts, frame.time_base = frame_index, FRAME_TIME
        frame.pict_type = PictureType.NONE  # a JPEG's own type would make every frame a key frame
        return self._stream.encode(frame)

    def flush(self) -> list[Packet]:
        return self._stream.encode(None)


class _SoundTrack:
    """The file's own sound as AAC, at most two channels."""

    def __init__(self, container: av.container.OutputContainer, sound: SoundFormat) -> None:
        rate_hz = next((r for r in AAC_RATES_HZ if r <= sound.rate_hz), AAC_RATES_HZ[-1])
        layout = "mono" if sound.n_channels == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=rate_hz, layout=layout)
        self._stream.bit_rate = AAC_BIT_RATE
        self._to_aac = av.AudioResampler("fltp", layout, rate_hz)

    def encode(self, frame: av.AudioFrame) -> list[Packet]:
        pieces = self._to_aac.resample(frame)
        return [packet for piece in pieces for packet in self._stream.encode(piece)]

    def flush(self) -> list[Packet]:
        pieces = self._to_aac.resample(None)
        packets = [packet for piece in pieces for packet in self._stream.encode(piece)]
        return packets + self._stream.encode(None)


def _even(frame: av.VideoFrame) -> av.VideoFrame:
    """The last row and column repeated where a side is odd: H.264's 4:2:0 refuses those."""
    if frame.width % 2 == 0 and frame.height % 2 == 0:
        return frame
    rgb = frame.to_ndarray(format="rgb24", interpolation=UNBIASED)
    padded: U8 = np.pad(rgb, ((0, frame.height % 2), (0, frame.width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(padded, "rgb24")
