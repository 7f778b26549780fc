"""What workers are asked: the scheduler's commands as messages with their bytes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from farm import commands as todo
from farm import events as happened
from farm.feature_cache import FeatureCache, key_of
from farm.job_store import JobStore
from farm.model_desk import ModelDesk
from farm.worker_peers import Batch, Peer
from shm.fail_points import fail_point
from workers import protocol, wire
from workers.transport import Endpoint, Frame, PeerGone

Stores = Mapping[int, JobStore]


class WorkerOrders:
    """Sends; what was asked is noted with the peer."""

    def __init__(
        self,
        endpoint: Endpoint,
        peers: dict[bytes, Peer],
        models: ModelDesk,
        features: FeatureCache,
    ) -> None:
        self._endpoint = endpoint
        self._peers = peers
        self._models = models
        self._features = features
        self._n_tickets = 0

    def pass_on(self, command: todo.Command, stores: Stores) -> happened.Event | None:
        """Carry out a command that is for a worker; one that is gone cannot be told.

        Gives what happened at once, because nobody had to be asked.
        """
        match command:
            case todo.LoadModel():
                if (directory := self._models.directory_for(command)) is not None:
                    load = protocol.LoadModel(model=command.model, directory=directory)
                    self.tell(command.worker, load)
            case todo.UnloadModel():
                self.tell(command.worker, protocol.UnloadModel(model=command.model))
            case todo.EncodeSpan():
                return self._encode(command, stores[command.serial])
            case todo.RunBatch():
                self._run_batch(command, stores)
            case todo.ReleaseSlots():
                release = protocol.ReleaseSlots(
                    slots=[slot.slot for slot in command.slots],
                    generations=[slot.generation for slot in command.slots],
                )
                self.tell(command.worker, release)
            case todo.Composite():
                self._composite(command, stores)
        return None

    def _encode(self, command: todo.EncodeSpan, store: JobStore) -> happened.Event | None:
        span = store.span(command.span)
        key = key_of(command.model, span)
        if (features := self._features.get(key)) is not None:
            store.keep_features(span.index, features)
            return happened.SpanEncoded(
                worker=command.worker,
                serial=command.serial,
                span=span.index,
                n_ready_frames=store.n_ready_frames,
            )
        self._peers[command.worker].spans[command.serial, span.index] = key
        ask = protocol.EncodeSpan(
            model=command.model,
            serial=command.serial,
            span=span.index,
            first_sample=span.first_sample,
            total_samples=span.total_samples,
        )
        self.tell(command.worker, ask, [span.samples.data.cast("B")])
        return None

    def _run_batch(self, command: todo.RunBatch, stores: Stores) -> None:
        shares: Counter[int] = Counter()
        for run in command.runs:
            shares[run.serial] += len(run.frames)
        self._peers[command.worker].batches[command.batch] = Batch(command.model, dict(shares))
        ask = protocol.RunBatch(
            batch=command.batch,
            model=command.model,
            serials=[run.serial for run in command.runs],
            bundles=[stores[run.serial].directory for run in command.runs],
            digests=[stores[run.serial].digest for run in command.runs],
            first_frames=[run.frames.start for run in command.runs],
            counts=[len(run.frames) for run in command.runs],
        )
        rows = [stores[run.serial].rows(run.frames).data.cast("B") for run in command.runs]
        self.tell(command.worker, ask, rows)

    def _composite(self, command: todo.Composite, stores: Stores) -> None:
        self._n_tickets += 1
        leases = command.leases
        self._peers[command.worker].tickets[self._n_tickets] = leases
        owners = [self._peers[lease.slot.worker] for lease in leases]
        ask = protocol.Paste(
            ticket=self._n_tickets,
            serials=[lease.serial for lease in leases],
            bundles=[stores[lease.serial].directory for lease in leases],
            digests=[stores[lease.serial].digest for lease in leases],
            qualities=[stores[lease.serial].opened.quality or 0 for lease in leases],
            wants_change=[stores[lease.serial].is_patch for lease in leases],
            frames=[lease.frame for lease in leases],
            rings=[owner.ring for owner in owners],
            ring_epochs=[owner.ring_epoch for owner in owners],
            slots=[lease.slot.slot for lease in leases],
            generations=[lease.slot.generation for lease in leases],
        )
        self.tell(command.worker, ask)

    def tell(self, worker: bytes, message: object, payloads: "Sequence[Frame]" = ()) -> None:
        header = wire.encode(message, protocol.VERSION)
        # If it died, the supervisor will say so, and its work is given to another.
        with suppress(PeerGone):
            self._endpoint.send([worker, header, *payloads])
            fail_point("broker.worker_asked")
