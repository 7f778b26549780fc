"""Where things are in a picture: boxes, their edges, and the template walk.

Pure arithmetic on integers.  This file knows nothing of pixels.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rect:
    """A half-open pixel rectangle: columns ``x0..x1-1``, rows ``y0..y1-1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def is_empty(self) -> bool:
        return self.x1 <= self.x0 or self.y1 <= self.y0

    def clipped_to(self, width: int, height: int) -> "Rect":
        """The part inside a ``width`` x ``height`` frame (may be empty)."""
        return Rect(max(self.x0, 0), max(self.y0, 0), min(self.x1, width), min(self.y1, height))

    def clipped_within(self, other: "Rect") -> "Rect":
        """The part inside another rectangle (may be empty)."""
        return Rect(
            max(self.x0, other.x0),
            max(self.y0, other.y0),
            min(self.x1, other.x1),
            min(self.y1, other.y1),
        )

    def moved(self, dx: int, dy: int) -> "Rect":
        return Rect(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)


@dataclass(frozen=True, slots=True)
class Box:
    """The square of a template frame that a crop came from and goes back to.

    ``x``, ``y`` is the top left pixel and may lie outside the frame; ``side`` is in pixels.
    """

    x: int
    y: int
    side: int

    @property
    def rect(self) -> Rect:
        return Rect(self.x, self.y, self.x + self.side, self.y + self.side)


def template_index(frame_index: int, n_templates: int) -> int:
    """The template frame that output frame ``frame_index`` is painted on.

    A ping-pong walk that does not repeat its ends: for 4 templates 0 1 2 3 2 1 0 1 ...
    """
    last = n_templates - 1
    if last == 0:
        return 0
    step = frame_index % (2 * last)
    return step if step <= last else 2 * last - step
