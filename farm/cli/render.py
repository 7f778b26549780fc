"""``farm render``: a speech file in, a talking video out."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from farm.cli.avatar import open_avatar
from farm.client import Client, JobSpec
from farm.embedded import embedded_farm
from farm.errors import BadRequest, UnknownModel
from farm.espeak import DEFAULT_VOICE
from farm.media.audio import SpeechReader, open_speech
from farm.media.output import Output, check_output, new_output
from farm.media.spoken_text import SpokenText, open_spoken
from farm.media.video import FrameSize, VideoCodec
from farm.model_catalog import CONFIGURED, ModelCatalog
from farm.paths import user_paths
from farm.progress import Advance, progress_bar
from farm.signals import raise_if_ended
from workers.arrays import F32
from workers.avatar import Bundle
from workers.devices import Device, Execution
from workers.features.windows import FPS
from workers.model import Model, family_of
from workers.sequential import render
from workers.stages import StageTimes

SEQUENTIAL_BATCH_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """What the caller asked for."""

    audio: str | SpokenText  #: path, "-" for standard input, or what to say
    output: str  #: ends in .mp4, .mkv or /
    avatar: str  #: id or path
    codec: VideoCodec | None  #: None: h264 in a video, and single frames have none
    quality: int | None = None  #: of the JPEGs; None: the avatar's own

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        return cls(
            audio=_audio(arguments),
            output=arguments.output,
            avatar=arguments.avatar,
            codec=arguments.video,
            quality=arguments.quality,
        )

    def check_output(self) -> None:
        """Raises OutputRefused, before any work is done, for what cannot be written."""
        path = self.audio if isinstance(self.audio, str) else None
        check_output(self.output, codec=self.codec, source=path)

    def open_audio(self) -> AbstractContextManager[SpeechReader]:
        if isinstance(self.audio, SpokenText):
            return open_spoken(self.audio)
        return open_speech(self.audio)


def _audio(arguments: argparse.Namespace) -> str | SpokenText:
    """A file or a text: one of them."""
    if arguments.text is None:
        if arguments.voice is not None:
            raise BadRequest("--voice goes with --text")
        if arguments.audio is None:
            raise BadRequest("nothing to say: name a file with speech, or give a --text")
        return str(arguments.audio)
    if arguments.audio is not None:
        raise BadRequest(
            f"{arguments.audio}: cannot go with --text; a text of several words needs quotes"
        )
    voice = DEFAULT_VOICE if arguments.voice is None else arguments.voice
    return SpokenText(text=arguments.text, voice=voice)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderReport:
    """What was done, and how fast."""

    request: RenderRequest
    speech: str  #: the name of what was heard
    provider: str  #: where inference ran
    n_frames: int
    n_skipped_packets: int  #: of broken sound
    missing_s: float  #: of sound that the file says it has and has not
    first_frame_s: float
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
            "provider": self.provider,
            "frames": self.n_frames,
            "fps": FPS,
            "video_s": self.n_frames / FPS,
            "skipped_packets": self.n_skipped_packets,
            "missing_s": round(self.missing_s, 3),
            "first_frame_s": round(self.first_frame_s, 3),
            "elapsed_s": round(self.elapsed_s, 3),
            "frames_per_s": round(self.frames_per_s, 1),
            "stage_ms_per_frame": {k: round(v, 3) for k, v in self.stage_ms_per_frame.items()},
        }


def main(arguments: argparse.Namespace) -> int:
    request = RenderRequest.of(arguments)
    request.check_output()
    if arguments.connect is not None:
        _refuse_farm_options(arguments)
        with Client(arguments.connect, connect_timeout_s=arguments.connect_timeout) as client:
            options = JobOptions(avatar=request.avatar, model=arguments.model)
            report = on_a_farm(client, request, options)
    elif arguments.sequential:
        report = _in_sequence(request, arguments)
    else:
        report = _embedded(request, arguments)
    return say(report, as_json=arguments.json)


def _refuse_farm_options(arguments: argparse.Namespace) -> None:
    """What a running farm was started with cannot be asked of it."""
    for name in ("device", "batch_size", "compositors", "sequential"):
        if getattr(arguments, name):
            raise BadRequest(f"--{name.replace('_', '-')} cannot go with --connect")


def _in_sequence(request: RenderRequest, arguments: argparse.Namespace) -> RenderReport:
    """In this process, frame after frame: the same bytes as from any farm."""
    with request.open_audio() as reader:
        bundle = open_avatar(request.avatar)
        device = Device.named(arguments.device) if arguments.device else None
        directory = model_directory(arguments.model, bundle)
        model = Model.load(directory, Execution(device=device), user_paths().graphs)
        times = StageTimes()
        size = (bundle.manifest.width_px, bundle.manifest.height_px)
        if request.quality not in (None, bundle.manifest.quality):
            _note_whole(request.quality)
        with _Collector(request, reader, times, size) as collector:
            speech = collector.speech()
            batch_size = arguments.batch_size or SEQUENTIAL_BATCH_SIZE
            for jpeg in render(
                speech,
                bundle,
                model,
                batch_size=batch_size,
                times=times,
                quality=request.quality,
            ):
                collector.add(jpeg)
        return collector.report(model.provider)


def _embedded(request: RenderRequest, arguments: argparse.Namespace) -> RenderReport:
    """On a farm of our own, which goes when we do."""
    # What cannot work is refused here, before a farm is started for it.
    with request.open_audio() as reader:
        bundle = open_avatar(request.avatar)
        overrides: dict[str, Any] = {
            "inference.batch_size": arguments.batch_size,
            "compositors.count": arguments.compositors,
            "inference.devices": [arguments.device] if arguments.device else None,
        }
        directory = model_directory(arguments.model, bundle)
        bundle.require_family(family_of(directory))
        overrides["model.directory"] = str(directory.absolute())
        with ExitStack() as stack:
            with progress_bar("starting the farm", None):
                client = stack.enter_context(embedded_farm(bundle.directory, overrides))
            options = JobOptions(avatar="avatar", model=CONFIGURED)
            return _collected(client, request, reader, options)


def model_directory(named: str | None, bundle: Bundle) -> Path:
    """Of the model that was named, by id or by path; else the avatar's own, else the demo model.

    Raises UnknownModel.
    """
    catalog = ModelCatalog(user_paths())
    wanted = named or bundle.manifest.model
    try:
        return catalog.find(wanted).directory
    except UnknownModel as error:
        if named is not None and Path(named).is_dir():
            return Path(named)
        if named is None:
            avatar = bundle.manifest.avatar_id
            raise UnknownModel(
                f"avatar {avatar} is for model {wanted!r}, which is not in"
                f" {user_paths().models}; --model names another"
            ) from error
        known = ", ".join(catalog.ids())
        raise UnknownModel(
            f"{named!r}: no model of that id or path (there are: {known})"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """A job's own settings."""

    avatar: str
    model: str | None = None
    job_id: str | None = None
    priority: int = 0
    deadline_s: float | None = None
    says_id: bool = False  #: others may want to ask for it, or cancel it


