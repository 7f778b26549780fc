"""The sequential renderer: speech and an avatar to JPEG frames, in one process, in order.

Plain calls in the order the data flows, no sockets, no sharing.  The farm's frames are held to
what this file gives, byte for byte.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from workers.arrays import F32
from workers.avatar import Bundle
from workers.features.stream import AudioTensorStream
from workers.geometry import template_index
from workers.kernels.paste import encode_jpeg, paste_prediction
from workers.model import Model
from workers.stages import StageTimes


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames for one inference call."""

    first_frame: int  #: absolute
    audio: F32  #: shape (n, 32, 16, 16)


def render(
    speech: Iterable[F32], bundle: Bundle, model: Model, *, batch_size: int, times: StageTimes
) -> Iterator[bytes]:
    """The video frames of ``speech``, each a JPEG, in order.

    Parameters
    ----------
    speech : mono samples at 16 kHz, float32, about -1..1, in pieces of any size.
    batch_size : frames per inference call; changes speed and memory, not one byte of a frame.
    times : where "audio", "inference", "composite" and "encode" are counted.

    Raises NotFinite (the model's fault) and BundleError (a damaged frame).
    """
    for batch in batches(speech, model, batch_size=batch_size, times=times):
        for image in composite(batch, bundle, model, times):
            with times.stage("encode"):
                jpeg = encode_jpeg(image)
            yield jpeg


def batches(
    speech: Iterable[F32], model: Model, *, batch_size: int, times: StageTimes
) -> Iterator[Batch]:
    """Cut a job's audio tensors into batches; only the last may be smaller."""
    first_frame = 0
    waiting = np.empty((0, *model.family.audio_shape), np.float32)
    for tensors in _audio_tensors(speech, model, times):
        waiting = np.concatenate([waiting, tensors])
        while len(waiting) >= batch_size:
            yield Batch(first_frame, waiting[:batch_size])
            first_frame, waiting = first_frame + batch_size, waiting[batch_size:]
    if len(waiting):
        yield Batch(first_frame, waiting)


def _audio_tensors(speech: Iterable[F32], model: Model, times: StageTimes) -> Iterator[F32]:
    stream = AudioTensorStream(model.encode)
    for samples in speech:
        with times.stage("audio"):
            tensors = stream.push(samples)
        yield tensors
    with times.stage("audio"):
        tensors = stream.finish()
    yield tensors


def composite(
    batch: Batch, bundle: Bundle, model: Model, times: StageTimes
) -> Iterator[Image.Image]:
    """One inference call, and each of its mouths pasted into its template frame."""
    inner = model.family.inner
    frames = range(batch.first_frame, batch.first_frame + len(batch.audio))
    templates = [template_index(frame, bundle.manifest.n_templates) for frame in frames]
    with times.stage("inference"):
        canvases = np.stack([bundle.crop(template) for template in templates])
        inner_crops = canvases[:, inner.y0 : inner.y1, inner.x0 : inner.x1]
        predictions = model.predict(inner_crops, batch.audio)
    for template, canvas, prediction in zip(templates, canvases, predictions, strict=True):
        with times.stage("composite"):
            image = paste_prediction(
                bundle.frame(template), canvas, prediction, inner=inner, box=bundle.box(template)
            )
        yield image
