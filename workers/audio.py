"""The audio worker: spans of speech in, features out."""

import time

import numpy as np

from shm.fail_points import fail_point
from workers.errors import WorkerError
from workers.features.spans import Span, span_features
from workers.model import Encoder
from workers.patience import Patience
from workers.process import WorkerProcess
from workers.protocol import EncodeSpan, Ready, SpanDone, TaskFailed

FIRST_SPAN_S = 60.0  #: it takes milliseconds; a machine that swaps takes longer


class AudioWorker:
    """Encodes spans.  Holds nothing between two of them."""

    def __init__(self, process: WorkerProcess, encoder: Encoder) -> None:
        self._process = process
        self._encoder = encoder
        self._patience = Patience(FIRST_SPAN_S)

    def start(self) -> None:
        fail_point("audio.loaded")
        ready = Ready(provider=self._encoder.provider)
        self._process.send(ready)
        fail_point("audio.ready_sent")
        self._process.serve(self.handle, ready=ready)

    def handle(self, task: EncodeSpan, payloads: list[bytes]) -> None:
        fail_point("audio.span_taken")
        self._process.announce("encoding", self._patience.allowed_s())
        begin = time.perf_counter()
        (samples,) = payloads
        speech = np.frombuffer(samples, np.float32)
        span = Span(task.span, task.first_sample, speech, task.total_samples)
        features: list[memoryview] = []
        try:
            features = [span_features(span, self._encoder.encode).data.cast("B")]
        except WorkerError as error:
            failure = TaskFailed(serial=task.serial, code="MODEL_FAILED", message=str(error))
            self._process.send(failure)
        fail_point("audio.span_encoded")
        busy_s = time.perf_counter() - begin
        self._patience.took(busy_s)
        done = SpanDone(serial=task.serial, span=task.span, busy_ms=1e3 * busy_s)
        self._process.send(done, features)
        fail_point("audio.features_sent")
