"""The audio worker: spans of speech in, features out."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from shm.fail_points import fail_point
from workers.errors import ModelError
from workers.features.spans import Span, span_features
from workers.loaded_models import LoadedModels
from workers.memory import private_bytes
from workers.model import Hears
from workers.patience import Patience
from workers.process import WorkerProcess
from workers.protocol import EncodeSpan, LoadModel, Ready, SpanDone, TaskFailed, UnloadModel

FIRST_SPAN_S = 60.0  #: it takes milliseconds; a machine that swaps takes longer


class AudioWorker:
    """Encodes spans.  Between two of them it holds the encoders that are loaded."""

    def __init__(self, process: WorkerProcess, load: Callable[[Path], Hears]) -> None:
        self._process = process
        self._models: LoadedModels[Hears] = LoadedModels(process, load, private_bytes)
        self._patience = Patience(FIRST_SPAN_S)

    def start(self, preload: Mapping[str, Path]) -> None:
        """``preload`` : models by id.  Raises ModelError."""
        self._models.preload(preload)
        fail_point("audio.loaded")
        self._process.send(self._ready())
        fail_point("audio.ready_sent")
        self._process.serve(self.handle, ready=self._ready, behind=[self._models])

    def _ready(self) -> Ready:
        return Ready(provider=self._models.provider, models=self._models.sizes)

    def handle(self, task: EncodeSpan | LoadModel | UnloadModel, payloads: list[bytes]) -> None:
        if isinstance(task, EncodeSpan):
            self._encode(task, payloads)
        else:
            self._models.handle(task)

    def close(self) -> None:
        """Nothing may be asked any more."""
        self._models.close()

    def _encode(self, task: EncodeSpan, payloads: list[bytes]) -> None:
        fail_point("audio.span_taken")
        self._process.announce("encoding", self._patience.allowed_s())
        begin = time.perf_counter()
        (samples,) = payloads
        speech = np.frombuffer(samples, np.float32)
        span = Span(task.span, task.first_sample, speech, task.total_samples)
        features: list[memoryview] = []
        try:
            encoder = self._models[task.model]
            features = [span_features(span, encoder.encode).data.cast("B")]
        except ModelError as error:
            failure = TaskFailed(serial=task.serial, code="MODEL_FAILED", message=str(error))
            self._process.send(failure)
        fail_point("audio.span_encoded")
        busy_s = time.perf_counter() - begin
        self._patience.took(busy_s)
        done = SpanDone(serial=task.serial, span=task.span, busy_ms=1e3 * busy_s)
        self._process.send(done, features)
        fail_point("audio.features_sent")
