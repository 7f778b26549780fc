"""The audio worker: spans of speech in, features out."""

import time

import numpy as np

from workers.errors import WorkerError
from workers.features.spans import Span, span_features
from workers.model import Model
from workers.process import WorkerProcess
from workers.protocol import EncodeSpan, Ready, SpanDone, TaskFailed

SPAN_S = 60.0  #: a span takes milliseconds; a machine that swaps takes longer


class AudioWorker:
    """Encodes spans.  Holds nothing between two of them."""

    def __init__(self, process: WorkerProcess, model: Model) -> None:
        self._process = process
        self._model = model

    def start(self) -> None:
        self._process.send(Ready(provider=self._model.provider))
        self._process.serve(self.handle)

    def handle(self, task: EncodeSpan, payloads: list[bytes]) -> None:
        self._process.announce("encoding", SPAN_S)
        begin = time.perf_counter()
        (samples,) = payloads
        speech = np.frombuffer(samples, np.float32)
        span = Span(task.span, task.first_sample, speech, task.total_samples)
        features: list[memoryview] = []
        try:
            features = [span_features(span, self._model.encode).data.cast("B")]
        except WorkerError as error:
            failure = TaskFailed(serial=task.serial, code="MODEL_FAILED", message=str(error))
            self._process.send(failure)
        busy_ms = 1e3 * (time.perf_counter() - begin)
        self._process.send(SpanDone(serial=task.serial, span=task.span, busy_ms=busy_ms), features)
