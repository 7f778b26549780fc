import re
from enum import Enum

import pytest
from draw_states import STATES, TABLES, drawing, redrawn


def test_the_drawings_are_current() -> None:
    text = STATES.read_text()

    assert redrawn(text) == text, "run scripts/draw_states.py"


@pytest.mark.parametrize("name", TABLES)
def test_every_move_is_drawn(name: str) -> None:
    table = TABLES[name]

    drawn = {
        (begin, event, end)
        for begin, end, events in re.findall(r"(\w+) --> (\w+): (.*)", drawing(table))
        for event in events.split(", ")
    }

    assert drawn == {(a.name.lower(), event, b.name.lower()) for (a, event), b in table.items()}


def test_states_that_cannot_be_left_are_ends() -> None:
    class Light(Enum):
        ON = 1
        OFF = 2

    table = {(Light.ON, "break"): Light.OFF, (Light.OFF, "look"): Light.OFF}

    assert drawing(table).splitlines()[2:-1] == [
        "    [*] --> on",
        "    on --> off: break",
        "    off --> off: look",
        "    off --> [*]",
    ]
