"""The compositor: slots of rings in, JPEG frames out.

It reads a slot only while it holds its lease, and keeps nothing of it.
"""

import time
from collections.abc import Callable

import numpy as np

from shm.errors import NoSegment, NotARing, StaleDescriptor
from shm.fail_points import fail_point
from shm.ring import Descriptor, RingReader
from shm.segment import Segment, attach
from workers.arrays import U8
from workers.bundles import OpenBundles
from workers.errors import BundleError
from workers.families import Family
from workers.frames import Finisher
from workers.kernels.backends import DEFAULT
from workers.kernels.jpeg import NotSpliceable
from workers.patience import Patience
from workers.process import WorkerProcess
from workers.protocol import Paste, PasteDone, PasteLost, Ready, TaskFailed
from workers.stages import StageTimes
from workers.step_times import StepTimes

FIRST_TICKET_S = 60.0  #: it takes milliseconds; a machine that swaps takes longer


class CompositorWorker:
    """Pastes and encodes.  Between two tickets it holds open bundles and rings."""

    def __init__(
        self,
        process: WorkerProcess,
        family: Family,
        backend: str = DEFAULT,
        log_times: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._process = process
        self._family = family
        self._bundles = OpenBundles()
        self._rings = OpenRings()
        self._times = StageTimes()  #: of the frame that is being made
        self._finisher = Finisher(family, self._times, backend)
        self._patience = Patience(FIRST_TICKET_S)
        self._steps = StepTimes(process.send, log_times)

    def start(self) -> None:
        self._process.send(Ready())
        fail_point("compositor.ready_sent")
        self._process.serve(
            self.handle, ready=Ready, reset=self._steps.forget, tidy=self._between_tickets
        )

    def _between_tickets(self) -> None:
        self._rings.close_dead()
        self._steps.tell(time.monotonic())

    def handle(self, ticket: Paste, _payloads: list[bytes]) -> None:
        fail_point("compositor.ticket_taken")
        n = len(ticket.slots)
        self._process.announce("compositing", self._patience.allowed_s(n))
        times = StageTimes()
        begin = time.perf_counter()
        try:
            frames = [self._timed_frame(ticket, index, times) for index in range(n)]
        except (NoSegment, NotARing, StaleDescriptor):
            # The ring's owner has died, and its supervisor was faster than this ticket.
            self._process.send(PasteLost(ticket=ticket.ticket))
            return
        done = PasteDone(
            ticket=ticket.ticket,
            is_change=[is_change for _, is_change in frames],
            step_ms={step: 1e3 * seconds for step, seconds in times.seconds.items()},
        )
        self._patience.took(time.perf_counter() - begin, n)
        fail_point("compositor.encoded")
        self._process.send(done, [payload for payload, _ in frames])
        fail_point("compositor.done_sent")
        self._steps.tell(time.monotonic())

    def _timed_frame(self, ticket: Paste, index: int, times: StageTimes) -> tuple[bytes, bool]:
        """Steps are counted by frame: some take more than one stage of a step."""
        self._times.seconds.clear()
        result = self._frame(ticket, index)
        fail_point("compositor.pasted")
        times.add(self._times.seconds)
        self._steps.count(self._times.seconds, time.monotonic())
        return result

    def _frame(self, ticket: Paste, index: int) -> tuple[bytes, bool]:
        """A JPEG or a change, and which; empty when its job's data are at fault."""
        try:
            painted = self._painted(ticket, index)
            bundle = self._bundles.get(ticket.bundles[index], ticket.digests[index])
            quality, frame = ticket.qualities[index] or None, ticket.frames[index]
            if ticket.wants_change[index] and quality in (None, bundle.manifest.quality):
                return self._finisher.change(bundle, frame, painted), True
            return self._finisher.jpeg(bundle, frame, painted, quality), False
        except (BundleError, NotSpliceable) as error:
            serial = ticket.serials[index]
            self._process.send(TaskFailed(serial=serial, code="BAD_BUNDLE", message=str(error)))
            return b"", False

    def _painted(self, ticket: Paste, index: int) -> U8:
        """The slot itself: nothing is copied."""
        descriptor = Descriptor(
            ring=ticket.rings[index],
            epoch=ticket.ring_epochs[index],
            slot=ticket.slots[index],
            generation=ticket.generations[index],
        )
        view = self._rings.get(descriptor.ring).view(descriptor)
        fail_point("compositor.viewed")
        return np.frombuffer(view, np.uint8).reshape(self._family.painted_shape)


class OpenRings:
    """The rings a compositor reads from, each attached once."""

    def __init__(self) -> None:
        self._rings: dict[str, tuple[Segment, RingReader]] = {}

    def get(self, name: str) -> RingReader:
        """Raises NoSegment and NotARing."""
        if name not in self._rings:
            self.close_dead()
            segment = attach(name)
            fail_point("compositor.ring_attached")
            self._rings[name] = (segment, RingReader(segment))
        return self._rings[name][1]

    def close_dead(self) -> None:
        """The memory of a ring that is gone is held by who still maps it: the next may need it."""
        for name, (segment, _) in list(self._rings.items()):
            if not segment.is_linked():
                del self._rings[name]
                segment.close()
