"""The speech of one job on its way to the farm: what is sent next, and what may be sent again.

What was sent is kept until the farm has it on disk.  A farm without a journal never says so: then
the speech is kept whole as long as it is short, so that a new broker can be told all of it.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from workers.arrays import F32

KEPT_SAMPLES = 1 << 24  #: 64 MB, 17 minutes; a farm with a journal grants 30 s ahead of the disk


class SpeechGone(Exception):
    """The farm asks for samples that are kept no longer."""


class Outgoing:
    """Pieces of samples, cut as they are granted."""

    def __init__(self, pieces: Iterator[F32]) -> None:
        self._pieces = pieces
        self._unsent: deque[F32] = deque()
        self._kept: deque[F32] = deque()  #: sent; they end where ``n_sent`` is
        self._n_kept = 0
        self._n_to_skip = 0  #: the farm has them already
        self.n_sent = 0  #: samples

    @property
    def is_whole(self) -> bool:
        """Whether everything that was sent can be sent again."""
        return self._n_kept == self.n_sent

    def take(self, most: int) -> F32 | None:
        """The next samples to send, at most so many; None when there are no more."""
        if not self._unsent and not self._fetch():
            return None
        piece = self._unsent.popleft()
        chunk, rest = piece[:most], piece[most:]
        if len(rest):
            self._unsent.appendleft(rest)
        self._keep(chunk)
        return chunk

    def _fetch(self) -> bool:
        """Get a piece that has something to send; False at the speech's end."""
        for piece in self._pieces:
            n_skipped = min(len(piece), self._n_to_skip)
            self._n_to_skip -= n_skipped
            if n_skipped < len(piece):
                self._unsent.append(piece[n_skipped:])
                return True
        return False

    def _keep(self, chunk: F32) -> None:
        self.n_sent += len(chunk)
        self._n_kept += len(chunk)
        self._kept.append(np.array(chunk))  # a view would keep all of a long array alive
        while self._n_kept > KEPT_SAMPLES:
            self._n_kept -= len(self._kept.popleft())

    def forget_before(self, sample: int) -> None:
        """The farm has these for good."""
        while self._kept and self.n_sent - self._n_kept + len(self._kept[0]) <= sample:
            self._n_kept -= len(self._kept.popleft())

    def go_to(self, sample: int) -> None:
        """Send from there on next: again, or leaving out what the farm has.

        Raises SpeechGone, and changes nothing.
        """
        if sample < self.n_sent - self._n_kept:
            raise SpeechGone
        if sample > self.n_sent:
            self._skip(sample - self.n_sent)
        while self.n_sent > sample:
            chunk = self._kept.pop()
            again = chunk[-(self.n_sent - sample) :]
            if len(again) < len(chunk):
                self._kept.append(chunk[: -len(again)])
            self._unsent.appendleft(again)
            self.n_sent -= len(again)
            self._n_kept -= len(again)

    def _skip(self, n: int) -> None:
        self._kept.clear()
        self._n_kept = 0
        self.n_sent += n
        while n and self._unsent:
            piece = self._unsent.popleft()
            if len(piece) > n:
                self._unsent.appendleft(piece[n:])
            n -= min(n, len(piece))
        self._n_to_skip += n

    def close(self) -> None:
        """Let go of the source."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
