"""Rings between real processes: bytes arrive, and the dead are swept while the living are not."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from itertools import pairwise

import pytest

from shm.errors import StaleDescriptor
from shm.layout import RingLayout
from shm.ring import Descriptor, RingReader
from shm.room import SHM_DIR
from shm.segment import attach, create, segment_name
from shm.sweep import sweep

LAYOUT = RingLayout(n_blocks=2, slots_per_block=4, slot_bytes=64 * 1024)
DEADLINE_S = 60

OWNER = """
import sys
from shm.segment import create
with create(sys.argv[1], 8192):
    print("ready", flush=True)
    sys.stdin.readline()
"""

# For each line "N VALUE ...": releases the N oldest slots, lends one filled with each value.
WRITER = """
import json, sys
from collections import deque
from dataclasses import asdict
from shm.layout import RingLayout
from shm.ring import RingWriter
from shm.segment import attach
with attach(sys.argv[1]) as segment:
    layout = RingLayout(*map(int, sys.argv[2:5]))
    writer = RingWriter(segment, layout, epoch=9)
    lent = deque()
    for line in sys.stdin:
        n_released, *values = map(int, line.split())
        for _ in range(n_released):
            oldest = lent.popleft()
            writer.release(oldest.slot, oldest.generation)
        block = writer.claim_block()
        view = writer.block_view(block, len(values))
        view[:] = b"".join(bytes([value]) * layout.slot_bytes for value in values)
        lent.extend(new := writer.publish(block, [(value, 0) for value in values]))
        print(json.dumps([asdict(descriptor) for descriptor in new]), flush=True)
"""

READER = """
import hashlib, json, sys
from shm.ring import Descriptor, RingReader
from shm.segment import attach
with attach(sys.argv[1]) as segment:
    reader = RingReader(segment)
    for line in sys.stdin:
        descriptors = [Descriptor(**fields) for fields in json.loads(line)]
        print(*(hashlib.sha256(reader.view(d)).hexdigest() for d in descriptors), flush=True)
"""


@pytest.fixture
def name() -> str:
    return segment_name(farm=f"test{uuid.uuid4().hex[:12]}", what="ring", counter=0)


@contextmanager
def running(code: str, *args: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python process on pipes: it ends with its input, says nothing more, and is reaped."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
            assert process.communicate(timeout=DEADLINE_S) == ("", "")
        finally:
            process.kill()


def hear(process: "subprocess.Popen[str]") -> str:
    """Its next line, empty if it died.  pytest's timeout is the deadline."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def ask(process: "subprocess.Popen[str]", line: str) -> str:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return hear(process)


def writer_args(name: str) -> list[str]:
    return [name, str(LAYOUT.n_blocks), str(LAYOUT.slots_per_block), str(LAYOUT.slot_bytes)]


def digest(value: int) -> str:
    return sha256(bytes([value]) * LAYOUT.slot_bytes).hexdigest()


def test_a_reader_in_another_process_reads_what_the_writer_filled_round_after_round(
    name: str,
) -> None:
    rounds = [[first, first + 1, first + 2] for first in range(0, 60, 3)]
    read = []

    with (
        create(name, LAYOUT.total_bytes),
        running(WRITER, *writer_args(name)) as writer,
        ExitStack() as stack,
    ):
        reader = None
        for step, values in enumerate(rounds):
            # Two blocks in the ring: from the third round on, one is given back first.
            n_released = 3 if step >= LAYOUT.n_blocks else 0
            descriptors = ask(writer, " ".join(map(str, [n_released, *values])))
            reader = reader or stack.enter_context(running(READER, name))
            read.append(ask(reader, descriptors))

    assert read == [" ".join(map(digest, values)) for values in rounds]


def test_a_dead_writers_slots_stay_readable_until_a_new_writer_takes_the_ring(name: str) -> None:
    with create(name, LAYOUT.total_bytes), attach(name) as attached:
        with running(WRITER, *writer_args(name)) as writer:
            [fields] = json.loads(ask(writer, "0 77"))
            writer.kill()
        descriptor = Descriptor(**fields)

        reader = RingReader(attached)
        assert sha256(reader.view(descriptor)).hexdigest() == digest(77)

        with running(WRITER, *writer_args(name)) as writer:
            [again] = json.loads(ask(writer, "0 78"))
            assert sha256(reader.view(Descriptor(**again))).hexdigest() == digest(78)
            ask(writer, "1 79")
        with pytest.raises(StaleDescriptor):
            reader.view(descriptor)


def test_kill_minus_9_of_the_owner_leaves_a_segment_that_the_next_sweep_removes(name: str) -> None:
    with running(OWNER, name) as owner:
        assert hear(owner) == "ready"
        owner.send_signal(signal.SIGKILL)
        owner.wait(DEADLINE_S)

        assert (SHM_DIR / name).exists()
        assert name in sweep()
        assert not (SHM_DIR / name).exists()


def test_a_living_owner_in_another_process_keeps_its_segment(name: str) -> None:
    with running(OWNER, name) as owner:
        assert hear(owner) == "ready"

        assert name not in sweep()
        assert (SHM_DIR / name).exists()

    assert not (SHM_DIR / name).exists(), "the owner ended and unlinked"


def test_an_orphan_that_is_still_attached_does_not_keep_a_dead_owners_name(name: str) -> None:
    with running(OWNER, name) as owner:
        assert hear(owner) == "ready"
        with attach(name) as orphan:
            orphan.view[0] = 5
            owner.kill()
            owner.wait(DEADLINE_S)

            assert name in sweep()
            assert orphan.view[0] == 5, "what is mapped stays until the orphan is done"


def test_a_child_that_outlives_its_owner_does_not_inherit_the_lock(name: str) -> None:
    # Descriptors close on exec: else a worker that hangs would hide its dead farm from the sweep.
    owner_with_child = """
import subprocess, sys
from shm.segment import create
with create(sys.argv[1], 8192):
    child = subprocess.Popen(["cat"], stdin=0, stdout=1, close_fds=False)
    print(child.pid, flush=True)
    child.wait()
"""
    with running(owner_with_child, name) as owner:
        assert hear(owner).isdigit()
        owner.kill()
        owner.wait(DEADLINE_S)

        assert ask(owner, "the child lives") == "the child lives"
        assert name in sweep()


def test_sweeps_at_once_remove_each_segment_exactly_once() -> None:
    farm = f"test{uuid.uuid4().hex[:12]}"
    names = [segment_name(farm=farm, what="ring", counter=n) for n in range(40)]
    for name in names:
        (SHM_DIR / name).touch(mode=0o600)
    sweeper = """
import sys
from shm.sweep import sweep
sys.stdin.readline()
print(*sweep(), flush=True)
"""

    with ExitStack() as stack:
        sweepers = [stack.enter_context(running(sweeper)) for _ in range(4)]
        for process in sweepers:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        removed = sorted(name for process in sweepers for name in hear(process).split())

    ours = [name for name in removed if name.startswith(f"lipfarm-{farm}-")]
    assert ours == sorted(names)
    assert all(a != b for a, b in pairwise(removed))
