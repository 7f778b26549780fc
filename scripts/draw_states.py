"""Draw the tables of states into farm/STATES.md.  Run it when one has changed; a test says so."""

import re
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from farm.jobs import FRAME_MOVES, JOB_MOVES
from farm.places import PLACE_MOVES
from farm.restart import PHASES
from shm.ledger import TRANSITIONS

STATES = Path(__file__).parents[1] / "farm" / "STATES.md"

TABLES: Mapping[str, Mapping[tuple[Enum, str], Enum]] = {
    "job": JOB_MOVES,
    "frame": FRAME_MOVES,
    "place": PLACE_MOVES,
    "slot": TRANSITIONS,
    "farm": PHASES,
}


def drawing(table: Mapping[tuple[Enum, str], Enum]) -> str:
    """A table of moves as a Mermaid diagram.

    It begins where the table does, and ends in states that cannot be left.
    """
    first = next(iter(table))[0]
    events: dict[tuple[str, str], list[str]] = {}
    for (state, event), target in table.items():
        events.setdefault((_name(state), _name(target)), []).append(event)
    left = {_name(state) for (state, _), target in table.items() if target is not state}
    ends = [name for name in dict.fromkeys(map(_name, table.values())) if name not in left]
    lines = [f"[*] --> {_name(first)}"]
    lines += [f"{begin} --> {end}: {', '.join(names)}" for (begin, end), names in events.items()]
    lines += [f"{name} --> [*]" for name in ends]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def _name(state: Enum) -> str:
    return state.name.lower()


def redrawn(text: str) -> str:
    """The document with every drawing as its table is now."""
    for name, table in TABLES.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        new = drawing(table) + "\n"
        text, n = between.subn(lambda found, new=new: found[1] + new + found[2], text)
        if n != 1:
            raise ValueError(f"{STATES.name} has {n} places for the drawing of a {name}")
    return text


def main() -> None:
    before = STATES.read_text()
    after = redrawn(before)
    STATES.write_text(after)
    sys.stdout.write(f"{STATES}: {'drawn anew' if after != before else 'was current'}\n")


if __name__ == "__main__":
    main()
