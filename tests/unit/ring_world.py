"""A ring, its writer, its readers and the scheduler as a world of single steps.

The scheduler and the ledger are the real ones; processes are reduced to what each step does to
messages and slots.  A world is never changed: a step gives the next one, so that all orders of
steps can be tried.  Messages of one process to another arrive in order; a process may die between
any two steps, and the broker may hear of that before or after it reads the dead one's last words.
"""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum

from farm.commands import (
    Command,
    Composite,
    FinishJob,
    Lease,
    ReleaseSlots,
    RunBatch,
    SendFrames,
)
from farm.events import (
    AudioArrived,
    AudioEnded,
    BatchRendered,
    Event,
    FramesComposited,
    JobOpened,
    Slot,
    SlotsUnreadable,
    SpanEncoded,
    WorkerGone,
    WorkerReady,
)
from farm.places import Capacity
from farm.scheduler import Scheduler
from farm.state import Limits
from shm.layout import RingLayout
from shm.ledger import Ledger, SlotState

MAX_UNREADABLE = 1  #: times that a dead writer's slots are leased in vain before it is buried

Picture = tuple[str, int]  #: job and frame: what a slot holds


@dataclass(frozen=True)
class Writer:
    """An inference worker: claims a block, fills it, publishes it, frees its slots."""

    identity: bytes
    book: bytes  #: its ledger, pickled
    held: tuple[Picture | None, ...]  #: what is in each slot; None: being written
    inbox: tuple[Command, ...] = ()
    outbox: tuple[Event, ...] = ()
    writing: tuple[RunBatch, int] | None = None  #: a batch and its block
    is_alive: bool = True
    n_lives: int = 1


@dataclass(frozen=True)
class Reader:
    """A compositor.  It may look at the slots of its tickets at any time until it answers."""

    identity: bytes
    inbox: tuple[Composite, ...] = ()
    outbox: tuple[Event, ...] = ()
    is_alive: bool = True
    n_lives: int = 1

    @property
    def leases(self) -> list[Lease]:
        return [lease for ticket in self.inbox for lease in ticket.leases]


Process = Writer | Reader


@dataclass(frozen=True)
class World:
    mind: int  #: the scheduler, by its number in `Rules`
    processes: tuple[Process, ...]  #: the writer first
    delivered: tuple[tuple[str, int], ...]  #: job and how many of its frames the client has
    verdicts: tuple[tuple[str, str], ...] = ()  #: job, and its code or state
    n_deaths: int = 0

    @property
    def writer(self) -> Writer:
        assert isinstance(self.processes[0], Writer)
        return self.processes[0]

    @property
    def readers(self) -> list[Reader]:
        return [process for process in self.processes if isinstance(process, Reader)]


