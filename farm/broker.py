"""The broker: the scheduler's eyes and hands.

One process, one loop: messages become events, the scheduler decides, its commands become messages.
Started by the supervisor; ended by SIGTERM or the end of the supervisor.
"""

import argparse
import json
import secrets
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from farm import commands as todo
from farm import events as happened
from farm import protocol as client_side
from farm.catalog import Catalog
from farm.control import Control, SupervisorGone
from farm.errors import UnknownAvatar
from farm.job_store import SAMPLE_BYTES, JobStore
from farm.paths import Paths
from farm.scheduler import Scheduler
from farm.state import Limits
from farm.worker_desk import WorkerDesk
from workers import wire
from workers.errors import BundleError
from workers.features.windows import FPS
from workers.process import die_with_parent
from workers.transport import Again, Endpoint, Frame, PeerGone, Waiter, router

TICK_S = 0.25
KEEP_ALIVE_S = 2.0
LINGER_S = 10.0  #: for clients to take their last frames, once the farm ends
MESSAGES_A_TURN = 64  #: from one socket before the other one is looked at
FRAMES_A_MESSAGE = 16
MAX_JOBS_SHOWN = 32  #: ids in a report: a header has an end
CLIENT_QUEUE = (
    64  #: messages of one client that may wait to be read; the rest waits with the client
)


