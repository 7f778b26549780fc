"""What workers say: messages to events.

Who speaks without having said hello worked for a broker before this one: it is told to forget what
it does, and what it says before its hello is not heard.  So no old result is taken for a new one,
though batches and tickets are numbered anew.
"""

from pathlib import Path
from typing import Any

import numpy as np

from farm import events as happened
from farm.feature_cache import FeatureCache
from farm.job_store import Finished
from farm.model_desk import ModelDesk
from farm.worker_orders import Stores, WorkerOrders
from farm.worker_peers import Peer
from workers import protocol, wire
from workers.features.windows import FEATURE_SIZE
from workers.histogram import BadCounts, StepHistograms
from workers.transport import Endpoint


class WorkerDesk:
    """Knows the workers' sockets and what each was asked; decides nothing."""

    def __init__(
        self, endpoint: Endpoint, epoch: int, models: ModelDesk, features: FeatureCache
    ) -> None:
        self._endpoint = endpoint
        self._epoch = epoch
        self._models = models
        self._features = features
        self._peers: dict[bytes, Peer] = {}
        self.orders = WorkerOrders(endpoint, self._peers, models, features)
        self._strangers: set[bytes] = set()  #: who were told to reset
        self._gone: set[bytes] = set()  #: reaped; their last words may still come
        self._finished: dict[happened.Slot, Finished] = {}
        self.provider = ""  #: where inference runs
        self.steps = StepHistograms()  #: of all compositors since we began, the dead ones too

    def receive(self) -> list[bytes] | None:
        return self._endpoint.receive()

    def of_pid(self, pid: int) -> bytes | None:
        """A process's identity; None if it never said a word."""
        return next((who for who, peer in self._peers.items() if peer.pid == pid), None)

    def forget(self, worker: bytes) -> None:
        """Its process was reaped, or it has another line to us now."""
        if self._peers.pop(worker, None) is not None:
            self._gone.add(worker)

    def take_finished(self, slot: happened.Slot) -> Finished:
        """The frame that came of a slot just now."""
        return self._finished.pop(slot)

    def drop_untaken(self) -> None:
        """Frames of jobs that are over."""
        self._finished.clear()

    # What workers say.

    def take(self, frames: list[bytes], stores: Stores) -> happened.Event | None:
        """A message as an event; None when it is none of the scheduler's business."""
        worker, header, *payloads = frames
        message = wire.decode(header, protocol.FROM_WORKER, protocol.VERSION)
        peer = self._peers.get(worker)
        if isinstance(message, protocol.Hello) and message.epoch in (0, self._epoch):
            return self._greet(worker, message)
        if peer is None:
            if worker not in self._gone:
                self._reset(worker)
            return None
        return self._event(worker, peer, message, payloads, stores)

    def _greet(self, worker: bytes, hello: protocol.Hello) -> happened.Event | None:
        """A new process, or one that has obeyed our reset: it holds nothing."""
        self._strangers.discard(worker)
        # Its first words may be read after its death was told: a ghost would be given work.
        if not Path(f"/proc/{hello.pid}").exists():
            return None
        before = self.of_pid(hello.pid)
        self._peers[worker] = Peer(hello.role, hello.name, hello.pid)
        # The line it had before was cut: what it was asked there it has dropped.
        return happened.WorkerGone(before) if before is not None else None

    def _reset(self, worker: bytes) -> None:
        if worker not in self._strangers:
            self._strangers.add(worker)
            self.orders.tell(worker, protocol.Reset(epoch=self._epoch))

    def _event(
        self, worker: bytes, peer: Peer, message: Any, payloads: list[bytes], stores: Stores
    ) -> happened.Event | None:
        match message:
            case protocol.Ready():
                return self._ready(worker, peer, message)
            case protocol.Beat():
                return happened.WorkerBeat(worker=worker, silent_s=message.silent_s)
            case protocol.TaskFailed():
                store = stores.get(message.serial)
                return happened.WorkFailed(
                    worker=worker,
                    serial=message.serial,
                    code=message.code,
                    message=store.without_paths(message.message) if store else message.message,
                )
            case protocol.ModelLoaded() | protocol.ModelNotLoaded() | protocol.ModelUnloaded():
                return self._model_moved(worker, peer, message)
            case protocol.SpanDone():
                return self._span_done(worker, peer, message, payloads, stores)
            case protocol.BatchDone():
                return self._batch_done(worker, peer, message, stores)
            case protocol.PasteLost():
                leases = peer.tickets.pop(message.ticket)
                return happened.SlotsUnreadable(
                    worker=worker, slots=tuple(lease.slot for lease in leases)
                )
            case protocol.PasteDone():
                return self._paste_done(worker, peer, message, payloads, stores)
            case protocol.Times():
                self._count_times(message)
        return None

    def _ready(self, worker: bytes, peer: Peer, message: protocol.Ready) -> happened.Event:
        peer.ring, peer.ring_epoch = message.ring, message.ring_epoch
        if peer.role == "inference" and message.provider:
            self.provider = message.provider
        for model in message.models if peer.role == "audio" else ():
            self._features.forget(model)
        return happened.WorkerReady(
            worker=worker,
            role=peer.role,
            pid=peer.pid,
            n_blocks=message.n_blocks,
            batch_size=message.batch_size,
            device=message.device,
            device_bytes=message.device_bytes,
            models=tuple(message.models.items()),
        )

    def _model_moved(
        self,
        worker: bytes,
        peer: Peer,
        message: protocol.ModelLoaded | protocol.ModelNotLoaded | protocol.ModelUnloaded,
    ) -> happened.Event:
        model = message.model
        match message:
            case protocol.ModelLoaded():
                if peer.role == "inference":
                    self.provider = message.provider
                    self._models.stats.count_load(model, message.load_ms, message.provider)
                else:
                    self._features.forget(model)  # of other files, perhaps
                n_bytes = message.memory_bytes
                return happened.ModelLoaded(worker=worker, model=model, n_bytes=n_bytes)
            case protocol.ModelNotLoaded():
                reason = self._models.without_paths(model, message.message)
                return happened.ModelNotLoaded(worker=worker, model=model, message=reason)
        return happened.ModelUnloaded(worker=worker, model=model)

    def _span_done(
        self,
        worker: bytes,
        peer: Peer,
        message: protocol.SpanDone,
        payloads: list[bytes],
        stores: Stores,
    ) -> happened.Event:
        store = stores.get(message.serial)
        key = peer.spans.pop((message.serial, message.span), None)
        if payloads:
            features = np.frombuffer(payloads[0], np.float32).reshape(-1, FEATURE_SIZE)
            if key is not None:
                self._features.put(key, features)
        if store is not None and payloads:
            store.keep_features(message.span, features)
            store.count_ms("audio", message.busy_ms)
        return happened.SpanEncoded(
            worker=worker,
            serial=message.serial,
            span=message.span,
            n_ready_frames=store.n_ready_frames if store is not None else 0,
        )

    def _batch_done(
        self, worker: bytes, peer: Peer, message: protocol.BatchDone, stores: Stores
    ) -> happened.Event:
        batch = peer.batches.pop(message.batch)
        n_all = sum(batch.shares.values())
        self._models.stats.count_batch(batch.model, n_all, message.busy_ms, message.idle_ms)
        for serial, n_frames in batch.shares.items():
            if (store := stores.get(serial)) is not None:
                store.count_ms("inference", message.busy_ms * n_frames / n_all)
        places = zip(message.slots, message.generations, strict=True)
        return happened.BatchRendered(
            worker=worker,
            batch=message.batch,
            slots=tuple(happened.Slot(worker, slot, generation) for slot, generation in places),
            model_bytes=message.memory_bytes,
        )

    def _paste_done(
        self,
        worker: bytes,
        peer: Peer,
        message: protocol.PasteDone,
        payloads: list[bytes],
        stores: Stores,
    ) -> happened.Event:
        leases = peer.tickets.pop(message.ticket)
        for lease, payload, is_change in zip(leases, payloads, message.is_change, strict=True):
            self._finished[lease.slot] = Finished(payload, is_change)
            if (store := stores.get(lease.serial)) is not None:
                for step, ms in message.step_ms.items():
                    store.count_ms(step, ms / len(leases))
        return happened.FramesComposited(
            worker=worker,
            slots=tuple(lease.slot for lease in leases),
            n_bytes=tuple(map(len, payloads)),
        )

    def _count_times(self, message: protocol.Times) -> None:
        try:
            self.steps.merge(message.steps)
        except BadCounts as error:
            raise wire.WireError("BAD_MESSAGE", str(error)) from error
