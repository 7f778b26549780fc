"""What a farm's models have done since its broker began."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.histogram import Histogram


@dataclass(slots=True)
class _Counts:
    n_requests: int = 0
    n_batches: int = 0
    n_frames: int = 0
    n_loads: int = 0
    load_ms: float = 0.0
    busy_ms: float = 0.0
    idle_ms: float = 0.0
    batch_ms: Histogram = field(default_factory=Histogram)
    provider: str = ""


class ModelStats:
    """Counts by model; an id that nobody asked about costs nothing."""

    def __init__(self) -> None:
        self._of_model: dict[str, _Counts] = {}

    def _of(self, model: str) -> _Counts:
        return self._of_model.setdefault(model, _Counts())

    def count_request(self, model: str) -> None:
        """A job was accepted."""
        self._of(model).n_requests += 1

    def count_load(self, model: str, load_ms: float, provider: str) -> None:
        counts = self._of(model)
        counts.n_loads += 1
        counts.load_ms, counts.provider = load_ms, provider

    def count_batch(self, model: str, n_frames: int, busy_ms: float, idle_ms: float = 0.0) -> None:
        """``idle_ms`` : of the device, before a batch that was there already."""
        counts = self._of(model)
        counts.busy_ms += busy_ms
        counts.idle_ms += idle_ms
        counts.n_batches += 1
        counts.n_frames += n_frames
        counts.batch_ms.add(busy_ms)

    def summary(self, model: str) -> Mapping[str, float | int | str]:
        """The fields of `protocol.ModelReport` that are counted here."""
        counts = self._of_model.get(model, _Counts())
        batch_ms = counts.batch_ms
        return {
            "requests": counts.n_requests,
            "batches": counts.n_batches,
            "frames": counts.n_frames,
            "loads": counts.n_loads,
            "load_ms": counts.load_ms,
            "provider": counts.provider,
            "busy_s": counts.busy_ms / 1e3,
            "idle_s": counts.idle_ms / 1e3,
            "frame_ms": batch_ms.mean_ms * batch_ms.n / (counts.n_frames or 1),
            "batch_ms": batch_ms.mean_ms,
            **{f"batch_p{p}_ms": batch_ms.percentile_ms(p) for p in (50, 90, 99)},
        }
