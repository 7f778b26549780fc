"""The decoder under atheris, guided by coverage.

    pip install atheris          # not among the test extras: it has no wheels for every Python
    python -m tests.fuzz.fuzz_wire --write-corpus
    python -m tests.fuzz.fuzz_wire -max_len=70000 -max_total_time=600 tests/fuzz/corpus

The first byte chooses the direction and the leniency, the rest is a header.  Anything but a message
or a WireError is a finding.
"""

import random
import sys
from contextlib import suppress
from pathlib import Path

from tests.fuzz.messages import DIRECTIONS, valid_messages
from workers import wire

CORPUS = Path(__file__).with_name("corpus")  #: one message of every kind, as atheris wants them


def test_one_input(data: bytes) -> None:
    """What atheris calls; raises whatever it should find."""
    choice = data[0] if data else 0
    version, known = list(DIRECTIONS.values())[choice % len(DIRECTIONS)]
    with suppress(wire.WireError):
        wire.decode(data[1:], known, version, is_lenient=choice >= 128)


def write_corpus() -> None:
    CORPUS.mkdir(exist_ok=True)
    for direction, kind, header in valid_messages(random.Random(0), n_each=1):
        choice = bytes([list(DIRECTIONS).index(direction)])
        (CORPUS / f"{direction.replace(' ', '_')}.{kind}").write_bytes(choice + header)


def main() -> None:
    if sys.argv[1:] == ["--write-corpus"]:
        write_corpus()
        return
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
