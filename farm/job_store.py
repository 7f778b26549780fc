"""The bytes of one job that the broker holds: speech, features, finished frames.

Every part is bounded: speech by what was granted, features and frames by the job's window.
"""

import time
from pathlib import Path

import numpy as np

from farm.protocol import MAX_CHUNK_BYTES, Open
from workers.arrays import F32
from workers.avatar import Manifest
from workers.features.mel import n_columns
from workers.features.rows import FeatureRows
from workers.features.spans import Span, SpanCutter, n_ready_spans, n_spans
from workers.features.windows import n_frames, n_windows
from workers.wire import WireError

SAMPLE_BYTES = {"f32le": 4, "s16le": 2}


class JobStore:
    """One job's bytes.  Decisions about them are the scheduler's."""

    def __init__(self, opened: Open, client: bytes, bundle: Path, manifest: Manifest) -> None:
        self.opened = opened
        self.client = client
        self.bundle = str(bundle)
        self.manifest = manifest
        self.digest = manifest.digest
        self.begin = time.monotonic()
        self.stage_ms: dict[str, float] = {}
        self._cutter = SpanCutter()
        self._spans: dict[int, Span] = {}
        self._rows = FeatureRows()
        self._jpegs: dict[int, bytes] = {}
        self._next_seq = 0
        self._has_ended = False

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

    def keep_jpeg(self, frame: int, jpeg: bytes) -> None:
        self._jpegs[frame] = jpeg

    def take_jpegs(self, frames: range) -> list[bytes]:
        """Finished frames that leave for the client."""
        self._rows.drop_before(frames.stop)
        return [self._jpegs.pop(frame) for frame in frames]

    def without_paths(self, message: str) -> str:
        """Where the farm keeps its files is not the clients' business."""
        avatar = self.opened.avatar
        return message.replace(f"{self.bundle}/", "").replace(self.bundle, avatar)

    def count_ms(self, stage: str, ms: float) -> None:
        self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + ms


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
