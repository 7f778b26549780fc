"""The broker's side of the client protocol: messages to answers and events.

Nothing a client says may end the farm: what is no message gets a typed error.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from farm import events as happened
from farm import protocol
from farm.catalog import Catalog
from farm.errors import UnknownAvatar
from farm.job_store import SAMPLE_BYTES, JobStore
from farm.state import FarmState
from workers import wire
from workers.errors import BundleError
from workers.transport import Again, Endpoint, Frame, PeerGone


class ClientDesk:
    """Knows the clients' socket; decides nothing."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        catalog: Catalog,
        state: FarmState,
        stores: dict[int, JobStore],
        events: deque[happened.Event],
        settle: Callable[[], None],
        welcome: protocol.Welcome,
        farm_report: Callable[[], protocol.FarmReport],
    ) -> None:
        """``state`` and ``stores`` are only read; ``events`` is where what happened goes.

        ``settle`` : lets the scheduler take the events at once, for a job that is being opened.
        """
        self._endpoint = endpoint
        self._catalog = catalog
        self._state = state
        self._stores = stores
        self._events = events
        self._settle = settle
        self._welcome = welcome
        self._farm_report = farm_report
        self.opening: JobStore | None = None  #: of the job the scheduler is deciding about

    def receive(self) -> list[bytes] | None:
        return self._endpoint.receive()

    def close(self, linger_s: float) -> None:
        self._endpoint.close(linger_s=linger_s)

    def tell(self, client: bytes, message: object, payloads: Sequence[Frame] = ()) -> None:
        """Send to a client; one that is gone, or lets its queue run over, loses its jobs."""
        header = wire.encode(message, protocol.VERSION)
        try:
            self._endpoint.send([client, header, *payloads])
        except (PeerGone, Again):
            self._events.append(happened.ClientGone(client))

    def take(self, frames: list[bytes]) -> None:
        """A message: its answer goes out, its events wait to be settled."""
        client, *rest = frames
        try:
            header = rest[0] if rest else b""
            message = wire.decode(header, protocol.FROM_CLIENT, protocol.VERSION)
            self._answer(client, message, rest[1:])
        except wire.WireError as error:
            self.tell(client, protocol.Error(code=error.code, message=str(error)))

    def _answer(self, client: bytes, message: Any, payloads: list[bytes]) -> None:
        match message:
            case protocol.Hello():
                self.tell(client, self._welcome)
            case protocol.Ping(nonce=nonce):
                self.tell(client, protocol.Pong(nonce=nonce))
            case protocol.Status(job_id=job_id):
                self._report(client, job_id)
            case protocol.Cancel(job_id=job_id):
                job = self._state.jobs.get(job_id)
                if job is not None and job.client != client:
                    self.tell(client, protocol.Cancelled(job_id=job_id))
                self._events.append(happened.CancelWanted(client=client, job_id=job_id))
            case protocol.Credit(job_id=job_id, frames=frames):
                if frames <= 0:
                    raise wire.WireError("BAD_MESSAGE", f"credit of {frames} frames")
                self._events.append(
                    happened.CreditGranted(client=client, job_id=job_id, frames=frames)
                )
            case protocol.Open():
                self._open(client, message)
            case protocol.Audio() | protocol.End():
                self._hear(client, message, payloads)

    def _open(self, client: bytes, wanted: protocol.Open) -> None:
        refusal = _refusal(wanted)
        try:
            if refusal is not None:
                raise wire.WireError("BAD_MESSAGE", refusal)
            bundle, manifest = self._catalog.find(wanted.avatar)
        except wire.WireError as error:
            self._refuse(client, wanted, error.code, str(error))
            return
        except UnknownAvatar as error:
            self._refuse(client, wanted, "UNKNOWN_AVATAR", str(error))
            return
        except BundleError as error:
            self._refuse(client, wanted, "BAD_BUNDLE", str(error))
            return
        self.opening = JobStore(wanted, client, bundle, manifest)
        now = time.monotonic()
        self._events.append(
            happened.JobOpened(
                client=client,
                job_id=wanted.job_id,
                avatar=wanted.avatar,
                credit=wanted.credit,
                priority=wanted.priority,
                deadline=None if wanted.deadline_s is None else now + wanted.deadline_s,
            )
        )
        self._settle()
        self.opening = None

    def _refuse(self, client: bytes, wanted: protocol.Open, code: str, message: str) -> None:
        job_id = wanted.job_id[: protocol.MAX_ID_CHARS]
        self.tell(
            client,
            protocol.Failed(job_id=job_id, code=code, message=message, retryable=False),
        )

    def _hear(
        self, client: bytes, message: protocol.Audio | protocol.End, payloads: list[bytes]
    ) -> None:
        job = self._state.jobs.get(message.job_id)
        if job is None or job.client != client:
            return  # late words about a job that is over
        store = self._stores[job.serial]
        try:
            if isinstance(message, protocol.End):
                store.end()
                self._events.append(
                    happened.AudioEnded(
                        client=client,
                        job_id=job.job_id,
                        total_spans=store.total_spans,
                        total_frames=store.total_frames,
                    )
                )
                return
            n_samples = sum(store.hear(message.seq, payload) for payload in payloads[:1])
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
            self.tell(client, self._farm_report())
            return
        job = self._state.jobs.get(job_id)
        if job is None:
            unknown = protocol.Failed(
                job_id=job_id[: protocol.MAX_ID_CHARS],
                code="UNKNOWN_JOB",
                message="no job of this id is running",
                retryable=False,
            )
            self.tell(client, unknown)
            return
        self.tell(
            client,
            protocol.JobReport(
                job_id=job.job_id,
                state=job.state.value,
                position=list(self._state.jobs).index(job_id),
                frames_sent=job.next_sent,
                total_frames=job.total_frames,
            ),
        )


def _refusal(wanted: protocol.Open) -> str | None:
    """What is wrong with an Open; None when nothing is."""
    if not protocol.JOB_ID.fullmatch(wanted.job_id):
        return f"job_id must be 1..{protocol.MAX_ID_CHARS} of letters, digits, spaces and .:@_+-"
    if wanted.sample_format not in SAMPLE_BYTES:
        return f"sample_format must be one of {', '.join(SAMPLE_BYTES)}"
    if wanted.credit < 0:
        return "credit must be at least 0"
    if not -100 <= wanted.priority <= 100:
        return "priority must be -100..100"
    if wanted.deadline_s is not None and not 0 < wanted.deadline_s < 1e9:
        return "deadline_s must be above 0"
    return None