def on_a_farm(client: Client, request: RenderRequest, options: JobOptions) -> RenderReport:
    """Render on a farm that runs."""
    with request.open_audio() as reader:
        return _collected(client, request, reader, options)


def _collected(
    client: Client, request: RenderRequest, reader: SpeechReader, options: JobOptions
) -> RenderReport:
    provider = client.farm_status().provider
    times = StageTimes()
    late = _LateSpeech()
    job = client.submit(
        JobSpec(
            audio=late,
            avatar=options.avatar,
            model=options.model,
            job_id=options.job_id,
            priority=options.priority,
            deadline_s=options.deadline_s,
            quality=request.quality,
        )
    )
    if options.says_id:
        print(f"farm: job {job.job_id}", file=sys.stderr)
    assert job.accepted is not None
    if job.accepted.path == "whole":
        _note_whole(request.quality)
    size = (job.accepted.width_px, job.accepted.height_px)
    with _Collector(request, reader, times, size) as collector:
        # The output's size is the farm's to say, so speech flows only now.
        late.source = collector.speech()
        for jpeg in job:
            collector.add(jpeg)
    if job.done is not None:
        times.seconds.update({k: ms / 1e3 for k, ms in job.done.stage_ms.items()})
    return collector.report(provider)


class _LateSpeech:
    """An iterator whose source is known after it was handed over."""

    def __init__(self) -> None:
        self.source: Iterator[F32] | None = None

    def __iter__(self) -> Iterator[F32]:
        return self

    def __next__(self) -> F32:
        assert self.source is not None, "speech is asked for only while frames are"
        return next(self.source)


