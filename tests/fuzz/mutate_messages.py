"""A million spoiled messages at the decoder: typed errors, flat memory, nothing else.

usage: python -m tests.fuzz.mutate_messages [--messages N] [--seed S]

Prints time and memory; exit code 1 when anything but a message or a WireError came out.
"""

import argparse
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.messages import DIRECTIONS, spoiled, valid_messages
from workers import wire

WARM_MESSAGES = 2_000  #: caches fill and the allocator takes its first arenas


@dataclass(slots=True)
class Tally:
    """What came out, by error code or kind of message."""

    outcomes: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    grown_kib: int = 0  #: peak resident memory, against what it was when warm


def mutate(n_messages: int, seed: int) -> Tally:
    """Spoil messages and decode them where they were meant to go."""
    rng = random.Random(seed)
    corpus = list(valid_messages(rng))
    tally = Tally()
    begin = time.perf_counter()
    for k in range(n_messages):
        if k == min(WARM_MESSAGES, n_messages - 1):
            warm_kib = peak_kib()
        (direction, _, message), (_, _, other) = rng.choice(corpus), rng.choice(corpus)
        decode(direction, spoiled(message, other, rng), is_lenient=k % 2 == 0, tally=tally)
    tally.elapsed_s = time.perf_counter() - begin
    tally.grown_kib = peak_kib() - warm_kib
    return tally


def decode(direction: str, message: bytes, *, is_lenient: bool, tally: Tally) -> None:
    version, known = DIRECTIONS[direction]
    try:
        decoded = wire.decode(message, known, version, is_lenient=is_lenient)
    except wire.WireError as error:
        tally.outcomes[error.code] += 1
    except Exception as error:  # noqa: BLE001  this is what is looked for
        tally.surprises.append(f"{type(error).__name__}: {error}: {message[:80].hex()}")
    else:
        tally.outcomes["a message"] += isinstance(decoded, tuple(known.values()))


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20_261_124)
    arguments = parser.parse_args()
    tally = mutate(arguments.messages, arguments.seed)
    for outcome, n in tally.outcomes.most_common():
        print(f"{outcome:<14}{n:>12,}")
    print(f"{'surprises':<14}{len(tally.surprises):>12,}")
    rate = arguments.messages / tally.elapsed_s
    print(f"{tally.elapsed_s:.1f} s, {rate:,.0f} a second; peak memory grew {tally.grown_kib} KiB")
    for surprise in tally.surprises[:10]:
        print(surprise, file=sys.stderr)
    return 1 if tally.surprises else 0


if __name__ == "__main__":
    sys.exit(main())
