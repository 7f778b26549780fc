"""One job at a farm, seen by its client: speech goes out as granted, frames come in order, once.

A line that breaks is another line soon, perhaps to another broker.  Then the job is resumed: the
farm says which samples it wants next, and sends frames from the first one that is not here.  A farm
without a journal knows nothing of the job: it is opened again under its id, with all its speech and
from that frame on.  Its frames are the same, since nothing in them depends on when they are made.
"""

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from farm import protocol
from farm.job_errors import FarmLost, cancelled, failure, taken_elsewhere
from farm.joiner import Joiner
from farm.outgoing import Outgoing, SpeechGone
from workers.arrays import F32
from workers.wire import WireError

CREDIT_FRAMES = 64  #: asked for ahead of the caller: hides the way there and back
CREDIT_STEP = 16  #: frames worth a message
QUIET_S = 10.0  #: without a word about a job that is waited for: the farm is asked again
MAX_LOSSES = 10  #: of a job in a row, without a frame between: it is what the brokers die of
CHUNK_SAMPLES = 32_000  #: 2 s, 128 KB


class Line(Protocol):
    """What a job needs of its client."""

    is_closed: bool
    last_heard: float
    patience_s: float

    def send(self, message: object, *payloads: bytes) -> None: ...
    def pump(self, timeout_s: float) -> None: ...
    def forget(self, job_id: str) -> None: ...


