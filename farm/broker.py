"""The broker: the scheduler's eyes and hands.

One process, one loop: messages become events, the scheduler decides, its commands become messages.
Started by the supervisor; ended by SIGTERM or the end of the supervisor.
"""

import sys
import time
from collections import Counter, deque
from collections.abc import Callable

from farm import commands as todo
from farm import events as happened
from farm import protocol as client_side
from farm.catalog import Catalog
from farm.client_desk import ClientDesk
from farm.control import Control, SupervisorGone
from farm.durable import Keeper
from farm.ended_jobs import EndedJobs
from farm.feature_cache import FeatureCache
from farm.job_desk import JobDesk
from farm.model_catalog import ModelCatalog
from farm.model_desk import ModelDesk
from farm.outbox import Outbox
from farm.places import Capacity
from farm.restorer import Restorer
from farm.scheduler import Scheduler
from farm.state import Limits
from farm.worker_desk import WorkerDesk
from shm.fail_points import fail_point
from workers import wire
from workers.transport import Endpoint, Waiter

TICK_S = 0.25
BEAT_S = 1.0  #: between two signs of life to the supervisor
KEEP_ALIVE_S = 2.0
LINGER_S = 4.0  #: for clients to take their last frames, once the farm ends; less than a hang
MESSAGES_A_TURN = 64  #: from one socket before the other one is looked at
MAX_JOBS_SHOWN = 32  #: ids in a report: a header has an end


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
        models: ModelCatalog,
        limits: Limits,
        capacity: Capacity,
        feature_cache_bytes: int,
        keeper: Keeper,
        keep_s: float,
        expected: dict[str, int],
        server: str,
        epoch: int,
    ) -> None:
        self._control = control
        self._life_fd = life_fd
        self._waiter = Waiter(clients, workers, control.fd, life_fd)
        self._deaf_waiter = Waiter(workers, control.fd, life_fd)
        self._scheduler = Scheduler(limits, capacity)
        self._expected = Counter(expected)
        self._server = server
        self._epoch = epoch
        self._begin = time.monotonic()
        self._events: deque[happened.Event] = deque()
        self._outbox = Outbox(clients)
        self._models = ModelDesk(
            models, outbox=self._outbox, state=self._scheduler.state, events=self._events
        )
        self._features = FeatureCache(feature_cache_bytes)
        self._desk = WorkerDesk(workers, epoch, self._models, self._features)
        self._jobs = JobDesk(
            keeper=keeper,
            state=self._scheduler.state,
            events=self._events,
            outbox=self._outbox,
            ended=EndedJobs(
                keep_s=keep_s, tail_s=limits.detached_s, tail_bytes=limits.client_mb * 1_000_000
            ),
        )
        self._clients = ClientDesk(
            clients,
            outbox=self._outbox,
            catalog=catalog,
            state=self._scheduler.state,
            events=self._events,
            jobs=self._jobs,
            models=self._models,
            settle=self._settle,
            welcome=client_side.Welcome(
                server=server,
                epoch=epoch,
                max_chunk_bytes=client_side.MAX_CHUNK_BYTES,
                max_jobs_per_client=limits.max_jobs_per_client,
            ),
            farm_report=self._farm_report,
        )
        self._was_ready = False
        self._has_drained = False
        self._next_tick = self._next_keep_alive = self._next_beat = self._begin
        self._restorer = Restorer(
            keeper=keeper,
            catalog=catalog,
            models=models,
            jobs=self._jobs,
            events=self._events,
            settle=self._settle,
        )

    def run(self) -> None:
        """Until the supervisor is gone."""
        fail_point("broker.starting")
        self._restorer.restore()
        fail_point("broker.restored")
        while True:
            if self._life_fd in self._wait(self._next_tick - time.monotonic()):
                return
            try:
                self._read_control()
            except SupervisorGone:
                return
            self._read(self._desk.receive, self._take_worker_message)
            self._read(self._hear_client, self._clients.take)
            self._tick()
            self._settle()
            self._speak()
            if self._has_drained:
                self._leave()
                return

    def _wait(self, wait_s: float) -> set[object]:
        """So long at most; gives what has something to read."""
        deaf_s = self._clients.wait_s()
        return self._deaf_waiter.wait(min(wait_s, deaf_s)) if deaf_s else self._waiter.wait(wait_s)

    def _hear_client(self) -> list[bytes] | None:
        return None if self._clients.wait_s() else self._clients.receive()

    def _speak(self) -> None:
        """Keep what this turn promised, then say it."""
        self._jobs.say_what_is_kept()
        while True:
            self._jobs.commit()
            fail_point("broker.committed")
            self._settle()  # what could not be promised
            gone = self._outbox.flush()
            fail_point("broker.spoken")
            if not gone:
                return
            self._events.extend(happened.ClientGone(client) for client in gone)
            self._settle()

    def _leave(self) -> None:
        """Everything is done: let clients take their last frames before the supervisor ends us."""
        until = time.monotonic() + LINGER_S / 2
        while self._jobs.ended.has_tails() and time.monotonic() < until:
            self._wait(0.05)
            self._read(self._hear_client, self._clients.take)
            self._speak()
        self._clients.close(linger_s=LINGER_S / 2)
        self._control.send({"kind": "drained"})
        Waiter(self._life_fd).wait(LINGER_S)

    def _read(
        self, receive: Callable[[], list[bytes] | None], take: Callable[[list[bytes]], None]
    ) -> None:
        for _ in range(MESSAGES_A_TURN):
            frames = receive()
            if frames is None:
                return
            fail_point("broker.hearing")
            take(frames)
            fail_point("broker.heard")
            self._settle()
            fail_point("broker.settled")
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
            self._jobs.forget_old()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            self._control.send({"kind": "beat"})
        if now >= self._next_keep_alive:
            self._next_keep_alive = now + KEEP_ALIVE_S
            for client in {job.client for job in self._scheduler.state.jobs.values()}:
                self._outbox.tell(client, client_side.KeepAlive())

    def _read_control(self) -> None:
        for message in self._control.receive():
            match message.get("kind"):
                case "gone":
                    # One at a time, and forgotten last: what follows from one death may name the
                    # next dead worker, of whom nobody has spoken yet.
                    if (worker := self._desk.of_pid(message["pid"])) is not None:
                        self._events.append(happened.WorkerGone(worker))
                        self._settle()
                        fail_point("broker.death_heard")
                        self._desk.forget(worker)
                case "drain":
                    self._events.append(happened.DrainWanted())

    # Workers.

    def _take_worker_message(self, frames: list[bytes]) -> None:
        try:
            event = self._desk.take(frames, self._jobs.stores)
        except wire.WireError as error:
            print(f"farm: a worker sent what is no message: {error}", file=sys.stderr)
            return
        if event is None:
            return
        self._events.append(event)
        if isinstance(event, happened.WorkerGone):
            self._settle()
            self._desk.forget(event.worker)
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

    def _farm_report(self) -> client_side.FarmReport:
        state = self._scheduler.state
        return client_side.FarmReport(
            server=self._server,
            epoch=self._epoch,
            is_ready=self._is_complete,
            is_draining=state.is_draining,
            provider=self._desk.provider,
            jobs=list(state.jobs)[:MAX_JOBS_SHOWN],
            n_jobs=len(state.jobs),
            workers=dict(state.n_workers_by_role()),
            frames_sent=self._jobs.frames_sent,
            uptime_s=time.monotonic() - self._begin,
            steps=self._desk.steps.summary(),
        )

    # Commands.

    def _carry_out(self, command: todo.Command) -> None:
        if self._models.carry_out(command) or self._jobs.carry_out(command):
            return
        match command:
            case todo.KeepResult():
                finished = self._desk.take_finished(command.slot)
                self._jobs.stores[command.serial].keep_frame(command.frame, finished)
                fail_point("broker.result_kept")
            case todo.KillWorker():
                self._control.send({"kind": "kill", "pid": command.pid})
            case todo.Drained():
                self._has_drained = True
            case _:
                if (event := self._desk.orders.pass_on(command, self._jobs.stores)) is not None:
                    self._events.append(event)