class Rules:
    """What can happen next in a world, and what must hold in each."""

    def __init__(
        self, *, jobs: dict[str, int], layout: RingLayout, n_readers: int, max_deaths: int
    ) -> None:
        self.jobs = jobs
        self.layout = layout
        self.n_readers = n_readers
        self.max_deaths = max_deaths
        self._minds: list[Scheduler] = []
        self._numbers: dict[Hashable, int] = {}
        self._handled: dict[tuple[int, Event], tuple[int, list[Command]]] = {}

    def start(self) -> World:
        """Speech is encoded and the workers have just said that they are warm."""
        scheduler = Scheduler(Limits(), Capacity())
        scheduler.handle(WorkerReady(worker=b"audio", role="audio", pid=1, models=(("m", 1),)), 0.0)
        for serial, (name, n_frames) in enumerate(self.jobs.items(), start=1):
            for event in _speech(name, serial, n_frames):
                scheduler.handle(event, 0.0)
        world = World(self._number(scheduler), (), tuple((name, 0) for name in self.jobs))
        workers = tuple(self._born(index, 1) for index in range(1 + self.n_readers))
        world = replace(world, processes=workers)
        for index in range(len(workers)):
            world = self._heard(world, index)
        return world

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """All that can happen, deaths last."""
        for index, process in enumerate(world.processes):
            if process.outbox:
                yield f"{index} is heard", self._heard(world, index)
            if not process.is_alive:
                yield f"{index} is buried", self._buried(world, index)
            elif isinstance(process, Writer):
                if process.writing or process.inbox:
                    yield f"{index} works", _put(world, index, self._written(process))
            elif process.inbox:
                for is_readable in self._outcomes(world, process.inbox[0]):
                    done = _answered(process, is_readable)
                    yield f"{index} reads: {is_readable}", _put(world, index, done)
        if world.n_deaths < self.max_deaths:
            yield from self.deaths(world)

    def deaths(self, world: World) -> Iterator[tuple[str, World]]:
        for index, process in enumerate(world.processes):
            if process.is_alive:
                dead = _put(world, index, replace(process, is_alive=False, inbox=()))
                yield f"{index} dies", replace(dead, n_deaths=world.n_deaths + 1)

    # What processes do.

    def _written(self, writer: Writer) -> Writer:
        ledger = self.ledger(writer)
        held, outbox, writing = list(writer.held), writer.outbox, None
        inbox = writer.inbox
        if writer.writing is not None:
            batch, block = writer.writing
            pictures = [(run.job_id, frame) for run in batch.runs for frame in run.frames]
            slots = self.layout.block_slots(block)
            generations = ledger.publish(block, len(pictures))
            held[slots.start : slots.start + len(pictures)] = pictures
            lent = zip(slots, generations, strict=False)
            places = tuple(Slot(writer.identity, slot, generation) for slot, generation in lent)
            event = BatchRendered(worker=writer.identity, batch=batch.batch, slots=places)
            outbox = (*outbox, event)
        else:
            task, inbox = inbox[0], inbox[1:]
            if isinstance(task, RunBatch):
                block = ledger.try_claim()  # RingFull here: the scheduler miscounted
                for slot in self.layout.block_slots(block):
                    held[slot] = None
                writing = (task, block)
            elif isinstance(task, ReleaseSlots):
                for place in task.slots:  # StaleDescriptor here: released twice, or never lent
                    ledger.release(place.slot, place.generation)
        return replace(
            writer,
            book=pickle.dumps(ledger),
            held=tuple(held),
            inbox=inbox,
            outbox=outbox,
            writing=writing,
        )

    def _outcomes(self, world: World, ticket: Composite) -> list[bool]:
        """A dead ring can be read by who has it open, and not found by who has not."""
        owners = {lease.slot.worker for lease in ticket.leases}
        if owners == {world.writer.identity} and world.writer.is_alive:
            return [True]
        workers = self.scheduler(world).state.workers
        n_unreadable = sum(workers[owner].n_unreadable for owner in owners if owner in workers)
        # Or the same slots would be leased in vain until their writer is buried, for ever.
        return [True, False] if n_unreadable < MAX_UNREADABLE else [True]

    # What the broker does.

    def _heard(self, world: World, index: int) -> World:
        process = world.processes[index]
        event, *rest = process.outbox
        world = _put(world, index, replace(process, outbox=tuple(rest)))
        return self._told(world, event)

    def _buried(self, world: World, index: int) -> World:
        dead = world.processes[index]
        world = self._told(world, WorkerGone(dead.identity))
        return _put(world, index, self._born(index, dead.n_lives + 1))

    def _born(self, index: int, n_lives: int) -> Process:
        identity = b"%d.%d" % (index, n_lives)
        pid = 10 * index + n_lives
        if index > 0:
            warm = WorkerReady(worker=identity, role="compositor", pid=pid)
            return Reader(identity, outbox=(warm,), n_lives=n_lives)
        n_blocks, batch_size = self.layout.n_blocks, self.layout.slots_per_block
        warm = WorkerReady(
            worker=identity,
            role="inference",
            pid=pid,
            n_blocks=n_blocks,
            batch_size=batch_size,
            models=(("m", 1),),
        )
        held = (None,) * self.layout.n_slots
        book = pickle.dumps(Ledger(self.layout))
        return Writer(identity, book, held, outbox=(warm,), n_lives=n_lives)

    def _told(self, world: World, event: Event) -> World:
        mind, commands = self._handle(world.mind, event)
        world = replace(world, mind=mind)
        for command in commands:
            world = _carried_out(world, command)
        return world

    # The scheduler, remembered: the same mind hears the same event in many worlds.

    def scheduler(self, world: World) -> Scheduler:
        """To look at."""
        return self._minds[world.mind]

    def ledger(self, writer: Writer) -> Ledger:
        """A copy of it."""
        ledger = pickle.loads(writer.book)
        assert isinstance(ledger, Ledger)
        return ledger

    def _handle(self, mind: int, event: Event) -> tuple[int, list[Command]]:
        if (mind, event) not in self._handled:
            scheduler = pickle.loads(pickle.dumps(self._minds[mind]))
            commands = scheduler.handle(event, 0.0)
            scheduler.state.validate()
            self._handled[mind, event] = self._number(scheduler), commands
        return self._handled[mind, event]

    def _number(self, scheduler: Scheduler) -> int:
        key = _frozen(scheduler)
        if key not in self._numbers:
            self._numbers[key] = len(self._minds)
            self._minds.append(scheduler)
        return self._numbers[key]

    # What must hold.

    def check(self, world: World) -> None:
        """In every world."""
        writer = world.writer
        self.ledger(writer).validate()
        readers = [x for reader in world.readers for x in reader.leases]
        here = [x.slot for x in readers if x.slot.worker == writer.identity]
        assert len(here) == len(set(here)), "two readers of one slot"
        if not writer.is_alive:
            return
        lent = self.lent(world)
        assert lent >= set(here), "a stale lease, or one of a slot that is not lent"
        for lease in readers:
            if lease.slot.worker == writer.identity:
                assert writer.held[lease.slot.slot] == (lease.job_id, lease.frame), "torn"
        assert lent == self._known_places(world), "a slot is lost, or has two owners"

    def lent(self, world: World) -> set[Slot]:
        """What the writer has published and not taken back."""
        writer, ledger = world.writer, self.ledger(world.writer)
        return {
            Slot(writer.identity, slot, ledger.generation(slot))
            for slot in range(self.layout.n_slots)
            if ledger.state(slot) is SlotState.LENT
        }

    def _known_places(self, world: World) -> set[Slot]:
        """Slots that somebody will free: each in one message, or one line of the scheduler."""
        state, writer = self.scheduler(world).state, world.writer
        places = [slot for x in writer.outbox if isinstance(x, BatchRendered) for slot in x.slots]
        places += [slot for x in writer.inbox if isinstance(x, ReleaseSlots) for slot in x.slots]
        if writer.identity in state.workers:
            places += [x for held in state.workers[writer.identity].blocks.values() for x in held]
        assert len(places) == len(set(places)), "a slot has two owners"
        return set(places)

    def check_end(self, world: World) -> None:
        """When nothing but deaths can happen any more."""
        ledger, state = self.ledger(world.writer), self.scheduler(world).state
        assert ledger.n_free_blocks == self.layout.n_blocks, "slots leaked"
        assert not state.rendered
        assert all(worker.is_idle and not worker.blocks for worker in state.workers.values())
        verdicts = dict(world.verdicts)
        for name, n_delivered in world.delivered:
            if verdicts[name] == "POISON":
                assert world.n_deaths >= 3, "a first death, and two of one alone"
            else:
                assert (verdicts[name], n_delivered) == ("done", self.jobs[name])