class RemoteJob:
    """A job at the farm.  Iterate over it, once, for its JPEG frames in order."""

    def __init__(
        self,
        client: Line,
        pieces: Iterator[F32],
        *,
        job_id: str,
        avatar: str,
        model: str = "",
        priority: int,
        deadline_s: float | None,
        quality: int | None = None,
        joiner: Joiner | None = None,
    ) -> None:
        """``joiner`` : for frames that come as changes; without, they come whole."""
        self.job_id = job_id
        self.accepted: protocol.Accepted | None = None  #: frame size, and jobs ahead
        self.done: protocol.Done | None = None  #: how it went, after the last frame
        self.n_frames = 0  #: received
        self._client = client
        self._avatar = avatar
        self._model = model
        self._priority = priority
        self._quality = quality
        self._joiner = joiner
        self._deadline = None if deadline_s is None else time.monotonic() + deadline_s
        self._speech = Outgoing(pieces)
        self._is_accepted = False  #: on the line there is now
        self._is_passed_over = False  #: what comes is of a line that does not count
        self._n_attempts = 0  #: to have it accepted
        self._n_losses = 0  #: brokers that died and knew nothing of it, since a frame came
        self._granted = 0  #: samples that may still be sent
        self._seq = 0
        self._has_ended = False
        self._frames: deque[bytes] = deque()
        self._to_credit = 0
        self._last_news = time.monotonic()
        self._has_ended_early = False
        self._is_cancelled = False
        self._failed: protocol.Failed | None = None
        self._lost = ""  #: why the farm cannot go on with it

    def __iter__(self) -> Iterator[bytes]:
        try:
            while True:
                while self._frames:
                    frame = self._frames.popleft()
                    self._to_credit += 1
                    self._give_credit(CREDIT_STEP)
                    yield frame
                self._raise_if_failed()
                if self.done is not None:
                    return
                self._work()
        finally:
            self._leave()

    def cancel(self) -> None:
        """Iterating on ends with JobFailed, code CANCELLED."""
        self._is_cancelled = True
        self._client.send(protocol.Cancel(job_id=self.job_id))

    def open(self) -> None:
        """Have it accepted.  Raises JobRefused, JobFailed and FarmLost."""
        self._open()
        while self.accepted is None and self.done is None:
            self._raise_if_failed()
            self._wait(0.5)

    def resume(self) -> None:
        """The line is new: whoever is there does not know us."""
        if self._is_over:
            return
        self._is_accepted = False
        if self._is_cancelled:
            self.cancel()  # the word may have died with who was there before
            return
        if self.accepted is None:
            self._open()  # the same once more is harmless
            return
        self._n_attempts += 1
        resume = protocol.Resume(
            job_id=self.job_id,
            next_frame=self.n_frames,
            credit=self._fresh_credit(),
            attempt=self._n_attempts,
            **self._what_is_here(),
        )
        self._client.send(resume)

    def take(self, message: Any, payloads: list[bytes]) -> None:
        """A message about this job has arrived."""
        self._last_news = time.monotonic()
        match message:
            case protocol.Accepted(attempt=attempt) if attempt != self._n_attempts:
                # The farm has yet to read that we asked again, and counts anew then: what it
                # sends until then is of an account that we have not opened.
                self._is_passed_over = True
            case protocol.Frames() | protocol.Done() if self._is_passed_over:
                pass
            case protocol.Accepted():
                self._begin(message)
            case protocol.AudioCredit():
                self._granted += message.samples
            case protocol.AudioKept():
                self._speech.forget_before(message.samples)
            case protocol.Frames():
                self._take_frames(message, payloads)
            case protocol.Done():
                self._end(message)
            case protocol.Cancelled():
                self._failed = cancelled(self.job_id)
            case protocol.Failed(code="UNKNOWN_JOB") if self.accepted and not self._is_accepted:
                self._open_again()
            case protocol.Failed():
                self._failed = message

    def _open(self) -> None:
        deadline = self._deadline
        self._n_attempts += 1
        self._client.send(
            protocol.Open(
                job_id=self.job_id,
                avatar=self._avatar,
                model=self._model,
                credit=self._fresh_credit(),
                priority=self._priority,
                deadline_s=None if deadline is None else max(deadline - time.monotonic(), 1e-3),
                first_frame=self.n_frames,
                attempt=self._n_attempts,
                quality=self._quality,
                **self._what_is_here(),
            )
        )

    def _what_is_here(self) -> dict[str, Any]:
        return self._joiner.announce() if self._joiner is not None else {}

    def _fresh_credit(self) -> int:
        """Frames to ask for anew: those that are here and not taken count."""
        self._to_credit = 0
        return max(CREDIT_FRAMES - len(self._frames), 1)

    def _open_again(self) -> None:
        if self._is_cancelled:
            self._failed = cancelled(self.job_id)
        elif self._n_losses == MAX_LOSSES:
            self._lost = f"the farm has lost the job {MAX_LOSSES} times, and gave no frame between"
        elif self._speech.is_whole:
            self._n_losses += 1
            self._open()
        else:
            self._lost = "the farm has lost the job, and its speech is kept no longer"

    def _begin(self, accepted: protocol.Accepted) -> None:
        """Speech goes on where the farm wants it; what was granted before is void."""
        if self.accepted is None and accepted.first_frame > self.n_frames:
            self._failed = taken_elsewhere(self.job_id, accepted.first_frame)
        self.accepted = self.accepted or accepted
        self._is_accepted, self._is_passed_over = True, False
        try:
            if self._joiner is not None:
                self._joiner.begin(accepted)
        except ValueError as error:
            self._lost = f"the farm accepts what cannot be: {error}"
        self._granted = self._seq = 0
        self._has_ended = accepted.has_ended
        try:
            self._speech.go_to(accepted.next_sample)
        except SpeechGone:
            self._lost = "the farm has lost speech that is kept no longer"

    def _take_frames(self, frames: protocol.Frames, payloads: list[bytes]) -> None:
        """Those that are here already came on the line before too."""
        first = frames.first
        if first > self.n_frames:
            if self._is_accepted:
                self.resume()  # some were lost; they are sent again
            return
        fresh = self._joined(frames, payloads)[self.n_frames - first :]
        self._frames.extend(fresh)
        self.n_frames += len(fresh)
        self._n_losses = 0
        self._give_credit(0)

    def _joined(self, frames: protocol.Frames, payloads: list[bytes]) -> list[bytes]:
        if self._joiner is None:
            return payloads
        jpegs: list[bytes] = []
        is_change = frames.is_change or [False] * len(payloads)
        try:
            for payload, changed in zip(payloads, is_change, strict=True):
                jpeg = self._joiner.jpeg(frames.first + len(jpegs), payload, is_change=changed)
                jpegs.append(jpeg)
        except (WireError, ValueError) as error:
            self._lost = f"the farm sends what does not fit together: {error}"
        return jpegs

    def _end(self, done: protocol.Done) -> None:
        if self.n_frames < done.frames and not (self._is_accepted or self._has_ended_early):
            self._has_ended_early = True  # of the line before too: we have asked again
            return
        if self.n_frames < done.frames:
            self._failed = taken_elsewhere(self.job_id, done.frames)
        self.done = done

    def _work(self) -> None:
        """Send speech if we may, else wait for the farm."""
        if self._is_accepted and not self._has_ended and self._granted > 0:
            self._send_some()
            self._client.pump(0)
        else:
            self._wait(0.5)

    def _wait(self, timeout_s: float) -> None:
        self._client.pump(timeout_s)
        now = time.monotonic()
        if now - self._client.last_heard > self._client.patience_s:
            raise FarmLost(f"the farm has said nothing for {self._client.patience_s:g} s")
        if now - self._last_news > QUIET_S:
            # It may have taken us for dead, when our queue ran over; asking twice is harmless.
            self._last_news = now
            self.resume()

    def _send_some(self) -> None:
        chunk = self._speech.take(min(self._granted, CHUNK_SAMPLES))
        if chunk is None:
            self._client.send(protocol.End(job_id=self.job_id))
            self._has_ended = True
            return
        audio = protocol.Audio(job_id=self.job_id, seq=self._seq)
        self._client.send(audio, chunk.astype("<f4").tobytes())
        self._granted -= len(chunk)
        self._seq += 1

    def _give_credit(self, least: int) -> None:
        """Let more frames come, and say which ones are here."""
        if self._to_credit < least or not self._is_accepted:
            return
        credit = protocol.Credit(
            job_id=self.job_id, frames=self._to_credit, next_frame=self.n_frames
        )
        self._client.send(credit)
        self._to_credit = 0

    @property
    def _is_over(self) -> bool:
        return self.done is not None or self._failed is not None or bool(self._lost)

    def _raise_if_failed(self) -> None:
        if self._failed is not None:
            raise failure(self._failed)
        if self._lost:
            raise FarmLost(self._lost)

    def _leave(self) -> None:
        if not self._is_over and not self._client.is_closed:
            self.cancel()
        self._client.forget(self.job_id)
        if self._joiner is not None:
            self._joiner.close()
        self._speech.close()
