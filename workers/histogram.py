"""How long things took, in memory that does not grow: counts in buckets, each 19 % wide.

Pure: who measures, and who is told, is not its business.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from workers.errors import WorkerError

LEAST_MS = 0.001  #: all below is one bucket: nobody asks about less than a microsecond
N_DOUBLINGS = 24  #: up to 16.8 s; all above is one bucket
BUCKETS_A_DOUBLING = 4  #: 2 ** (1 / 4): a percentile is off by 19 % at most

#: In ms.  Bucket k is from the edge before, or 0, up to and without edge k; the last has no end.
EDGES_MS = tuple(
    LEAST_MS * 2.0 ** (k / BUCKETS_A_DOUBLING) for k in range(N_DOUBLINGS * BUCKETS_A_DOUBLING + 1)
)
N_BUCKETS = len(EDGES_MS) + 1

SHOWN_PERCENTILES = (50, 90, 99)


class BadCounts(WorkerError):
    """Numbers that are no histogram: the two ends are of different versions."""


class Histogram:
    """Durations of one kind of thing."""

    def __init__(self) -> None:
        self._counts = [0] * N_BUCKETS
        self._total_ns = 0

    def add(self, ms: float) -> None:
        """``ms`` : finite, at least 0."""
        self._counts[bisect_right(EDGES_MS, ms)] += 1
        self._total_ns += round(1e6 * ms)

    def merge(self, other: "Histogram") -> None:
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self._total_ns += other._total_ns

    @property
    def n(self) -> int:
        """How many were added."""
        return sum(self._counts)

    @property
    def mean_ms(self) -> float:
        """Exact; 0 when nothing was added."""
        return self._total_ns / 1e6 / (self.n or 1)

    def percentile_ms(self, percent: float) -> float:
        """So many per cent, 0..100, took at most this; 0 when nothing was added.

        It lies in the bucket of the sample that it stands for, placed as if the bucket's samples
        were evenly spread.  What the last bucket holds took longer than this says.
        """
        rank, before = self.n * (percent / 100), 0
        for k, count in enumerate(self._counts):
            if count and before + count >= rank:
                low_ms, high_ms = bucket_ms(k)
                return low_ms + (high_ms - low_ms) * max(0.0, rank - before) / count
            before += count
        return 0.0

    def to_list(self) -> list[int]:
        """For the wire: the total in ns, then the count of each bucket."""
        return [self._total_ns, *self._counts]

    @classmethod
    def of(cls, numbers: Sequence[int]) -> "Histogram":
        """What ``to_list`` gave.  Raises BadCounts."""
        if len(numbers) != 1 + N_BUCKETS or min(numbers) < 0:
            raise BadCounts(f"a histogram is {1 + N_BUCKETS} counts, none below 0")
        histogram = cls()
        histogram._total_ns, *histogram._counts = numbers
        return histogram


def bucket_ms(k: int) -> tuple[float, float]:
    """Where bucket ``k`` begins and ends; the last one is taken for a point."""
    return (EDGES_MS[k - 1] if k else 0.0), EDGES_MS[min(k, len(EDGES_MS) - 1)]


class StepHistograms:
    """A histogram for each step of the work, in order of first use."""

    def __init__(self) -> None:
        self._of_step: dict[str, Histogram] = {}

    def __bool__(self) -> bool:
        return bool(self._of_step)

    def add(self, step: str, ms: float) -> None:
        if step not in self._of_step:
            self._of_step[step] = Histogram()
        self._of_step[step].add(ms)

    def merge(self, told: Mapping[str, Sequence[int]]) -> None:
        """What another's ``to_lists`` gave.  Raises BadCounts, and then nothing was added."""
        others = {step: Histogram.of(numbers) for step, numbers in told.items()}
        for step, other in others.items():
            self._of_step.setdefault(step, Histogram()).merge(other)

    def to_lists(self) -> dict[str, list[int]]:
        return {step: histogram.to_list() for step, histogram in self._of_step.items()}

    def summary(self) -> dict[str, dict[str, float]]:
        """For each step, what people ask: frames, mean_ms, p50_ms, p90_ms, p99_ms."""
        return {
            step: {
                "frames": histogram.n,
                "mean_ms": histogram.mean_ms,
                **{f"p{p}_ms": histogram.percentile_ms(p) for p in SHOWN_PERCENTILES},
            }
            for step, histogram in self._of_step.items()
        }

    def clear(self) -> None:
        self._of_step.clear()
