"""How long a worker may be silent over a task before it is taken for hung.

Many times what the slowest took, once one is known: a machine that swaps is not dead.
"""

MANY_TIMES = 20.0


class Patience:
    """Learns from finished tasks.  Each is of some items: frames, slots, or the one span."""

    def __init__(self, first_s: float, first_item_s: float = 0.0) -> None:
        """The first task may take ``first_s``, and ``first_item_s`` more for each item."""
        self._first_s = first_s
        self._first_item_s = first_item_s
        self._slowest_item_s: float | None = None

    def allowed_s(self, n_items: int = 1) -> float:
        if self._slowest_item_s is None:
            return self._first_s + self._first_item_s * n_items
        return MANY_TIMES * self._slowest_item_s * n_items

    def took(self, busy_s: float, n_items: int = 1) -> None:
        self._slowest_item_s = max(self._slowest_item_s or 0.0, busy_s / n_items)
