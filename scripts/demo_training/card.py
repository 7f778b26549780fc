"""The gate's figures in the model card."""

from collections.abc import Mapping
from pathlib import Path

from demo_training.figures import (
    COST_BOUNDS,
    OPENING_BOUNDS,
    SHORTFALLS,
    SPEECH_BOUNDS,
    Bound,
    bounds_of,
)

CARD = "MODEL_CARD.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

COLUMNS = {
    "held_sentence": "held-out sentences",
    "held_voice": "held-out voices",
    "recorded": "the same in noise",
}

Figures = Mapping[str, Mapping[str, float]]


def update_card(directory: Path, figures: Figures) -> None:
    """Put these figures between the card's two marks, if there is a card."""
    path = directory / CARD
    if path.exists():
        before, rest = path.read_text().split(BEGIN)
        _, after = rest.split(END)
        path.write_text(before + BEGIN + table(figures) + END + after)


def table(figures: Figures) -> str:
    """Markdown."""
    heads = ["figure", "bound", *COLUMNS.values()]
    rows = [heads, ["---"] * len(heads)]
    for name, bound in {"opening_r": None, **SPEECH_BOUNDS}.items():
        values = [f"{figures[split][name]:.3g}" for split in COLUMNS]
        rows.append([name, _opening() if bound is None else _said(bound), *values])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    cost = "; ".join(
        f"{name} {figures['cost'][name]:.3g} ({_said(bound)})"
        for name, bound in COST_BOUNDS.items()
    )
    short = [
        f"- {part}, {name}: {figures[part][name]:.3g}, must be {_said(bounds_of(part)[name])}:"
        f" {shortfall.why}"
        for (part, name), shortfall in SHORTFALLS.items()
    ]
    return "\n".join([*lines, "", f"Cost: {cost}.", "", "What falls short:", "", *short, ""])


def _said(bound: Bound) -> str:
    return f"{bound.sense} {bound.limit:g}"


def _opening() -> str:
    return " / ".join(map(_said, OPENING_BOUNDS.values()))
