"""The sequential renderer: speech and an avatar to JPEG frames, in one process, in order.

Plain calls in the order the data flows, no sockets, no sharing.  The farm's frames are held to
what this file gives, byte for byte.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from workers.arrays import F32, U8
from workers.avatar import Bundle
from workers.features.mel import n_columns
from workers.features.rows import FeatureRows, audio_tensors
from workers.features.spans import Span, SpanCutter, span_features
from workers.features.windows import n_frames, n_windows
from workers.frames import Finisher, crops_of
from workers.model import Model
from workers.stages import StageTimes


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames for one inference call."""

    first_frame: int  #: absolute
    audio: F32  #: shape (n, 32, 16, 16)


def render(
    speech: Iterable[F32],
    bundle: Bundle,
    model: Model,
    *,
    batch_size: int,
    times: StageTimes,
    quality: int | None = None,
) -> Iterator[bytes]:
    """The video frames of ``speech``, each a JPEG, in order.

    Parameters
    ----------
    speech : mono samples at 16 kHz, float32, about -1..1, in pieces of any size.
    batch_size : frames per inference call; changes speed and memory, not one byte of a frame.
    times : where "audio", "inference", "resize", "blend", "encode" and "splice" are counted.
    quality : of the JPEGs, 1..95; None for the avatar's own, which is by far the quickest.

    Raises NotFinite (the model's fault) and BundleError (a damaged frame, or one for other models).
    """
    bundle.require_family(model.family)
    finisher = Finisher(model.family, times)
    for batch in batches(speech, model, batch_size=batch_size, times=times):
        for frame, painted in paint(batch, bundle, model, times):
            yield finisher.jpeg(bundle, frame, painted, quality)


def batches(
    speech: Iterable[F32], model: Model, *, batch_size: int, times: StageTimes
) -> Iterator[Batch]:
    """Cut a job's audio tensors into batches; only the last may be smaller."""
    cutter, rows = SpanCutter(), FeatureRows()
    first_frame = 0
    for samples in speech:
        with times.stage("audio"):
            _encode(cutter.push(samples), rows, model)
        while first_frame + batch_size <= rows.n_ready_frames:
            yield _batch(rows, range(first_frame, first_frame + batch_size), times)
            first_frame += batch_size
    with times.stage("audio"):
        _encode(cutter.finish(), rows, model)
        rows.end(n_windows(n_columns(cutter.n_samples)))
    for begin in range(first_frame, end := n_frames(cutter.n_samples), batch_size):
        yield _batch(rows, range(begin, min(begin + batch_size, end)), times)


def _encode(spans: Iterable[Span], rows: FeatureRows, model: Model) -> None:
    for span in spans:
        rows.add(span.index, span_features(span, model.encode))


def _batch(rows: FeatureRows, frames: range, times: StageTimes) -> Batch:
    with times.stage("audio"):
        audio = audio_tensors(rows.rows(frames))
        rows.drop_before(frames.stop)
    return Batch(frames.start, audio)


def paint(
    batch: Batch, bundle: Bundle, model: Model, times: StageTimes
) -> Iterator[tuple[int, U8]]:
    """One inference call: each frame's absolute index and its painted crop."""
    frames = range(batch.first_frame, batch.first_frame + len(batch.audio))
    with times.stage("inference"):
        painted = model.paint(crops_of(bundle, frames), batch.audio)
    yield from zip(frames, painted, strict=True)
