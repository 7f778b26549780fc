"""The jobs' bytes and promises: carries out what the scheduler decides about a job.

The order of a turn: what it promises is committed, and only then do its words leave.
"""

import sys
import time
from collections import deque
from dataclasses import asdict

from farm import commands as todo
from farm import events as happened
from farm import protocol
from farm.durable import Keeper
from farm.ended_jobs import Ended, EndedJobs
from farm.job_store import SAMPLE_BYTES, JobStore
from farm.journal import Entry, JournalFailed
from farm.outbox import Outbox
from farm.state import FarmState
from workers.errors import BundleError
from workers.features.windows import FPS
from workers.kernels.jpeg import NotSpliceable

FRAMES_A_MESSAGE = 16
OF_ITS_LINE = frozenset(
    {"attempt", "encoding", "template_digest", "known_templates", "template_bytes"}
)
RETRYABLE = frozenset({"STORAGE"})
STORAGE_RETRY_S = 30.0


class JobDesk:
    """Has the stores of running jobs, and the ends of those that are over."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        state: FarmState,
        events: deque[happened.Event],
        outbox: Outbox,
        ended: EndedJobs,
    ) -> None:
        """``state`` is only read; ``events`` is where what happened goes."""
        self._keeper = keeper
        self._state = state
        self._events = events
        self._outbox = outbox
        self.ended = ended
        self.stores: dict[int, JobStore] = {}  #: by serial
        self.opening: JobStore | None = None  #: of the job the scheduler is deciding about
        self.frames_sent = 0
        self._accepted: list[int] = []  #: serials of this turn
        self._has_complained = False

    # What comes from clients.

    def no_room(self) -> str:
        return self._keeper.no_room()

    def hear(self, store: JobStore, seq: int, payload: bytes) -> int:
        """Speech of a running job; gives its samples.  Raises WireError."""
        n_samples = store.hear(seq, payload)
        self._keeper.hear(store.key, payload)
        return n_samples

    def end_speech(self, job_id: str, store: JobStore) -> None:
        store.end()
        self._keeper.end_speech(job_id, store.n_samples)

    def send_again(
        self, job: Ended, client: bytes, next_frame: int, wanted: protocol.Open | protocol.Resume
    ) -> None:
        """To a client that may have missed the end of its job."""
        job.client = client
        self.ended.take(job, next_frame)
        if job.tail is not None:
            job.tail.meet(wanted)
            job.tail.begin_line()
            self._outbox.tell(client, self._accepted_as(job.job_id, job.tail, 0, job.n_taken))
            try:
                self._send(client, job.job_id, job.tail, job.missing)
            except (BundleError, NotSpliceable) as error:
                self._outbox.tell(client, _bad_bundle(job, job.tail, error))
                return
        self._outbox.tell(client, job.message)

    def take(self, client: bytes, job_id: str, frames: int, next_frame: int | None) -> None:
        """Credit for a job that is over: its client takes its last frames."""
        job = self.ended.get(job_id)
        if job is not None and job.client == client:
            self.ended.take(job, job.n_taken + frames if next_frame is None else next_frame)

    # What the scheduler wants.

    def carry_out(self, command: todo.Command) -> bool:
        """False when the command is a worker's business."""
        match command:
            case todo.AcceptJob():
                self._accept(command)
            case todo.AttachJob():
                self._attach(command)
            case todo.SendFrames():
                self._send_frames(command)
            case todo.ForgetFrames():
                self.stores[command.serial].forget_before(command.before)
                self._keeper.acknowledge(command.job_id, command.before)
            case todo.FinishJob():
                self._finish(command)
            case todo.GrantAudio():
                credit = protocol.AudioCredit(job_id=command.job_id, samples=command.n_samples)
                self._outbox.tell(command.client, credit)
            case todo.Refuse():
                self._refuse(command)
            case _:
                return False
        return True

    def _refuse(self, command: todo.Refuse) -> None:
        refusal = protocol.Failed(
            job_id=command.job_id,
            code=command.code,
            message=command.message,
            retryable=command.retryable,
            position=command.position,
            retry_after_s=command.retry_after_s,
        )
        self._outbox.tell(command.client, refusal)

    def _accept(self, command: todo.AcceptJob) -> None:
        assert self.opening is not None, "jobs are accepted while they are opened"
        store = self.stores[command.serial] = self.opening
        if store.key == 0:
            store.key = self._promise(store)
            self._accepted.append(command.serial)
        first = store.opened.first_frame
        accepted = self._accepted_as(command.job_id, store, command.position, first)
        self._outbox.tell(command.client, accepted)

    def _promise(self, store: JobStore) -> int:
        opened = store.opened
        deadline_s = opened.deadline_s
        return self._keeper.accept(
            Entry(
                job_id=opened.job_id,
                fingerprint=store.fingerprint,
                options={key: x for key, x in asdict(opened).items() if key not in OF_ITS_LINE},
                deadline=None if deadline_s is None else time.time() + deadline_s,
                next_frame=opened.first_frame,
            )
        )

    def _attach(self, command: todo.AttachJob) -> None:
        store = self.stores[command.serial]
        store.begin_line()
        accepted = self._accepted_as(command.job_id, store, command.position, command.first_frame)
        self._outbox.tell(command.client, accepted)

    def _accepted_as(
        self, job_id: str, store: JobStore, position: int, first_frame: int
    ) -> protocol.Accepted:
        return protocol.Accepted(
            job_id=job_id,
            position=position,
            width_px=store.manifest.width_px,
            height_px=store.manifest.height_px,
            fps=FPS,
            first_frame=first_frame,
            next_sample=store.n_samples,
            has_ended=store.has_ended,
            attempt=store.attempt,
            quality=store.opened.quality or store.manifest.quality,
            path="spliced" if store.is_spliced else "whole",
            encoding="patch" if store.is_patch else "whole",
            digest=store.digest,
            n_templates=store.manifest.n_templates,
            chroma=store.manifest.chroma,
            interval=store.manifest.interval,
        )

    def _send_frames(self, command: todo.SendFrames) -> None:
        store = self.stores[command.serial]
        try:
            self._send(command.client, command.job_id, store, command.frames)
        except (BundleError, NotSpliceable) as error:
            # Its template was damaged after its compositor had read it.
            message = store.without_paths(str(error))
            failed = happened.WorkFailed(
                worker=b"", serial=command.serial, code="BAD_BUNDLE", message=message
            )
            self._events.append(failed)

    def _send(self, client: bytes, job_id: str, store: JobStore, frames: range) -> None:
        leaving = store.leaving(frames)
        self.frames_sent += len(leaving)
        for k in range(0, len(leaving), FRAMES_A_MESSAGE):
            some = leaving[k : k + FRAMES_A_MESSAGE]
            is_change = [frame.is_change for frame in some]
            header = protocol.Frames(
                job_id=job_id,
                first=frames.start + k,
                is_change=is_change if any(is_change) else [],
            )
            self._outbox.tell(client, header, [frame.payload for frame in some])

    def _finish(self, command: todo.FinishJob) -> None:
        store = self.stores.pop(command.serial)
        message = _last_word(command, store)
        self._outbox.tell(command.client, message)
        job = Ended(
            job_id=command.job_id,
            fingerprint=store.fingerprint,
            message=message,
            at=time.monotonic(),
            key=store.key,
            client=command.client,
            n_taken=command.n_taken,
            tail=store if command.state == "done" else None,
        )
        self.ended.add(job)
        if job.tail is None:
            self.end(job)

    def end(self, job: Ended) -> None:
        """Nothing of it is needed any more but the memory that it was."""
        outcome = {"kind": type(job.message).__name__, **asdict(job.message)}
        self._keeper.end(job.job_id, job.key, outcome)

    # The end of a turn, and the broker's beginning.

    def commit(self) -> None:
        """Keep what this turn promised; what cannot be kept is not promised."""
        for job in self.ended.settled(time.monotonic()):
            self.end(job)
        try:
            self._keeper.commit()
            self._has_complained = False
        except JournalFailed as error:
            self._complain(error)
            for serial in self._accepted:
                self._break_promise(serial)
        self._accepted.clear()

    def _complain(self, error: JournalFailed) -> None:
        if not self._has_complained:
            print(f"farm: {error}", file=sys.stderr)
        self._has_complained = True

    def _break_promise(self, serial: int) -> None:
        if (store := self.stores.get(serial)) is None:
            return
        self._outbox.unsay(store.opened.job_id)
        message = "the farm cannot write its journal"
        failed = happened.WorkFailed(worker=b"", serial=serial, code="STORAGE", message=message)
        self._events.append(failed)

    def say_what_is_kept(self) -> None:
        """Speech that is on disk need not be kept by its client."""
        flushed = self._keeper.flushed()
        for job in self._state.jobs.values() if flushed else ():
            store = self.stores[job.serial]
            if store.key in flushed:
                n_samples = flushed[store.key] // SAMPLE_BYTES[store.opened.sample_format]
                kept = protocol.AudioKept(job_id=job.job_id, samples=n_samples)
                self._outbox.tell(job.client, kept)

    def forget_old(self) -> None:
        for job_id in self.ended.forget_old(time.monotonic()):
            self._keeper.forget(job_id)


def _bad_bundle(job: Ended, tail: JobStore, error: Exception) -> protocol.Failed:
    return protocol.Failed(
        job_id=job.job_id,
        code="BAD_BUNDLE",
        message=tail.without_paths(str(error)),
        retryable=False,
        frames=job.n_taken,
    )


def _last_word(command: todo.FinishJob, store: JobStore) -> protocol.Done | protocol.Failed:
    if command.state == "done":
        return protocol.Done(
            job_id=command.job_id,
            frames=command.n_frames,
            elapsed_s=time.monotonic() - store.begin,
            stage_ms=store.stage_ms,
        )
    is_retryable = command.code in RETRYABLE
    return protocol.Failed(
        job_id=command.job_id,
        code=command.code,
        message=command.message,
        retryable=is_retryable,
        frames=command.n_frames,
        retry_after_s=STORAGE_RETRY_S if is_retryable else 0.0,
    )
