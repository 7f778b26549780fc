"""``farm render``: a speech file in, a talking video out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.avatars import find_avatar
from farm.demo.avatar import N_TEMPLATES
from farm.media.audio import SpeechReader, open_speech
from farm.media.output import Output, check_output, new_output
from farm.media.video import VideoCodec
from farm.paths import Paths
from farm.progress import progress_bar
from workers.arrays import F32
from workers.avatar import Bundle
from workers.features.windows import FPS
from workers.model import Model
from workers.sequential import render
from workers.stages import StageTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """What the caller asked for."""

    audio: str  #: path, or "-" for standard input
    output: str  #: ends in .mp4, .mkv or /
    avatar: str  #: id or path
    model: Path  #: directory
    batch_size: int
    codec: VideoCodec | None  #: None: h264 in a video, and single frames have none


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderReport:
    """What was done, and how fast."""

    request: RenderRequest
    provider: str  #: where inference ran
    n_frames: int
    n_skipped_packets: int  #: of broken sound
    missing_s: float  #: of sound that the file says it has and has not
    elapsed_s: float
    stage_s: dict[str, float]

    @property
    def frames_per_s(self) -> float:
        return self.n_frames / self.elapsed_s

    @property
    def stage_ms_per_frame(self) -> dict[str, float]:
        return {stage: 1e3 * seconds / self.n_frames for stage, seconds in self.stage_s.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "output": self.request.output,
            "avatar": self.request.avatar,
            "model": str(self.request.model),
            "provider": self.provider,
            "batch_size": self.request.batch_size,
            "frames": self.n_frames,
            "fps": FPS,
            "video_s": self.n_frames / FPS,
            "skipped_packets": self.n_skipped_packets,
            "missing_s": round(self.missing_s, 3),
            "elapsed_s": round(self.elapsed_s, 3),
            "frames_per_s": round(self.frames_per_s, 1),
            "stage_ms_per_frame": {k: round(v, 3) for k, v in self.stage_ms_per_frame.items()},
        }


def render_file(request: RenderRequest, paths: Paths) -> RenderReport:
    """Render a whole file.  Nothing appears under the output's name unless all of it does.

    Raises BadRequest and CallerFault for what the caller can mend.
    """
    check_output(request.output, codec=request.codec, source=request.audio)
    with open_speech(request.audio) as reader:
        with progress_bar("drawing the demo avatar", N_TEMPLATES) as on_template:
            bundle = find_avatar(request.avatar, paths, on_template=on_template)
        model = Model.load(request.model)
        return _render(request, reader, bundle, model)


def _render(
    request: RenderRequest, reader: SpeechReader, bundle: Bundle, model: Model
) -> RenderReport:
    times = StageTimes()
    n_frames = 0
    size = (bundle.manifest.width_px, bundle.manifest.height_px)
    total = round(reader.duration_s * FPS) if reader.duration_s else None
    begin = time.perf_counter()
    with (
        new_output(
            request.output, codec=request.codec or "h264", size=size, sound=reader.sound_format
        ) as output,
        progress_bar("rendering", total) as on_frame,
    ):
        speech = _speech(reader, output, times)
        for jpeg in render(speech, bundle, model, batch_size=request.batch_size, times=times):
            with times.stage("write"):
                output.add_frame(jpeg)
            n_frames += 1
            on_frame()
    return RenderReport(
        request=request,
        provider=model.provider,
        n_frames=n_frames,
        n_skipped_packets=reader.n_broken,
        missing_s=reader.missing_s,
        elapsed_s=time.perf_counter() - begin,
        stage_s=times.seconds,
    )


def _speech(reader: SpeechReader, output: Output, times: StageTimes) -> Iterator[F32]:
    """The speech for the models; its sound goes to the output on the way."""
    spans = reader.spans()
    while True:
        with times.stage("decode"):
            span = next(spans, None)
            if span is None:
                return
            output.add_sound(span.sound)
        yield span.speech