def _speech(name: str, serial: int, n_frames: int) -> Iterator[Event]:
    yield JobOpened(client=b"client", job_id=name, avatar="a", model="m", model_bytes=1, credit=256)
    n_samples = 640 * n_frames
    yield AudioArrived(client=b"client", job_id=name, n_samples=n_samples, n_ready_spans=0)
    yield AudioEnded(client=b"client", job_id=name, total_spans=1, total_frames=n_frames)
    yield SpanEncoded(worker=b"audio", serial=serial, span=0, n_ready_frames=n_frames)


def _answered(reader: Reader, is_readable: bool) -> Reader:
    ticket, *rest = reader.inbox
    kind = FramesComposited if is_readable else SlotsUnreadable
    event = kind(worker=reader.identity, slots=tuple(lease.slot for lease in ticket.leases))
    return replace(reader, inbox=tuple(rest), outbox=(*reader.outbox, event))


def _put(world: World, index: int, process: Process) -> World:
    processes = (*world.processes[:index], process, *world.processes[index + 1 :])
    return replace(world, processes=processes)


def _carried_out(world: World, command: Command) -> World:
    match command:
        case RunBatch() | ReleaseSlots() | Composite():
            for index, process in enumerate(world.processes):
                if process.identity == command.worker and process.is_alive:
                    told = replace(process, inbox=(*process.inbox, command))  # type: ignore[arg-type]
                    return _put(world, index, told)
        case SendFrames():
            delivered = dict(world.delivered)
            assert command.frames.start == delivered[command.job_id], "out of order, or twice"
            delivered[command.job_id] = command.frames.stop
            return replace(world, delivered=tuple(delivered.items()))
        case FinishJob():
            verdict = (command.job_id, command.code or command.state)
            return replace(world, verdicts=(*world.verdicts, verdict))
    return world


def _frozen(thing: object) -> Hashable:
    """Equal for things that will behave alike; the order of a dict is part of it."""
    if thing is None or isinstance(thing, str | bytes | int | float | Enum | range):
        return thing
    if isinstance(thing, dict):
        return tuple((_frozen(key), _frozen(value)) for key, value in thing.items())
    if isinstance(thing, set | frozenset):
        return frozenset(map(_frozen, thing))
    if is_dataclass(thing):
        return tuple(_frozen(getattr(thing, field.name)) for field in fields(thing))
    if hasattr(thing, "__iter__") and not hasattr(thing, "__dict__"):
        return tuple(map(_frozen, thing))
    return _frozen(vars(thing))