class _Collector:
    """Takes speech in and frames out, and keeps count."""

    def __init__(
        self, request: RenderRequest, reader: SpeechReader, times: StageTimes, size: FrameSize
    ) -> None:
        self._request = request
        self._reader = reader
        self._times = times
        self._size = size
        self._stack = ExitStack()
        self._n_frames = 0
        self._begin = self._first = self._end = time.perf_counter()

    def __enter__(self) -> Self:
        codec = self._request.codec or "h264"
        sound, duration_s = self._reader.sound_format, self._reader.duration_s
        with ExitStack() as stack:
            self._output: Output = stack.enter_context(
                new_output(self._request.output, codec=codec, size=self._size, sound=sound)
            )
            total = round(duration_s * FPS) if duration_s else None
            self._advance: Advance = stack.enter_context(progress_bar("rendering", total))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            try:
                raise_if_ended()  # before the output appears under its name
            except BaseException:
                self._stack.__exit__(*sys.exc_info())
                raise
        self._stack.__exit__(*error)
        self._end = time.perf_counter()

    def speech(self) -> Iterator[F32]:
        """The speech for the models; its sound goes to the output on the way."""
        spans = self._reader.spans()
        while True:
            raise_if_ended()
            with self._times.stage("decode"):
                span = next(spans, None)
                if span is None:
                    return
                self._output.add_sound(span.sound)
            yield span.speech

    def add(self, jpeg: bytes) -> None:
        raise_if_ended()
        with self._times.stage("write"):
            self._output.add_frame(jpeg)
        if self._n_frames == 0:
            self._first = time.perf_counter()
        self._n_frames += 1
        self._advance()

    def report(self, provider: str) -> RenderReport:
        return RenderReport(
            request=self._request,
            speech=self._reader.name,
            provider=provider,
            n_frames=self._n_frames,
            n_skipped_packets=self._reader.n_broken,
            missing_s=self._reader.missing_s,
            first_frame_s=self._first - self._begin,
            elapsed_s=self._end - self._begin,
            stage_s=self._times.seconds,
        )


def say(report: RenderReport, *, as_json: bool) -> int:
    """Tell the caller; gives the exit code."""
    if report.n_skipped_packets:
        _note(f"{report.speech}: {report.n_skipped_packets} broken packets were left out")
    if report.missing_s:
        _note(f"{report.speech}: ends {report.missing_s:.1f} s before its header says")
    print(json.dumps(report.to_json(), indent=2) if as_json else _summary(report))
    return 0


def _note_whole(quality: int | None) -> None:
    _note(f"quality {quality} is not the avatar's own: each frame is encoded whole, and far slower")


def _note(message: str) -> None:
    print(f"farm: note: {message}", file=sys.stderr)


def _summary(report: RenderReport) -> str:
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in report.stage_ms_per_frame.items())
    frames = "1 frame" if report.n_frames == 1 else f"{report.n_frames} frames"
    return (
        f"{report.request.output}: {frames} in {report.elapsed_s:.1f} s"
        f" = {report.frames_per_s:.1f} frames/s on {report.provider},"
        f" the first after {1e3 * report.first_frame_s:.0f} ms\n"
        f"milliseconds a frame: {stages}"
    )
