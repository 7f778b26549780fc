"""The desks without sockets: nothing is said to a client before it is kept."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from farm import events as happened
from farm import protocol
from farm.allowance import BURST
from farm.attachment import RETURN_S
from farm.catalog import Catalog
from farm.client_desk import ClientDesk
from farm.commands import SendFrames
from farm.durable import NotDurable
from farm.ended_jobs import EndedJobs
from farm.job_desk import JobDesk
from farm.job_store import Finished
from farm.journal import Entry, JournalFailed
from farm.model_catalog import ModelCatalog
from farm.model_desk import ModelDesk
from farm.outbox import Outbox
from farm.paths import Paths
from farm.places import Capacity
from farm.restorer import MAX_BROKERS, Restorer
from farm.scheduler import Scheduler
from farm.state import Limits
from tests.material import noise_avatar
from workers import wire
from workers.avatar import SEGMENTS
from workers.kernels.splice import UNCHANGED
from workers.transport import PeerGone


class Keeper(NotDurable):
    """Remembers what it was asked, and refuses when it is told to."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.is_full = False
        self.reason = ""
        self.kept: list[Entry] = []

    def entries(self) -> list[Entry]:
        return self.kept

    def no_room(self) -> str:
        return self.reason

    def accept(self, entry: Entry) -> int:
        self.log.append(f"accept {entry.job_id}")
        return 1

    def commit(self) -> None:
        if self.is_full:
            raise JournalFailed("the journal cannot be written: full")
        self.log.append("commit")


class Front:
    """A farm's front without a farm behind it."""

    def __init__(self, directory: Path) -> None:
        self.log: list[str] = []
        self.heard: list[tuple[bytes, Any]] = []
        self.gone: set[bytes] = set()
        self.now = 0.0
        self.keeper = Keeper(self.log)
        self.scheduler = Scheduler(Limits(max_jobs=2), Capacity())
        self.events: deque[happened.Event] = deque()
        outbox = Outbox(self)  # type: ignore[arg-type]
        self.jobs = JobDesk(
            keeper=self.keeper,
            state=self.scheduler.state,
            events=self.events,
            outbox=outbox,
            ended=EndedJobs(keep_s=60, tail_s=60, tail_bytes=1 << 20),
        )
        self.desk = ClientDesk(
            self,  # type: ignore[arg-type]
            outbox=outbox,
            catalog=Catalog(Paths(data=directory, cache=directory)),
            state=self.scheduler.state,
            events=self.events,
            jobs=self.jobs,
            models=ModelDesk(
                ModelCatalog(Paths(data=directory, cache=directory)),
                outbox=outbox,
                state=self.scheduler.state,
                events=self.events,
            ),
            settle=self.settle,
            welcome=protocol.Welcome(server="", epoch=1, max_chunk_bytes=1, max_jobs_per_client=1),
            farm_report=lambda: pytest.fail("nobody asked"),
        )
        self.outbox = outbox

    def send(self, frames: Sequence[bytes]) -> None:
        if frames[0] in self.gone:
            raise PeerGone
        message = wire.decode(frames[1], protocol.FROM_BROKER, protocol.VERSION)
        self.heard.append((frames[0], message))
        self.log.append(type(message).__name__)

    def settle(self) -> None:
        while self.events:
            for command in self.scheduler.handle(self.events.popleft(), self.now):
                self.jobs.carry_out(command)

    def turn(self, *said: tuple[bytes, object]) -> None:
        """What the broker's loop does with some messages."""
        for client, message in said:
            self.desk.take([client, wire.encode(message, protocol.VERSION)])
            self.settle()
        self.jobs.commit()
        self.settle()
        gone = self.outbox.flush()
        self.events.extend(happened.ClientGone(client) for client in gone)
        self.settle()

    def told(self, client: bytes) -> list[Any]:
        """Without what it is granted."""
        words = [message for who, message in self.heard if who == client]
        return [word for word in words if not isinstance(word, protocol.AudioCredit)]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    noise_avatar(tmp_path / "avatars" / "anna")
    front = Front(tmp_path)
    yield front
    vars(front).clear()  # the bundles that it opened go with it


def opening(job_id: str, **more: Any) -> protocol.Open:
    return protocol.Open(job_id=job_id, avatar="anna", credit=1, **more)


def test_accepted_leaves_after_the_commit_and_one_commit_serves_a_turn(front: Front) -> None:
    front.turn((b"c", opening("a")), (b"d", opening("b")))

    assert front.log[:4] == ["accept a", "accept b", "commit", "Accepted"]
    assert front.log.count("commit") == 1


