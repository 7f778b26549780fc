"""What the steps of a compositor's frames took, told once a second at most.

What was not told when a compositor dies is lost, a second's worth: nothing is decided by it.
"""

from collections.abc import Callable, Mapping

from workers.histogram import StepHistograms
from workers.protocol import Times

TELL_EVERY_S = 1.0


class StepTimes:
    """Counts frames since it told last."""

    def __init__(self, send: Callable[[Times], None], log: Callable[[str], None]) -> None:
        """``send`` : to the broker.  ``log`` : takes the same for people, in one line."""
        self._send, self._log = send, log
        self._steps = StepHistograms()
        self._tell_at: float | None = None  #: None: nothing was counted since

    def count(self, frame: Mapping[str, float], now: float) -> None:
        """Seconds that one frame spent in each step."""
        for step, seconds in frame.items():
            self._steps.add(step, 1e3 * seconds)
        if self._tell_at is None and self._steps:
            self._tell_at = now + TELL_EVERY_S

    def tell(self, now: float) -> None:
        """If there is something, and it is time."""
        if self._tell_at is None or now < self._tell_at:
            return
        self._send(Times(steps=self._steps.to_lists()))
        self._log(_line(self._steps.summary()))
        self.forget()

    def forget(self) -> None:
        """The broker that it was counted for is dead: the next one counts from its own start."""
        self._steps.clear()
        self._tell_at = None


def _line(summary: Mapping[str, Mapping[str, float]]) -> str:
    """``frames=92 convert=0.21/0.25 ...``: mean and 90th percentile of each step in ms."""
    n_frames = max(step["frames"] for step in summary.values())
    steps = (f"{name}={s['mean_ms']:.2f}/{s['p90_ms']:.2f}" for name, s in summary.items())
    return " ".join([f"frames={n_frames:.0f}", *steps])
