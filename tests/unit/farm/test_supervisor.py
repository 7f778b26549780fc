"""Real processes: tiny programs that play broker and workers, and wait on pipes, never on time.

The fake broker leads each play: it hears what the supervisor says, and sends signals to it.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from farm.config import BadConfig, Endpoints, FarmConfig, endpoints, with_overrides
from farm.daemon import (
    AlreadyRunning,
    UnsafeDirectory,
    caught_signals,
    child_environment,
    held,
    lock_files,
    make_private,
    no_sockets,
    run,
    user_run_dir,
)
from farm.paths import Paths
from farm.restart import (
    BrokerLost,
    ChildSpec,
    CrashLoop,
    DrainTooLong,
    Incarnation,
    Orders,
    Phase,
    RestartPolicy,
)
from farm.supervisor import Supervisor
from shm.layout import RingLayout
from shm.room import SHM_DIR

pytestmark = pytest.mark.timeout(60)

RING = RingLayout(n_blocks=2, slots_per_block=1, slot_bytes=64)
PATIENT_S = 50.0  # never reached: what is waited for comes first
PROMPT = RestartPolicy(first_backoff_s=0.001, max_backoff_s=0.001, max_fruitless_deaths=1_000_000)

BROKER = """
import json, os, signal, socket, sys
number, life, control, ring, stage = json.loads(sys.argv[1])
channel = socket.socket(fileno=control).makefile("rwb", buffering=0)
def say(kind, **content):
    channel.write(json.dumps({"kind": kind, **content}).encode() + b"\\n")
def hear():
    line = channel.readline()
    with open(os.path.join(stage, "heard"), "ab") as log:
        log.write(line)
    return json.loads(line) if line else os._exit(0)
def pid_from(name):
    with open(os.path.join(stage, name)) as fifo:
        return int(fifo.readline())
def signal_parent(number=signal.SIGTERM):
    os.kill(os.getppid(), number)
"""
WORKER = """
import json, os, signal, sys
number, life, control, ring, stage = json.loads(sys.argv[1])
def tell(name):
    with open(os.path.join(stage, name), "w") as fifo:
        fifo.write(str(os.getpid()))
