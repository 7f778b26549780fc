"""What is worth a look in the boxes of an avatar before it is seen on the screen."""

from collections.abc import Sequence

from farm.avatar_sources import Source
from workers.geometry import Box

#: Of a box's side, off the middle between its neighbours: above, the face detector trembles, and
#: the mouth with it.  On 523 frames of a real moving head, whose boxes go up to 6.9 % from one
#: frame to the next, it is 2.0 % at most (the seed's avatar "sanders", SyncTalk_2D's landmarks).
MAX_OFF_MIDDLE = 0.03


def notes(source: Source) -> tuple[str, ...]:
    """Sentences for the user; none when all is as it should be."""
    found = (_outside(source), _shaking(source))
    return (*source.notes, *(note for note in found if note))


def _outside(source: Source) -> str | None:
    size = (source.width_px, source.height_px)
    outside = [i for i, box in enumerate(source.boxes) if box.rect != box.rect.clipped_to(*size)]
    if not outside:
        return None
    return (
        f"{len(outside)} of {source.n_templates} boxes leave the frame, first at"
        f" {source.frames[outside[0]].name}: the edge's pixels are repeated there"
    )


def _shaking(source: Source) -> str | None:
    off = off_middle(source.boxes)
    too_far = [share for share in off if share > MAX_OFF_MIDDLE]
    if not too_far:
        return None
    worst = source.frames[off.index(max(off)) + 1]
    return (
        f"{len(too_far)} boxes jump by up to {max(off):.0%} of their side, most at {worst.name}:"
        " the mouth may shake there"
    )


def off_middle(boxes: Sequence[Box]) -> list[float]:
    """How far each box but the first and last is off the middle between its neighbours.

    In shares of its side; the farthest of its left edge, its top and its side.
    """
    return [
        max(
            abs(2 * box.x - before.x - after.x),
            abs(2 * box.y - before.y - after.y),
            abs(2 * box.side - before.side - after.side),
        )
        / (2 * box.side)
        for before, box, after in zip(boxes, boxes[1:], boxes[2:], strict=False)
    ]
