"""Clients that nobody wants, for tests and for measure_hostile.py.

usage: hostile_clients.py KIND URL [--avatar ID] [--seed N]

KIND    slow       takes one frame a second
        silent     opens jobs and never speaks
        vanishing  hangs up in the middle of a job, again and again
        flooding   sends what is no message, as fast as it can, and reads nothing
        greedy     sends far more speech than it was granted, again and again
        fuzzing    sends spoiled messages of every kind, as fast as it can, and reads the answers

Goes on until it is killed.
"""

import argparse
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/fuzz has the spoiled messages

from tests.fuzz.messages import spoiled, valid_messages

RATE_HZ = 16_000
CHUNK = (np.sin(np.arange(RATE_HZ) / 7) / 4).astype("<f4").tobytes()  #: a second of a tone
WAIT_MS = 2_000  #: for an answer; then the client goes on without it


class Line:
    """A plain ZeroMQ line, without manners."""

    def __init__(self, url: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(url)

    def say(self, kind: str, *payloads: bytes, **fields: object) -> None:
        self.send(msgpack.packb({"v": 1, "kind": kind, **fields}), *payloads)

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    def hear(self, wait_ms: int = WAIT_MS) -> dict[str, object] | None:
        if not self._socket.poll(wait_ms):
            return None
        header, *payloads = self._socket.recv_multipart()
        return {**msgpack.unpackb(header), "n_payloads": len(payloads)}

    def hear_until(self, kind: str) -> None:
        """Until such a message comes, or nothing more does."""
        while (said := self.hear()) is not None and said["kind"] != kind:
            pass

    def open(self, job_id: str, avatar: str, credit: int) -> None:
        self.say("open", job_id=job_id, avatar=avatar, credit=credit)
        self.hear_until("audio_credit")

    def close(self) -> None:
        self._socket.close()
        self._context.term()


def slow(url: str, avatar: str, rng: random.Random) -> None:
    line = Line(url)
    for job_id in job_ids("slow", rng):
        line.open(job_id, avatar, credit=1)
        for seq in range(20):
            line.say("audio", CHUNK, job_id=job_id, seq=seq)
        line.say("end", job_id=job_id)
        said: dict[str, object] | None = None
        while said is None or said["kind"] not in ("done", "failed", "error"):
            said = line.hear(1_000)
            if said is None:
                line.say("credit", job_id=job_id, frames=1)


def silent(url: str, avatar: str, rng: random.Random) -> None:
    line = Line(url)
    for job_id in itertools.islice(job_ids("silent", rng), 16):
        line.open(job_id, avatar, credit=64)
    while True:
        line.hear(60_000)


def vanishing(url: str, avatar: str, rng: random.Random) -> None:
    for job_id in job_ids("vanishing", rng):
        line = Line(url)
        line.open(job_id, avatar, credit=256)
        for seq in range(4):
            line.say("audio", CHUNK, job_id=job_id, seq=seq)
        line.hear_until(rng.choice(["frames", "frames", "audio_credit"]))
        line.close()


def flooding(url: str, _avatar: str, rng: random.Random) -> None:
    line = Line(url)
    while True:
        line.send(rng.randbytes(rng.choice([0, 1, 30, 500, 60_000])))


def greedy(url: str, avatar: str, rng: random.Random) -> None:
    line = Line(url)
    for job_id in job_ids("greedy", rng):
        line.open(job_id, avatar, credit=0)
        for seq in range(40):  # 30 s are granted
            line.say("audio", CHUNK, job_id=job_id, seq=seq)
        line.hear_until("failed")


def fuzzing(url: str, _avatar: str, rng: random.Random) -> None:
    line = Line(url)
    corpus = [m for direction, _, m in valid_messages(rng, 8) if direction == "client to broker"]
    for k in itertools.count():
        message = spoiled(rng.choice(corpus), rng.choice(corpus), rng)
        payloads = [rng.randbytes(rng.choice([0, 3, 400])) for _ in range(rng.choice([0, 0, 1, 3]))]
        line.send(message, *payloads)
        while line.hear(0 if k % 64 else 1) is not None:
            pass


def job_ids(kind: str, rng: random.Random) -> Iterator[str]:
    own = rng.randrange(10**9)
    return (f"{kind} {own} {k}" for k in itertools.count())


KINDS: dict[str, Callable[[str, str, random.Random], None]] = {
    "slow": slow,
    "silent": silent,
    "vanishing": vanishing,
    "flooding": flooding,
    "greedy": greedy,
    "fuzzing": fuzzing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("url")
    parser.add_argument("--avatar", default="demo")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    KINDS[arguments.kind](arguments.url, arguments.avatar, random.Random(arguments.seed))


if __name__ == "__main__":
    main()
