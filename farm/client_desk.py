"""The broker's side of the client protocol: messages to answers and events.

Nothing a client says may end the farm: what is no message gets a typed error.  Nothing is said
before the turn's promises are kept: words wait until they are flushed.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from farm import events as happened
from farm import protocol
from farm.allowance import Allowance, cost
from farm.catalog import Catalog
from farm.errors import UnknownAvatar, UnknownModel
from farm.job_desk import STORAGE_RETRY_S, JobDesk
from farm.job_store import JobStore
from farm.jobs import NOBODY, Job
from farm.model_desk import ModelDesk
from farm.open_rules import refusal, refused_line
from farm.outbox import Outbox
from farm.state import FarmState
from workers import wire
from workers.errors import BundleError
from workers.transport import Endpoint


class ClientDesk:
    """Knows the clients' socket; decides nothing."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        outbox: Outbox,
        catalog: Catalog,
        state: FarmState,
        events: deque[happened.Event],
        jobs: JobDesk,
        models: ModelDesk,
        settle: Callable[[], None],
        welcome: protocol.Welcome,
        farm_report: Callable[[], protocol.FarmReport],
    ) -> None:
        """``state`` is only read; ``events`` is where what happened goes.

        ``settle`` : lets the scheduler take the events at once, for a job that is being opened.
        """
        self._endpoint = endpoint
        self._outbox = outbox
        self._catalog = catalog
        self._state = state
        self._events = events
        self._jobs = jobs
        self._models = models
        self._settle = settle
        self._welcome = welcome
        self._farm_report = farm_report
        self._allowance = Allowance(time.monotonic())

    def receive(self) -> list[bytes] | None:
        return self._endpoint.receive()

    def close(self, linger_s: float) -> None:
        self._endpoint.close(linger_s=linger_s)

    def wait_s(self) -> float:
        """How long no client is heard; see `farm.allowance`."""
        return self._allowance.wait_s(time.monotonic())

    def take(self, frames: list[bytes]) -> None:
        """A message: its answer goes out, its events wait to be settled."""
        client, *rest = frames
        message = None
        try:
            header = rest[0] if rest else b""
            message = wire.decode(header, protocol.FROM_CLIENT, protocol.VERSION)
            self._answer(client, message, rest[1:])
        except wire.WireError as error:
            self._outbox.tell(client, protocol.Error(code=error.code, message=str(error)))
        self._charge(client, message, sum(map(len, rest[1:])))

    def _charge(self, client: bytes, message: Any, n_payload_bytes: int) -> None:
        job = self._state.jobs.get(getattr(message, "job_id", ""))
        is_at_work = job is not None and job.client == client
        spent = cost(message, is_at_work=is_at_work, n_payload_bytes=n_payload_bytes)
        self._allowance.spend(spent, time.monotonic())

    def _answer(self, client: bytes, message: Any, payloads: list[bytes]) -> None:
        match message:
            case protocol.Hello():
                self._outbox.tell(client, self._welcome)
            case protocol.Ping(nonce=nonce):
                self._outbox.tell(client, protocol.Pong(nonce=nonce))
            case protocol.Status(job_id=job_id):
                self._report(client, job_id)
            case protocol.Cancel(job_id=job_id):
                job = self._state.jobs.get(job_id)
                if job is not None and job.client != client:
                    self._outbox.tell(client, protocol.Cancelled(job_id=job_id))
                self._events.append(happened.CancelWanted(client=client, job_id=job_id))
            case protocol.Credit():
                self._credit(client, message)
            case protocol.Open():
                self._open(client, message)
            case protocol.Resume():
                self._resume(client, message)
            case protocol.Audio() | protocol.End():
                self._hear(client, message, payloads)
            case (
                protocol.ListModels()
                | protocol.ModelStatus()
                | protocol.LoadModel()
                | protocol.UnloadModel()
            ):
                self._models.answer(client, message)

    def _credit(self, client: bytes, credit: protocol.Credit) -> None:
        if credit.frames < (0 if credit.next_frame is not None else 1):
            raise wire.WireError("BAD_MESSAGE", f"credit of {credit.frames} frames")
        if credit.next_frame is not None and credit.next_frame < 0:
            raise wire.WireError("BAD_MESSAGE", f"next_frame is {credit.next_frame}")
        if credit.job_id not in self._state.jobs:
            self._jobs.take(client, credit.job_id, credit.frames, credit.next_frame)
            return
        self._events.append(
            happened.CreditGranted(
                client=client,
                job_id=credit.job_id,
                frames=credit.frames,
                next_frame=credit.next_frame,
            )
        )

    def _resume(self, client: bytes, wanted: protocol.Resume) -> None:
        if wanted.credit < 0 or wanted.next_frame < 0:
            raise wire.WireError("BAD_MESSAGE", "credit and next_frame must be at least 0")
        if (reason := refused_line(wanted)) is not None:
            raise wire.WireError("BAD_MESSAGE", reason)
        ended = self._jobs.ended.get(wanted.job_id)
        if wanted.job_id not in self._state.jobs and ended is not None:
            self._jobs.send_again(ended, client, wanted.next_frame, wanted)
            return
        if (job := self._state.jobs.get(wanted.job_id)) is not None:
            self._jobs.stores[job.serial].meet(wanted)
        self._events.append(
            happened.JobResumed(
                client=client,
                job_id=wanted.job_id[: protocol.MAX_ID_CHARS],
                next_frame=wanted.next_frame,
                credit=wanted.credit,
            )
        )

    def _open(self, client: bytes, wanted: protocol.Open) -> None:
        try:
            if (reason := refusal(wanted)) is not None:
                raise wire.WireError("BAD_MESSAGE", reason)
            bundle = self._catalog.find(wanted.avatar)
            model = self._models.find(wanted.model or bundle.manifest.model)
        except wire.WireError as error:
            self._refuse(client, wanted, error.code, str(error))
            return
        except UnknownAvatar as error:
            self._refuse(client, wanted, "UNKNOWN_AVATAR", str(error))
            return
        except UnknownModel as error:
            self._refuse(client, wanted, "UNKNOWN_MODEL", str(error))
            return
        except BundleError as error:
            self._refuse(client, wanted, "BAD_BUNDLE", str(error))
            return
        store = JobStore(replace(wanted, model=model.model), bundle)
        if not self._finds_it_again(client, store):
            self._begin(client, store, model.file_bytes)

    def _finds_it_again(self, client: bytes, store: JobStore) -> bool:
        """The same open once more: go on with the job, or say how it ended."""
        wanted = store.opened
        job = self._state.jobs.get(wanted.job_id)
        if job is not None:
            is_same = self._jobs.stores[job.serial].fingerprint == store.fingerprint
            if not is_same or not self._is_free(job, client):
                return False  # the scheduler calls it a conflict
            self._jobs.stores[job.serial].meet(wanted)
            self._events.append(
                happened.JobResumed(
                    client=client, job_id=job.job_id, next_frame=None, credit=wanted.credit
                )
            )
            return True
        ended = self._jobs.ended.get(wanted.job_id)
        if ended is None or not ended.is_done:
            return False  # what failed may be tried again
        if ended.fingerprint == store.fingerprint:
            self._jobs.send_again(ended, client, ended.n_taken, wanted)
        else:
            self._refuse(client, wanted, "CONFLICT", "another job of this id was finished")
        return True

    def _is_free(self, job: Job, client: bytes) -> bool:
        """Whether nobody else is there to take its frames."""
        if job.client in (NOBODY, client):
            return True
        return not self._outbox.reaches(job.client)

    def _begin(self, client: bytes, store: JobStore, model_bytes: int) -> None:
        wanted = store.opened
        if (full := self._jobs.no_room()) and wanted.job_id not in self._state.jobs:
            self._refuse(client, wanted, "STORAGE", full, retry_after_s=STORAGE_RETRY_S)
            return
        self._jobs.opening = store
        now = time.monotonic()
        self._events.append(
            happened.JobOpened(
                client=client,
                job_id=wanted.job_id,
                avatar=wanted.avatar,
                model=wanted.model,
                model_bytes=model_bytes,
                credit=wanted.credit,
                priority=wanted.priority,
                deadline=None if wanted.deadline_s is None else now + wanted.deadline_s,
                first_frame=wanted.first_frame,
                first_span=store.first_span,
            )
        )
        self._settle()
        self._jobs.opening = None

    def _refuse(
        self,
        client: bytes,
        wanted: protocol.Open,
        code: str,
        message: str,
        *,
        retry_after_s: float = 0.0,
    ) -> None:
        failed = protocol.Failed(
            job_id=wanted.job_id[: protocol.MAX_ID_CHARS],
            code=code,
            message=message,
            retryable=retry_after_s > 0,
            retry_after_s=retry_after_s,
        )
        self._outbox.tell(client, failed)

    def _hear(
        self, client: bytes, message: protocol.Audio | protocol.End, payloads: list[bytes]
    ) -> None:
        job = self._state.jobs.get(message.job_id)
        if job is None or job.client != client:
            return  # late words about a job that is over
        store = self._jobs.stores[job.serial]
        try:
            if isinstance(message, protocol.End):
                self._jobs.end_speech(job.job_id, store)
                self._events.append(
                    happened.AudioEnded(
                        client=client,
                        job_id=job.job_id,
                        total_spans=store.total_spans,
                        total_frames=store.total_frames,
                    )
                )
                return
            n_samples = sum(
                self._jobs.hear(store, message.seq, payload) for payload in payloads[:1]
            )
        except wire.WireError as error:
            self._events.append(
                happened.WorkFailed(
                    worker=b"", serial=job.serial, code=error.code, message=str(error)
                )
            )
            return
        self._events.append(
            happened.AudioArrived(
                client=client,
                job_id=job.job_id,
                n_samples=n_samples,
                n_ready_spans=store.n_ready_spans,
            )
        )

    def _report(self, client: bytes, job_id: str) -> None:
        if not job_id:
            self._outbox.tell(client, self._farm_report())
            return
        job = self._state.jobs.get(job_id)
        if job is None:
            unknown = protocol.Failed(
                job_id=job_id[: protocol.MAX_ID_CHARS],
                code="UNKNOWN_JOB",
                message="no job of this id is running",
                retryable=False,
            )
            self._outbox.tell(client, unknown)
            return
        self._outbox.tell(
            client,
            protocol.JobReport(
                job_id=job.job_id,
                state=job.state.value,
                position=list(self._state.jobs).index(job_id),
                frames_sent=job.next_sent,
                total_frames=job.total_frames,
            ),
        )