def test_what_cannot_be_kept_is_not_promised(
    front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    front.keeper.is_full = True
    for job_id in ("a", "b", "c"):
        front.turn((b"c", opening(job_id)))

    assert [(m.code, m.retryable, m.retry_after_s > 0) for m in front.told(b"c")] == [
        ("STORAGE", True, True)
    ] * 3
    assert front.scheduler.state.jobs == {}
    assert capsys.readouterr().err.count("\n") == 1, "said once, not once a turn"


def test_a_full_disk_refuses_new_jobs_and_leaves_the_others(front: Front) -> None:
    front.turn((b"c", opening("a")))
    front.keeper.reason = "the farm's disk is full"

    front.turn((b"c", opening("b")), (b"c", protocol.Resume(job_id="a", next_frame=0, credit=5)))

    refusal, accepted = front.told(b"c")[1:]
    assert (refusal.code, refusal.retryable) == ("STORAGE", True)
    assert accepted.job_id == "a"


def test_the_same_open_finds_its_job_when_nobody_has_it(front: Front) -> None:
    front.turn((b"c", opening("a")))
    front.gone.add(b"c")

    front.turn((b"d", opening("a")))

    (accepted,) = front.told(b"d")
    assert isinstance(accepted, protocol.Accepted)
    assert front.scheduler.state.jobs["a"].client == b"d"


@pytest.mark.parametrize("more", [{"priority": 3}, {"sample_format": "s16le"}])
def test_another_open_of_the_same_id_is_a_conflict(front: Front, more: dict[str, Any]) -> None:
    front.turn((b"c", opening("a")))

    front.turn((b"c", opening("a", **more)), (b"d", opening("a")))

    assert [m.code for m in front.told(b"c") if isinstance(m, protocol.Failed)] == ["CONFLICT"]
    assert [m.code for m in front.told(b"d") if isinstance(m, protocol.Failed)] == ["CONFLICT"]


def test_an_unknown_job_cannot_be_resumed(front: Front) -> None:
    front.turn((b"c", protocol.Resume(job_id="nothing", next_frame=0, credit=5)))

    assert [(m.code, m.retryable) for m in front.told(b"c")] == [("UNKNOWN_JOB", False)]


def test_a_refusal_says_how_many_are_ahead(front: Front) -> None:
    front.turn(*[(b"c", opening(job_id)) for job_id in "abc"])

    refusal = front.told(b"c")[-1]
    assert (refusal.code, refusal.position, refusal.retry_after_s) == ("BUSY", 2, 5.0)


def test_a_job_that_no_broker_survives_is_not_taken_over_for_ever(front: Front) -> None:
    killer = Entry(
        job_id="k", fingerprint="f", options={}, deadline=None, key=1, n_brokers=MAX_BROKERS
    )
    front.keeper.kept = [killer]

    Restorer(
        keeper=front.keeper,
        catalog=Catalog(Paths(data=Path(), cache=Path())),
        models=ModelCatalog(Paths(data=Path(), cache=Path())),
        jobs=front.jobs,
        events=front.events,
        settle=front.settle,
    ).restore()
    front.turn((b"c", protocol.Resume(job_id="k", next_frame=0, credit=5)))

    (failed,) = front.told(b"c")
    assert (failed.code, failed.retryable) == ("POISON", False)
    assert front.scheduler.state.jobs == {}


def test_what_leads_nowhere_is_heard_only_so_often(front: Front) -> None:
    assert front.desk.wait_s() == 0

    for _ in range(int(BURST) + 200):
        front.desk.take([b"c", b"garbage"])

    assert front.desk.wait_s() > 0


def test_a_full_farm_gives_a_place_up_that_nobody_came_back_for(front: Front) -> None:
    front.turn((b"c", opening("a")), (b"c", opening("b")))
    front.gone.add(b"c")
    front.turn((b"d", protocol.Status(job_id="a")), (b"c", protocol.Status(job_id="a")))

    front.turn((b"d", opening("d")))
    assert front.told(b"d")[-1].code == "BUSY", "c may only have a bad line"
    front.now = RETURN_S + 1
    front.turn((b"d", opening("d")))

    assert isinstance(front.told(b"d")[-1], protocol.Accepted)
    assert list(front.scheduler.state.jobs) == ["b", "d"]


def test_a_template_that_is_damaged_under_the_brokers_hands_fails_its_job(
    front: Front, tmp_path: Path
) -> None:
    front.turn((b"c", opening("a")))
    (store,) = front.jobs.stores.values()
    store.keep_frame(0, Finished(UNCHANGED, is_change=True))
    path = tmp_path / "avatars" / "anna" / SEGMENTS
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)

    frames = SendFrames(client=b"c", job_id="a", serial=1, frames=range(1))
    front.jobs.carry_out(frames)
    front.settle()
    front.turn()

    failed = front.told(b"c")[-1]
    assert (failed.code, str(tmp_path) in failed.message) == ("BAD_BUNDLE", False)