"""
DRAIN = "signal_parent(); hear(); say('drained'); signal.pause()"
SERVE = "say('ready'); " + DRAIN
WAIT = "os.read(life, 1)"


@dataclass
class Stage:
    """Where a play is given: its directory, its supervisor, and what was seen."""

    directory: Path
    orders: Orders
    specs: list[ChildSpec] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    def cast(self, name: str, role: str, play: str, *, ring: RingLayout | None = None) -> None:
        self.specs.append(
            ChildSpec(
                name=name,
                role=role,
                command=partial(self._command, (BROKER if role == "broker" else WORKER) + play),
                makes_ring=ring,
            )
        )

    def _command(self, program: str, given: Incarnation) -> list[str]:
        words = [given.number, given.life_fd, given.control_fd, given.ring, str(self.directory)]
        return [sys.executable, "-I", "-S", "-c", program, json.dumps(words)]

    def fifo(self, name: str) -> Path:
        path = self.directory / name
        os.mkfifo(path)
        return path

    def run(self, **changes: object) -> int:
        orders = replace(self.orders, on_phase=self.phases.append, **changes)  # type: ignore[arg-type]
        return Supervisor(self.specs, orders).run()

    @property
    def heard(self) -> list[dict[str, object]]:
        lines = (self.directory / "heard").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup its word would stand
    with caught_signals() as signals_fd:
        yield Stage(
            tmp_path,
            Orders(
                farm_id=f"test{os.getpid()}",
                environment=child_environment(os.environ),
                start_s=PATIENT_S,
                drain_s=PATIENT_S,
                stop_s=PATIENT_S,
                signals_fd=signals_fd,
                policy=PROMPT,
            ),
        )


def read_to_end(fd: int) -> bytes:
    """Everything until the last writer is gone, within a deadline."""
    chunks, deadline = [], time.monotonic() + PATIENT_S
    while time.monotonic() < deadline and select.select([fd], [], [], PATIENT_S)[0]:
        chunks.append(os.read(fd, 4096))
        if not chunks[-1]:
            return b"".join(chunks)
    raise TimeoutError("somebody still holds the other end")


def read_byte(fd: int) -> bytes:
    assert select.select([fd], [], [], PATIENT_S)[0], "nobody said anything"
    return os.read(fd, 1)


def test_a_signal_drains_and_drained_stops(stage: Stage) -> None:
    stage.cast("broker", "broker", SERVE)
    stage.cast("audio-0", "audio", WAIT)

    assert stage.run() == 0

    assert stage.phases == [Phase.SERVING, Phase.DRAINING, Phase.STOPPING]
    assert stage.heard == [{"kind": "drain"}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_end_signal_drains(stage: Stage, number: int) -> None:
    stage.cast("broker", "broker", f"signal_parent({number}); hear(); say('drained'); {WAIT}")

    assert stage.run() == 0
    assert stage.phases == [Phase.DRAINING, Phase.STOPPING]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_without_waiting_for_the_drain(stage: Stage, number: int) -> None:
    stage.cast("broker", "broker", f"signal_parent(); hear(); signal_parent({number}); {WAIT}")
    stage.cast("audio-0", "audio", WAIT)

    assert stage.run() == 128 + number


def test_a_killed_worker_is_started_again_and_the_broker_is_told(stage: Stage) -> None:
    stage.fifo("pid")
    stage.cast("broker", "broker", f"hear(); pid_from('pid'); {SERVE}")
    stage.cast(
        "audio-0", "audio", f"os.kill(os.getpid(), 9) if number == 1 else tell('pid'); {WAIT}"
    )

    assert stage.run() == 0

    gone, drain = stage.heard
    assert gone == {"kind": "gone", "pid": gone["pid"], "role": "audio", "name": "audio-0"}
    assert drain == {"kind": "drain"}


def test_a_worker_that_the_broker_calls_hung_is_killed(stage: Stage) -> None:
    stage.fifo("first")
    stage.fifo("second")
    stage.cast(
        "broker",
        "broker",
        f"say('kill', pid=pid_from('first')); hear(); pid_from('second'); {SERVE}",
    )
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    play = f"{ignore} if number == 1 else None; tell('first' if number == 1 else 'second'); {WAIT}"
    stage.cast("inference-0", "inference", play)

    assert stage.run() == 0
    assert [said["kind"] for said in stage.heard] == ["gone", "drain"]


def test_a_pid_that_is_not_ours_is_not_killed(stage: Stage) -> None:
    stage.cast("broker", "broker", f"say('kill', pid=os.getppid()); {SERVE}")

    assert stage.run() == 0


def test_a_worker_that_never_gets_ready_is_killed(stage: Stage) -> None:
    stage.cast("broker", "broker", f"hear(); {SERVE}")
    stage.cast("audio-0", "audio", WAIT)

    assert stage.run(start_s=0.2) == 0
    assert stage.heard[0]["kind"] == "gone"


def test_five_deaths_without_progress_stop_the_farm(stage: Stage) -> None:
    stage.cast("broker", "broker", "while hear(): pass")
    play = "open(os.path.join(stage, 'starts'), 'a').write('x'); sys.exit(3)"
    stage.cast("compositor-0", "compositor", play)

    with pytest.raises(CrashLoop, match=r"compositor-0 died 5 times .*last: exit code 3"):
        stage.run(policy=replace(PROMPT, max_fruitless_deaths=5))

    assert (stage.directory / "starts").read_text() == "x" * 5


def test_deaths_after_progress_do_not_stop_the_farm(stage: Stage) -> None:
    stage.fifo("pid")
    play = (
        "for _ in range(5):\n"
        "    pid = pid_from('pid'); say('progress', pid=pid); say('kill', pid=pid); hear()\n"
    )
    stage.cast("broker", "broker", play + SERVE)
    stage.cast("audio-0", "audio", f"number <= 5 and tell('pid'); {WAIT}")

    assert stage.run(policy=replace(PROMPT, max_fruitless_deaths=2)) == 0
    assert [said["kind"] for said in stage.heard] == ["gone"] * 5 + ["drain"]


def test_a_broker_that_dies_is_started_again_and_the_workers_live_on(stage: Stage) -> None:
    stage.fifo("pid")
    play = "pid_from('pid'); say('ready'); os.kill(os.getpid(), 9)"
    stage.cast("broker", "broker", f"if number == 1: {play}\n{SERVE}")
    stage.cast("audio-0", "audio", f"tell('pid'); {WAIT}")  # a second one would wait for ever

    assert stage.run() == 0
    assert stage.phases == [Phase.SERVING, Phase.DRAINING, Phase.STOPPING]


def test_a_broker_that_never_takes_in_a_worker_is_given_up(stage: Stage) -> None:
    stage.cast("broker", "broker", "say('beat'); os.kill(os.getpid(), 9)")
    stage.cast("audio-0", "audio", WAIT)

    with pytest.raises(CrashLoop, match=r"broker died 5 times .*last: SIGKILL"):
        stage.run(policy=replace(PROMPT, max_fruitless_deaths=5))


def test_a_broker_that_took_in_a_worker_may_die_again_and_again(stage: Stage) -> None:
    die = "say('progress', pid=os.getpid()); os.kill(os.getpid(), 9)"
    stage.cast("broker", "broker", f"if number < 6: {die}\n{SERVE}")

    assert stage.run(policy=replace(PROMPT, max_fruitless_deaths=2)) == 0


def test_a_broker_that_falls_silent_is_killed(stage: Stage) -> None:
    stage.cast("broker", "broker", f"if number == 1: say('beat'); {WAIT}\n{SERVE}")

    assert stage.run(broker_silent_s=0.2) == 0


def test_a_broker_that_does_not_read_is_killed(stage: Stage) -> None:
    drain = "signal_parent()\nwhile hear()['kind'] != 'drain': pass\nsay('drained'); "
    stage.cast("broker", "broker", f"if number == 1: {WAIT}\n{drain}{WAIT}")
    stage.cast("audio-0", "audio", "sys.exit(1)")

    assert stage.run() == 0


def test_a_broker_that_is_started_in_a_drain_is_told_so(stage: Stage) -> None:
    stage.cast(
        "broker",
        "broker",
        "if number == 1: signal_parent(); hear(); os.kill(os.getpid(), 9)\n"
        f"hear(); say('drained'); {WAIT}",
    )

    assert stage.run() == 0
    assert stage.heard == [{"kind": "drain"}] * 2


def test_a_worker_that_a_new_broker_never_hears_is_killed(stage: Stage) -> None:
    stage.fifo("pid")
    play = "say('progress', pid=pid_from('pid')); os.kill(os.getpid(), 9)"
    stage.cast("broker", "broker", f"if number == 1: {play}\nhear(); {SERVE}")
    stage.cast("audio-0", "audio", f"number == 1 and tell('pid'); {WAIT}")

    assert stage.run(start_s=2.0) == 0
    assert stage.heard[0]["kind"] == "gone"


@pytest.mark.parametrize(
    "words", ["b'nonsense\\n'", "b'x' * 100_000", 'b\'{"kind":"drained"}\\n\'']
)
def test_a_broker_that_talks_nonsense_stops_the_farm(stage: Stage, words: str) -> None:
    stage.cast("broker", "broker", f"channel.write({words}); {WAIT}")

    with pytest.raises(BrokerLost, match="a bug"):
        stage.run()


def test_a_broker_that_hangs_up_and_stays_is_killed(stage: Stage) -> None:
    stage.cast("broker", "broker", f"if number == 1: channel.close(); {WAIT}\n{SERVE}")

    assert stage.run(stop_s=0.1) == 0


def test_a_drain_that_takes_too_long_is_cut(stage: Stage) -> None:
    stage.cast("broker", "broker", f"signal_parent(); hear(); {WAIT}")

    with pytest.raises(DrainTooLong, match=r"not finished 0\.1 s after the signal"):
        stage.run(drain_s=0.1)


def test_a_child_that_ignores_sigterm_is_killed(stage: Stage) -> None:
    stage.fifo("pid")
    stage.cast("broker", "broker", f"pid_from('pid'); {SERVE}")
    stage.cast(
        "audio-0",
        "audio",
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN); tell('pid'); {WAIT}",
    )

    assert stage.run(stop_s=0.1) == 0


def test_the_end_of_the_parent_stops_the_farm(stage: Stage) -> None:
    read_fd, write_fd = os.pipe()
    stage.cast("broker", "broker", f"say('ready'); {WAIT}")
    stage.cast("audio-0", "audio", WAIT)

    def parent_ends(phase: Phase) -> None:
        stage.phases.append(phase)
        if phase is Phase.SERVING:
            os.close(write_fd)

    orders = replace(stage.orders, parent_life_fd=read_fd, on_phase=parent_ends)
    exit_code = Supervisor(stage.specs, orders).run()
    os.close(read_fd)

    assert exit_code == 0
    assert stage.phases == [Phase.SERVING, Phase.STOPPING]


def test_each_incarnation_writes_a_ring_of_its_own_and_none_is_left(stage: Stage) -> None:
    stage.fifo("pid")
    stage.cast("broker", "broker", f"hear(); pid_from('pid'); {SERVE}")
    play = (
        "size = os.path.getsize('/dev/shm/' + ring)\n"
        "print(ring, size, file=open(os.path.join(stage, 'rings'), 'a'))\n"
        f"os._exit(1) if number == 1 else tell('pid'); {WAIT}"
    )
    stage.cast("inference-0", "inference", play, ring=RING)

    assert stage.run() == 0

    rings = [line.split() for line in (stage.directory / "rings").read_text().splitlines()]
    farm_id = stage.orders.farm_id
    assert rings == [[f"lipfarm-{farm_id}-inference-0-{n}", str(RING.total_bytes)] for n in (1, 2)]
    assert not [name for name in os.listdir(SHM_DIR) if farm_id in name]


def test_children_have_one_thread_a_pool_and_a_session_of_their_own(stage: Stage) -> None:
    stage.cast("broker", "broker", "hear(); " + SERVE)
    play = (
        "facts = [os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'],"
        " os.getsid(0) == os.getpid(), sys.stdin.read()]\n"
        "number == 1 and json.dump(facts, open(os.path.join(stage, 'facts'), 'w'))"
    )
    stage.cast("audio-0", "audio", play)
    stage.specs[1] = replace(stage.specs[1], environment={"MKL_NUM_THREADS": "4"})

    assert stage.run() == 0
    assert json.loads((stage.directory / "facts").read_text()) == ["1", "4", True, ""]


def test_a_program_that_cannot_be_started_leaves_nobody_behind(stage: Stage) -> None:
    stage.cast("broker", "broker", WAIT)
    stage.specs.append(ChildSpec(name="x", role="audio", command=lambda _: ["/nowhere"]))

    with pytest.raises(FileNotFoundError):
        stage.run()


SUPERVISED = """
import os, sys
from farm.daemon import caught_signals
from farm.restart import ChildSpec, Orders
from farm.supervisor import Supervisor
alive = sys.argv[1]
child = '''
import os, sys
os.write(os.open(sys.argv[2], os.O_WRONLY), b"u")
os.read(int(sys.argv[1]), 1)
'''
def command(given):
    return [sys.executable, "-I", "-S", "-c", child, str(given.life_fd), alive]