class Broker:
    """Everything the loop holds.  ``run`` is the loop."""

    def __init__(
        self,
        *,
        clients: Endpoint,
        workers: Endpoint,
        control: Control,
        life_fd: int,
        catalog: Catalog,
        limits: Limits,
        expected: dict[str, int],
        server: str,
        epoch: int,
    ) -> None:
        self._clients = clients
        self._control = control
        self._life_fd = life_fd
        self._waiter = Waiter(clients, workers, control.fd, life_fd)
        self._catalog = catalog
        self._scheduler = Scheduler(limits)
        self._desk = WorkerDesk(workers)
        self._expected = Counter(expected)
        self._server = server
        self._epoch = epoch
        self._begin = time.monotonic()
        self._events: deque[happened.Event] = deque()
        self._stores: dict[int, JobStore] = {}  #: by serial
        self._opening: JobStore | None = None
        self._frames_sent = 0
        self._was_ready = False
        self._has_drained = False
        self._next_tick = self._next_keep_alive = self._begin

    def run(self) -> None:
        """Until the supervisor is gone."""
        while True:
            ready = self._waiter.wait(self._next_tick - time.monotonic())
            if self._life_fd in ready:
                return
            try:
                self._read_control()
            except SupervisorGone:
                return
            self._read(self._desk.receive, self._take_worker_message)
            self._read(self._clients.receive, self._take_client_message)
            self._tick()
            self._settle()
            if self._has_drained:
                self._leave()
                return

    def _leave(self) -> None:
        """Everything is done: let the last words out before the supervisor ends us."""
        self._clients.close(linger_s=LINGER_S)
        self._control.send({"kind": "drained"})
        Waiter(self._life_fd).wait(LINGER_S)

    def _read(
        self, receive: Callable[[], list[bytes] | None], take: Callable[[list[bytes]], None]
    ) -> None:
        for _ in range(MESSAGES_A_TURN):
            frames = receive()
            if frames is None:
                return
            take(frames)
            self._settle()
            self._desk.drop_untaken()

    def _settle(self) -> None:
        """Let the scheduler see what happened, and do what it wants."""
        while self._events:
            event = self._events.popleft()
            for command in self._scheduler.handle(event, time.monotonic()):
                self._carry_out(command)

    def _tick(self) -> None:
        now = time.monotonic()
        self._control.flush()
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self._events.append(happened.Ticked())
        if now >= self._next_keep_alive:
            self._next_keep_alive = now + KEEP_ALIVE_S
            for client in {job.client for job in self._scheduler.state.jobs.values()}:
                self._tell(client, client_side.KeepAlive())

    def _read_control(self) -> None:
        for message in self._control.receive():
            match message.get("kind"):
                case "gone":
                    # One at a time, and forgotten last: what follows from one death may name the
                    # next dead worker, of whom nobody has spoken yet.
                    if (worker := self._desk.of_pid(message["pid"])) is not None:
                        self._events.append(happened.WorkerGone(worker))
                        self._settle()
                        self._desk.forget(worker)
                case "drain":
                    self._events.append(happened.DrainWanted())

    # Workers.

    def _take_worker_message(self, frames: list[bytes]) -> None:
        try:
            event = self._desk.take(frames, self._stores)
        except wire.WireError as error:
            print(f"farm: a worker sent what is no message: {error}", file=sys.stderr)
            return
        if event is None:
            return
        self._events.append(event)
        if isinstance(event, happened.WorkerReady):
            self._settle()
            self._control.send({"kind": "progress", "pid": event.pid})
            if self._is_complete and not self._was_ready:
                self._was_ready = True
                self._control.send({"kind": "ready"})

    @property
    def _is_complete(self) -> bool:
        """Every worker that there should be is warm."""
        return self._scheduler.state.n_workers_by_role() >= self._expected

    # Clients.  Whatever they send, the broker answers and goes on.

    def _take_client_message(self, frames: list[bytes]) -> None:
        client, *rest = frames
        try:
            header = rest[0] if rest else b""
            message = wire.decode(header, client_side.FROM_CLIENT, client_side.VERSION)
            self._answer(client, message, rest[1:])
        except wire.WireError as error:
            self._tell(client, client_side.Error(code=error.code, message=str(error)))

    def _answer(self, client: bytes, message: Any, payloads: list[bytes]) -> None:
        match message:
            case client_side.Hello():
                self._tell(
                    client,
                    client_side.Welcome(
                        server=self._server,
                        epoch=self._epoch,
                        max_chunk_bytes=client_side.MAX_CHUNK_BYTES,
                        max_jobs_per_client=self._scheduler.state.limits.max_jobs_per_client,
                    ),
                )
            case client_side.Ping(nonce=nonce):
                self._tell(client, client_side.Pong(nonce=nonce))
            case client_side.Status(job_id=job_id):
                self._report(client, job_id)
            case client_side.Cancel(job_id=job_id):
                job = self._scheduler.state.jobs.get(job_id)
                if job is not None and job.client != client:
                    self._tell(client, client_side.Cancelled(job_id=job_id))
                self._events.append(happened.CancelWanted(client=client, job_id=job_id))
            case client_side.Credit(job_id=job_id, frames=frames):
                if frames <= 0:
                    raise wire.WireError("BAD_MESSAGE", f"credit of {frames} frames")
                self._events.append(
                    happened.CreditGranted(client=client, job_id=job_id, frames=frames)
                )
            case client_side.Open():
                self._open(client, message)
            case client_side.Audio() | client_side.End():
                self._hear(client, message, payloads)

    def _open(self, client: bytes, wanted: client_side.Open) -> None:
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
        self._opening = JobStore(wanted, client, bundle, manifest)
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
        self._opening = None

    def _refuse(self, client: bytes, wanted: client_side.Open, code: str, message: str) -> None:
        job_id = wanted.job_id[: client_side.MAX_ID_CHARS]
        self._tell(
            client,
            client_side.Failed(job_id=job_id, code=code, message=message, retryable=False),
        )

    def _hear(
        self, client: bytes, message: client_side.Audio | client_side.End, payloads: list[bytes]
    ) -> None:
        job = self._scheduler.state.jobs.get(message.job_id)
        if job is None or job.client != client:
            return  # late words about a job that is over
        store = self._stores[job.serial]
        try:
            if isinstance(message, client_side.End):
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
        state = self._scheduler.state
        if not job_id:
            self._tell(
                client,
                client_side.FarmReport(
                    server=self._server,
                    epoch=self._epoch,
                    is_ready=self._is_complete,
                    is_draining=state.is_draining,
                    provider=self._desk.provider,
                    jobs=list(state.jobs)[:MAX_JOBS_SHOWN],
                    n_jobs=len(state.jobs),
                    workers=dict(state.n_workers_by_role()),
                    frames_sent=self._frames_sent,
                    uptime_s=time.monotonic() - self._begin,
                ),
            )
            return
        job = state.jobs.get(job_id)
        if job is None:
            unknown = client_side.Failed(
                job_id=job_id[: client_side.MAX_ID_CHARS],
                code="UNKNOWN_JOB",
                message="no job of this id is running",
                retryable=False,
            )
            self._tell(client, unknown)
            return
        self._tell(
            client,
            client_side.JobReport(
                job_id=job.job_id,
                state=job.state.value,
                position=list(state.jobs).index(job_id),
                frames_sent=job.next_sent,
                total_frames=job.total_frames,
            ),
        )

    # Commands.

    def _carry_out(self, command: todo.Command) -> None:
        match command:
            case todo.AcceptJob():
                self._accept(command)
            case todo.Refuse():
                self._tell(
                    command.client,
                    client_side.Failed(
                        job_id=command.job_id,
                        code=command.code,
                        message=command.message,
                        retryable=command.retryable,
                    ),
                )
            case todo.GrantAudio():
                self._tell(
                    command.client,
                    client_side.AudioCredit(job_id=command.job_id, samples=command.n_samples),
                )
            case todo.SendFrames():
                self._send_frames(command)
            case todo.FinishJob():
                self._finish(command)
            case todo.KeepResult():
                jpeg = self._desk.take_jpeg(command.slot)
                self._stores[command.serial].keep_jpeg(command.frame, jpeg)
            case todo.KillWorker():
                self._control.send({"kind": "kill", "pid": command.pid})
            case todo.Drained():
                self._has_drained = True
            case _:
                self._desk.pass_on(command, self._stores)

    def _accept(self, command: todo.AcceptJob) -> None:
        assert self._opening is not None, "jobs are accepted while they are opened"
        store = self._stores[command.serial] = self._opening
        self._tell(
            command.client,
            client_side.Accepted(
                job_id=command.job_id,
                position=command.position,
                width_px=store.manifest.width_px,
                height_px=store.manifest.height_px,
                fps=FPS,
            ),
        )

    def _send_frames(self, command: todo.SendFrames) -> None:
        jpegs = self._stores[command.serial].take_jpegs(command.frames)
        self._frames_sent += len(jpegs)
        for k in range(0, len(jpegs), FRAMES_A_MESSAGE):
            header = client_side.Frames(job_id=command.job_id, first=command.frames.start + k)
            self._tell(command.client, header, jpegs[k : k + FRAMES_A_MESSAGE])

    def _finish(self, command: todo.FinishJob) -> None:
        store = self._stores.pop(command.serial)
        if command.state == "done":
            self._tell(
                command.client,
                client_side.Done(
                    job_id=command.job_id,
                    frames=command.n_frames,
                    elapsed_s=time.monotonic() - store.begin,
                    stage_ms=store.stage_ms,
                ),
            )
            return
        self._tell(
            command.client,
            client_side.Failed(
                job_id=command.job_id,
                code=command.code,
                message=command.message,
                retryable=False,
                frames=command.n_frames,
            ),
        )

    def _tell(self, client: bytes, message: object, payloads: Sequence[Frame] = ()) -> None:
        """Send to a client; one that is gone, or lets its queue run over, loses its jobs."""
        header = wire.encode(message, client_side.VERSION)
        try:
            self._clients.send([client, header, *payloads])
        except (PeerGone, Again):
            self._events.append(happened.ClientGone(client))


