from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from farm.media.audio import open_speech
from farm.media.output import new_output
from farm.media.video import UNBIASED, VideoCodec
from farm.paths import DEMO_SPEECH
from tests.material import clouds, psnr_db
from workers.arrays import U8
from workers.kernels.jpeg import JpegSettings, encode_jpeg


def write(path: Path, codec: VideoCodec, size: tuple[int, int], n: int = 60) -> list[bytes]:
    """A video of ``n`` frames with the bundled speech as sound; gives the JPEGs that went in."""
    settings = JpegSettings(90, "4:2:0", 0)
    jpegs = [encode_jpeg(Image.fromarray(frame), settings) for frame in clouds(n, *size)]
    with (
        open_speech(str(DEMO_SPEECH)) as reader,
        new_output(str(path), codec=codec, size=size, sound=reader.sound_format) as out,
    ):
        for span in reader.spans():
            out.add_sound(span.sound)
        for jpeg in jpegs:
            out.add_frame(jpeg)
    return jpegs


def decode(path: Path) -> tuple[list[av.VideoFrame], "av.VideoCodecContext"]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0)), container.streams.video[0].codec_context


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_every_frame_is_there_at_its_own_time(
    tmp_path: Path, codec: VideoCodec, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"

    write(path, codec, (320, 240))

    frames, context = decode(path)
    assert context.name == codec
    assert [frame.time for frame in frames] == [pytest.approx(i / 25, abs=6e-4) for i in range(60)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_whole_sound_is_there_and_begins_with_the_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"

    write(path, "h264", (320, 240))

    with av.open(str(path)) as container:
        sound = [(f.time, f.samples / f.rate) for f in container.decode(audio=0)]
    assert sound[0][0] == pytest.approx(0, abs=0.05)
    assert sum(length for _, length in sound) == pytest.approx(9.7825, abs=0.1)


def test_mjpeg_keeps_our_jpegs_byte_for_byte(tmp_path: Path) -> None:
    jpegs = write(tmp_path / "a.mkv", "mjpeg", (320, 240))

    with av.open(str(tmp_path / "a.mkv")) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets == jpegs


@pytest.mark.parametrize(("size", "padded"), [((641, 361), (642, 362)), ((320, 241), (320, 242))])
def test_odd_sizes_are_padded_to_even_for_h264_only(
    tmp_path: Path, size: tuple[int, int], padded: tuple[int, int]
) -> None:
    write(tmp_path / "a.mp4", "h264", size, n=3)
    write(tmp_path / "b.mp4", "mjpeg", size, n=3)

    (h264, *_), _ = decode(tmp_path / "a.mp4")
    (mjpeg, *_), _ = decode(tmp_path / "b.mp4")
    assert (h264.width, h264.height) == padded
    assert (mjpeg.width, mjpeg.height) == size


@pytest.mark.parametrize("size", [(320, 240), (321, 241)])
def test_colours_survive_h264(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "a.mp4", "h264", size, n=5)

    frames, context = decode(tmp_path / "a.mp4")

    width, height = size
    for frame, original in zip(frames, clouds(5, *size), strict=True):
        rgb: U8 = frame.to_ndarray(format="rgb24", interpolation=UNBIASED)
        ours = rgb[:height, :width]
        assert psnr_db(ours, original) > 34
        assert np.abs(ours.mean((0, 1)) - original.mean((0, 1))).max() < 1
    assert context.pix_fmt == "yuv420p"
    assert (int(context.colorspace), int(context.color_range)) == (1, 1)
    assert (int(context.color_primaries), int(context.color_trc)) == (1, 1)


def test_not_every_h264_frame_is_a_key_frame(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", "h264", (320, 240))

    frames, _ = decode(tmp_path / "a.mp4")

    assert sum(frame.key_frame for frame in frames) < 5


def test_an_mp4_has_its_index_in_front(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", "h264", (320, 240))

    content = (tmp_path / "a.mp4").read_bytes()

    assert content.index(b"moov") < content.index(b"mdat")
