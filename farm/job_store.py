"""The bytes of one job that the broker holds: speech, features, finished frames.

Every part is bounded: speech by what was granted, features by the job's window, frames by what may
be sent before it is taken.  A store can begin at any frame of its job: all before is left out.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from farm.protocol import MAX_CHUNK_BYTES, Open, Resume
from farm.shelf import Shelf
from workers.arrays import F32
from workers.avatar import Bundle
from workers.features.mel import n_columns
from workers.features.rows import FeatureRows, first_span_needed
from workers.features.spans import (
    Span,
    SpanCutter,
    first_sample_needed,
    n_ready_spans,
    n_spans,
)
from workers.features.windows import n_frames, n_windows
from workers.geometry import template_index
from workers.kernels.splice import join
from workers.manifest import Manifest
from workers.wire import WireError

SAMPLE_BYTES = {"f32le": 4, "s16le": 2}


class Finished(NamedTuple):
    """A frame as a compositor made it."""

    payload: bytes  #: a JPEG, or
    is_change: bool  #: what tells it from its template's; see `workers.kernels.splice`


class JobStore:
    """One job's bytes.  Decisions about them are the scheduler's."""

    def __init__(self, opened: Open, bundle: Bundle, *, first_sample: int = 0) -> None:
        """``first_sample`` : what is heard begins there; see `first_sample_of`."""
        self.opened = opened
        self.key = 0  #: of its speech in the journal
        self.first_span = first_span_needed(opened.first_frame)
        self.fingerprint = fingerprint(opened, bundle.manifest)
        self.directory = str(bundle.directory)
        self.manifest = bundle.manifest
        self.digest = self.manifest.digest
        self._bundle = bundle
        self.begin = time.monotonic()
        self.stage_ms: dict[str, float] = {}
        self._cutter = SpanCutter(self.first_span, first_sample)
        self._spans: dict[int, Span] = {}
        self._rows = FeatureRows(self.first_span)
        self._frames: dict[int, Finished] = {}
        self._has_ended = False
        self.meet(opened)
        self.begin_line()

    @property
    def n_samples(self) -> int:
        """Of speech that has come, those left out included."""
        return self._cutter.n_samples

    @property
    def has_ended(self) -> bool:
        """Whether all of the speech is here."""
        return self._has_ended

    @property
    def n_bytes(self) -> int:
        """Of finished frames."""
        return sum(len(frame.payload) for frame in self._frames.values())

    @property
    def n_ready_spans(self) -> int:
        if self._has_ended:
            return n_spans(self._cutter.n_samples)
        return n_ready_spans(self._cutter.n_samples)

    @property
    def total_frames(self) -> int:
        return n_frames(self._cutter.n_samples) if self._cutter.n_samples else 0

    @property
    def total_spans(self) -> int:
        return n_spans(self._cutter.n_samples) if self._cutter.n_samples else 0

    @property
    def n_ready_frames(self) -> int:
        return self._rows.n_ready_frames

    def hear(self, seq: int, payload: bytes) -> int:
        """Take a chunk of speech; gives its samples.  Raises WireError."""
        if seq != self._next_seq:
            raise WireError("BAD_MESSAGE", f"audio chunk {seq}, expected {self._next_seq}")
        if self._has_ended:
            raise WireError("BAD_MESSAGE", "audio after its end")
        samples = samples_from(payload, self.opened.sample_format)
        self._next_seq += 1
        self._keep(self._cutter.push(samples))
        return len(samples)

    def hear_again(self, payloads: Iterable[bytes]) -> None:
        """Speech that was taken before, from `first_sample_of` on."""
        for payload in payloads:
            self._keep(self._cutter.push(samples_from(payload, self.opened.sample_format)))

    def meet(self, wanted: Open | Resume) -> None:
        """Somebody would go on with the job: it counts from `begin_line` on."""
        self._wanted = wanted

    def begin_line(self) -> None:
        """Another line to a client: chunks and templates are counted anew."""
        wanted = self._wanted
        self.attempt = wanted.attempt
        self.is_patch = wanted.encoding == "patch" and self.is_spliced
        is_same = wanted.template_digest == self.digest
        known = wanted.known_templates if is_same else b""
        self._shelf = Shelf(known, wanted.template_bytes)
        self._next_seq = 0

    @property
    def is_spliced(self) -> bool:
        """Whether only the mouth is encoded: in the quality the avatar was compiled with."""
        return self.opened.quality in (None, self.manifest.quality)

    def end(self) -> None:
        """The speech is complete."""
        if not self._has_ended and self._cutter.n_samples:
            self._keep(self._cutter.finish())
            self._rows.end(n_windows(n_columns(self._cutter.n_samples)))
        self._has_ended = True

    def _keep(self, spans: list[Span]) -> None:
        self._spans.update((span.index, span) for span in spans)

    def span(self, index: int) -> Span:
        return self._spans[index]

    def keep_features(self, span: int, features: F32) -> None:
        self._rows.add(span, features)
        self._spans.pop(span, None)

    def rows(self, frames: range) -> F32:
        """Feature rows around consecutive frames: float32 (n + 15, 512)."""
        return self._rows.rows(frames)

    def keep_frame(self, frame: int, finished: Finished) -> None:
        self._frames[frame] = finished

    def leaving(self, frames: range) -> list[Finished]:
        """Finished frames, in order, as they go to the client; they stay until forgotten."""
        self._rows.drop_before(frames.stop)
        return [self._leaving(frame) for frame in frames]

    def _leaving(self, frame: int) -> Finished:
        finished = self._frames[frame]
        index = template_index(frame, self.manifest.n_templates)
        if finished.is_change:
            if self.is_patch and index in self._shelf:
                return finished
            finished = Finished(join(self._bundle.template(index), finished.payload), False)
        if self.is_patch:
            self._shelf.put(index, len(finished.payload))
        return finished

    def forget_before(self, frame: int) -> None:
        """The client has the frames before this one."""
        self._rows.drop_before(frame)
        for taken in [taken for taken in self._frames if taken < frame]:
            del self._frames[taken]

    def without_paths(self, message: str) -> str:
        """Where the farm keeps its files is not the clients' business."""
        avatar = self.opened.avatar
        return message.replace(f"{self.directory}/", "").replace(self.directory, avatar)

    def count_ms(self, stage: str, ms: float) -> None:
        self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + ms