def _refusal(wanted: client_side.Open) -> str | None:
    """What is wrong with an Open; None when nothing is."""
    if not client_side.JOB_ID.fullmatch(wanted.job_id):
        return f"job_id must be 1..{client_side.MAX_ID_CHARS} of letters, digits, spaces and .:@_+-"
    if wanted.sample_format not in SAMPLE_BYTES:
        return f"sample_format must be one of {', '.join(SAMPLE_BYTES)}"
    if wanted.credit < 0:
        return "credit must be at least 0"
    if not -100 <= wanted.priority <= 100:
        return "priority must be -100..100"
    if wanted.deadline_s is not None and not 0 < wanted.deadline_s < 1e9:
        return "deadline_s must be above 0"
    return None


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m farm.broker``: started by the supervisor, never by hand."""
    parser = argparse.ArgumentParser(prog="farm.broker")
    for name in ("--client-endpoint", "--worker-endpoint", "--config-json"):
        parser.add_argument(name, required=True)
    for name in ("--control-fd", "--life-fd"):
        parser.add_argument(name, required=True, type=int)
    for name in ("--data", "--cache"):
        parser.add_argument(name, required=True, type=Path)
    arguments = parser.parse_args(argv)
    config = json.loads(arguments.config_json)
    die_with_parent()
    known = {key: config["limits"][key] for key in Limits.__dataclass_fields__}
    try:
        clients = router(
            arguments.client_endpoint,
            max_frame_bytes=client_side.MAX_CHUNK_BYTES + wire.MAX_HEADER_BYTES,
            receive_queue=CLIENT_QUEUE,
        )
        workers = router(arguments.worker_endpoint)
    except OSError as error:
        print(f"farm: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    broker = Broker(
        clients=clients,
        workers=workers,
        control=Control(arguments.control_fd),
        life_fd=arguments.life_fd,
        catalog=Catalog(Paths(data=arguments.data, cache=arguments.cache)),
        limits=Limits(**known),
        expected=config["workers"],
        server=f"lipfarm {version('lipfarm')}",
        epoch=secrets.randbits(48),
    )
    broker.run()
    workers.close()


if __name__ == "__main__":
    main()