specs = [ChildSpec(name=n, role=n, command=command) for n in ("broker", "audio", "inference")]
with caught_signals() as fd:
    orders = Orders(
        farm_id="x", environment=os.environ, start_s=50, drain_s=50, signals_fd=fd
    )
    Supervisor(specs, orders).run()
"""


def test_children_end_by_themselves_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    # Reading and writing, so that neither end waits for the other; the writing end goes below.
    keeper_fd = os.open(alive, os.O_RDWR)
    read_fd = os.open(alive, os.O_RDONLY)

    with subprocess.Popen([sys.executable, "-c", SUPERVISED, alive]) as supervisor:
        is_up = [read_byte(read_fd) for _ in range(3)]
        os.close(keeper_fd)
        supervisor.kill()

    assert is_up == [b"u"] * 3
    assert read_to_end(read_fd) == b""  # the last child has ended
    os.close(read_fd)


@pytest.mark.parametrize("module", ["farm.supervisor", "farm.daemon"])
def test_the_supervisor_is_free_of_what_may_break(module: str) -> None:
    program = (
        f"import {module}, sys\n"
        "heavy = {'zmq', 'numpy', 'PIL', 'onnxruntime', 'av', 'onnx', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (imported.stdout, imported.stderr) == ("[]\n", "")


# farm.daemon: where it runs


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_second_farm_in_the_same_place_is_told_who_is_there(run_dir: Path) -> None:
    make_private(run_dir)
    lock = run_dir / "farm.lock"

    with held(lock):
        with (
            pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()} holds .*farm\.lock"),
            held(lock),
        ):
            pass
        assert lock.exists()

    assert not lock.exists()
    with held(lock):
        pass


def test_a_farm_that_finds_another_starts_nothing(run_dir: Path) -> None:
    make_private(run_dir)
    config = with_overrides(FarmConfig(), {"farm.run_dir": str(run_dir)}, source="options")

    with held(run_dir / "farm.lock"), pytest.raises(AlreadyRunning):
        run(config, Paths(data=run_dir, cache=run_dir))

    assert not list(run_dir.iterdir())


def test_a_farm_tells_systemd_and_its_caller_and_takes_its_files_away(
    stage: Stage, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_overrides(FarmConfig(), {"farm.run_dir": str(run_dir)}, source="options")
    play = (
        f"socket.socket(socket.AF_UNIX).bind('{run_dir}/client.sock')\n"
        "assert 'NOTIFY_SOCKET' not in os.environ\n"
    )
    stage.cast("broker", "broker", play + SERVE)
    monkeypatch.setattr("farm.daemon.child_specs", lambda *_, **__: stage.specs)
    ready: list[Endpoints] = []

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(stage.directory / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
        exit_code = run(config, Paths(data=run_dir, cache=run_dir), on_ready=ready.append)
        told = [systemd.recv(1024) for _ in range(3)]

    assert exit_code == 0
    assert told == [
        b"READY=1\nSTATUS=serving",
        b"STOPPING=1\nSTATUS=finishing running jobs",
        b"STOPPING=1\nSTATUS=stopping",
    ]
    assert ready == [endpoints(config, run_dir)]
    assert not list(run_dir.iterdir())


def test_a_lock_that_a_killed_farm_left_is_free(run_dir: Path) -> None:
    make_private(run_dir)
    lock = run_dir / "farm.lock"
    lock.write_text("123456789\n")

    with held(lock):
        assert lock.read_text() == f"{os.getpid()}\n"


def test_a_client_socket_elsewhere_has_a_lock_of_its_own(run_dir: Path) -> None:
    config = with_overrides(FarmConfig(), {"farm.endpoint": "ipc:///srv/lips"}, source="options")

    assert lock_files(run_dir, endpoints(FarmConfig(), run_dir)) == [run_dir / "farm.lock"]
    assert lock_files(run_dir, endpoints(config, run_dir)) == [
        run_dir / "farm.lock",
        Path("/srv/lips.lock"),
    ]


def test_the_run_directory_is_closed_to_others(run_dir: Path) -> None:
    run_dir.mkdir(mode=0o777)
    run_dir.chmod(0o777)

    make_private(run_dir)

    assert run_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/tmp")])
def test_a_run_directory_that_is_none_is_refused(
    run_dir: Path, make: Callable[[Path], None]
) -> None:
    make(run_dir)

    with pytest.raises(UnsafeDirectory, match="must be a directory of our own"):
        make_private(run_dir)


def test_sockets_are_removed_before_and_after_but_files_are_refused(tmp_path: Path) -> None:
    leftover, theirs = tmp_path / "leftover", tmp_path / "thesis"
    os.mknod(leftover, mode=0o600 | 0o140000)  # a socket's file that nobody listens at
    theirs.write_text("years of work")

    with no_sockets([leftover, tmp_path / "missing"]):
        assert not leftover.exists()
    with pytest.raises(BadConfig, match="a file is there, and no socket"), no_sockets([theirs]):
        pass

    assert theirs.read_text() == "years of work"


def test_the_run_directory_is_under_xdg_s_only_if_that_is_ours(tmp_path: Path) -> None:
    fallback = Path(f"/tmp/lipfarm-{os.geteuid()}")

    assert user_run_dir({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "lipfarm"
    assert user_run_dir({"XDG_RUNTIME_DIR": str(tmp_path / "missing")}) == fallback
    assert user_run_dir({}) == fallback


def test_a_state_directory_is_of_one_farm_only(tmp_path: Path, run_dir: Path) -> None:
    urls = endpoints(FarmConfig(), run_dir)
    state_dir = tmp_path / "state"

    first = lock_files(run_dir, urls, state_dir)
    second = lock_files(tmp_path / "run2", endpoints(FarmConfig(), tmp_path / "run2"), state_dir)

    assert set(first) & set(second) == {state_dir / "farm.lock"}
    assert lock_files(run_dir, urls, run_dir) == [run_dir / "farm.lock"], "not locked twice"
