import os
import struct
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from farm.errors import AudioUnreadable
from farm.media import audio as audio_module
from farm.media.audio import open_speech
from farm.paths import DEMO_SPEECH
from tests.material import read_speech
from workers.arrays import F32


def write_wav(path: Path, channels: F32, rate_hz: int) -> Path:
    """16-bit PCM; ``channels`` is (n_channels, n)."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(len(channels))
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(np.rint(channels.T * 32767).astype("<i2").tobytes())
    return path


def encode(path: Path, codec: str, samples: F32, rate_hz: int = 48_000) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, stream.frame_size or None)
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def clicks(rate_hz: int, at_s: list[float], length_s: float = 3.0) -> F32:
    samples = np.zeros(int(rate_hz * length_s), np.float32)
    samples[[round(rate_hz * t) for t in at_s]] = 0.9
    return samples


def test_16_khz_mono_pcm_arrives_bit_for_bit(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = (rng.integers(-32767, 32768, 30_000) / 32767).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", samples[None], 16_000)

    ours = read_speech(path)

    assert np.array_equal(ours, np.rint(samples * 32767).astype(np.float32) / 32768)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_resampling_moves_nothing(tmp_path: Path, rate_hz: int) -> None:
    path = write_wav(tmp_path / "a.wav", clicks(rate_hz, [0.5, 2.75])[None], rate_hz)

    ours = read_speech(path)

    assert abs(len(ours) - 3 * 16_000) <= 1
    peaks = [int(np.argmax(np.abs(half))) for half in (ours[:24_000], ours[24_000:])]
    assert peaks == [pytest.approx(8_000, abs=1), pytest.approx(20_000, abs=1)]


def test_channels_are_mixed_down_to_their_mean(tmp_path: Path) -> None:
    t = np.arange(16_000) / 16_000
    left = (0.8 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)]), 16_000)

    np.testing.assert_allclose(read_speech(path), left / 2, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.ogg", "libopus"), ("a.flac", "flac")],
)
def test_compressed_sound_is_read_and_keeps_its_length(
    tmp_path: Path, name: str, codec: str
) -> None:
    t = np.arange(2 * 48_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)

    ours = read_speech(encode(tmp_path / name, codec, tone))

    assert len(ours) == pytest.approx(32_000, abs=1_600)
    assert np.sqrt(np.mean(ours[8_000:24_000] ** 2)) == pytest.approx(0.5 / 2**0.5, rel=0.05)


@contextmanager
def stdin_from(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[None]:
    """Standard input is a pipe into which somebody writes."""
    read_fd, write_fd = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), open(write_fd, "wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    with open(read_fd) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield
    writer.join()


def test_standard_input_is_read_as_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    with stdin_from(monkeypatch, DEMO_SPEECH.read_bytes()), open_speech("-") as reader:
        piped = np.concatenate([span.speech for span in reader.spans()])

    assert np.array_equal(piped, read_speech(DEMO_SPEECH))


def test_spans_are_short_and_carry_the_sound_as_it_was() -> None:
    with open_speech(str(DEMO_SPEECH)) as reader:
        spans = list(reader.spans())
        rate_hz = reader.sound_format.rate_hz

    assert max(len(span.speech) for span in spans) < 2 * 16_000
    sound = [frame for span in spans for frame in span.sound]
    with wave.open(str(DEMO_SPEECH)) as original:
        assert sum(frame.samples for frame in sound) == original.getnframes()
    assert (rate_hz, sound[0].rate) == (22_050, 22_050)


def junk(tmp_path: Path, name: str) -> Path:
    noise = np.random.default_rng(5).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{DEMO_SPEECH}\n#EXT-X-ENDLIST\n"
    contents = {
        "text.wav": b"this is no sound\n" * 50,
        "empty.wav": b"",
        "noise.mp3": noise,
        "playlist.wav": playlist.encode(),
        "list.wav": f"ffconcat version 1.0\nfile {DEMO_SPEECH}\n".encode(),
        "header_only.wav": DEMO_SPEECH.read_bytes()[:44],
    }
    path = tmp_path / name
    path.write_bytes(contents[name])
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.wav", "not a media file"),
        ("empty.wav", "not a media file"),
        ("noise.mp3", "cannot be decoded|channels"),
        ("playlist.wav", "not a media file"),
        ("list.wav", ""),
        ("header_only.wav", "0 samples"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(tmp_path: Path, name: str, reason: str) -> None:
    path = junk(tmp_path, name)

    with pytest.raises(AudioUnreadable, match=f"{name}: .*{reason}"):
        read_speech(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioUnreadable, match=r"gone.wav: No such file"):
        read_speech(tmp_path / "gone.wav")
    with pytest.raises(AudioUnreadable, match="Is a directory"):
        read_speech(tmp_path)


def test_a_picture_holds_no_sound(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")

    with pytest.raises(AudioUnreadable, match=r"a.png: holds no sound, only video"):
        read_speech(tmp_path / "a.png")


def test_a_few_broken_packets_are_left_out_and_counted(tmp_path: Path) -> None:
    t = np.arange(4 * 48_000) / 48_000
    path = encode(tmp_path / "a.mp3", "libmp3lame", np.sin(2 * np.pi * 300 * t).astype(np.float32))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000] = bytes(2_000)
    path.write_bytes(content)

    with open_speech(str(path)) as reader:
        samples = np.concatenate([span.speech for span in reader.spans()])

    assert len(samples) > 3 * 16_000
    assert reader.n_broken > 0


@pytest.mark.parametrize("n_channels", [2, 3, 6, 8, 9, 24, 64])
def test_many_channels_are_mixed_down_too(tmp_path: Path, n_channels: int) -> None:
    t = np.arange(8_000) / 16_000
    channels = np.zeros((n_channels, len(t)), np.float32)
    channels[-1] = 0.9 * np.sin(2 * np.pi * 200 * t)
    path = write_wav(tmp_path / "a.wav", channels, 16_000)

    np.testing.assert_allclose(read_speech(path), channels[-1] / n_channels, atol=1e-4)


def write_float_wav(path: Path, samples: F32, rate_hz: int = 16_000) -> Path:
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate_hz, min(4 * rate_hz, 2**32 - 1), 4, 32)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_that_are_no_sound_are_refused(tmp_path: Path, value: float) -> None:
    samples = np.zeros(20_000, np.float32)
    samples[15_000] = value

    with pytest.raises(AudioUnreadable, match=r"a.wav: holds samples that are no sound"):
        read_speech(write_float_wav(tmp_path / "a.wav", samples))


def test_a_rate_beyond_reason_is_refused(tmp_path: Path) -> None:
    path = write_float_wav(tmp_path / "a.wav", np.zeros(100, np.float32), 2**31 - 1)

    with pytest.raises(AudioUnreadable, match=r"a.wav"):
        read_speech(path)


def test_a_tag_of_an_old_encoding_does_no_harm(tmp_path: Path) -> None:
    wav = DEMO_SPEECH.read_bytes()
    tag = b"INFOIART" + struct.pack("<I", 6) + "Bj\xf6rk".encode("latin-1") + b"\0"
    listing = b"LIST" + struct.pack("<I", len(tag)) + tag
    tagged = wav[:36] + listing + wav[36:]
    path = tmp_path / "tagged.wav"
    path.write_bytes(tagged[:4] + struct.pack("<I", len(tagged) - 8) + tagged[8:])

    assert np.array_equal(read_speech(path), read_speech(DEMO_SPEECH))


def test_a_file_that_was_cut_says_how_much_is_missing(tmp_path: Path) -> None:
    t = np.arange(8 * 48_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)
    path = encode(tmp_path / "cut.flac", "flac", tone)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with open_speech(str(path)) as reader:
        for _ in reader.spans():
            pass

    assert reader.missing_s == pytest.approx(4, abs=0.5)


def test_a_whole_file_misses_nothing() -> None:
    with open_speech(str(DEMO_SPEECH)) as reader:
        for _ in reader.spans():
            pass

    assert reader.missing_s == 0
    assert reader.n_broken == 0


def test_what_interrupts_a_read_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    n_reads = 0
    read = os.read

    def interrupted(fd: int, n: int) -> bytes:
        nonlocal n_reads
        n_reads += 1
        if n_reads == 5:
            raise KeyboardInterrupt
        return read(fd, n)

    monkeypatch.setattr(audio_module.os, "read", interrupted)
    with (
        stdin_from(monkeypatch, DEMO_SPEECH.read_bytes()),
        pytest.raises(KeyboardInterrupt),
        open_speech("-") as reader,
    ):
        for _ in reader.spans():
            pass

    assert n_reads == 5, "libav tried again, and would have waited for ever"