def fingerprint(opened: Open, manifest: Manifest) -> str:
    """Tells an ``open`` from another one of the same id."""
    same: list[object] = [opened.avatar, manifest.digest, opened.model]
    same += [opened.sample_format, opened.priority]
    if opened.quality not in (None, manifest.quality):
        same.append(opened.quality)
    return hashlib.sha256(json.dumps(same).encode()).hexdigest()


def first_sample_of(frame: int, n_samples: int) -> int:
    """Where the speech must begin for a store that begins at ``frame``."""
    return min(first_sample_needed(first_span_needed(frame)), n_samples)


def samples_from(payload: bytes, sample_format: str) -> F32:
    """Samples off the wire, float32 about -1..1.  Raises WireError."""
    if len(payload) > MAX_CHUNK_BYTES:
        raise WireError("TOO_LARGE", f"{len(payload)} bytes of audio, at most {MAX_CHUNK_BYTES}")
    if len(payload) % SAMPLE_BYTES[sample_format]:
        raise WireError("BAD_AUDIO", f"{len(payload)} bytes are no whole {sample_format} samples")
    if sample_format == "s16le":
        return np.frombuffer(payload, "<i2").astype(np.float32) / np.float32(32768)
    samples = np.frombuffer(payload, "<f4").astype(np.float32)
    if not np.isfinite(samples).all():
        raise WireError("BAD_AUDIO", "the audio holds NaN or infinity")
    return samples
