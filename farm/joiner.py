"""The client's half of encoding ``patch``: changes and templates to whole JPEGs.

The farm's half is `farm.job_store`; what both of them count is `farm.shelf`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from farm.protocol import Accepted
from farm.shelf import Shelf, to_bits
from workers.geometry import template_index
from workers.kernels.jpeg import JpegSettings, NotSpliceable
from workers.kernels.splice import SpliceGrid, TemplateJpeg, join
from workers.wire import WireError

JOB_BYTES = 128 << 20  #: of templates for one job: some 500 frames of 1080p
CACHE_BYTES = 256 << 20  #: of templates of jobs that are over


@dataclass(slots=True)
class Shelved:
    """The templates of one bundle."""

    digest: str = ""
    templates: dict[int, TemplateJpeg] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        return sum(template.body.nbytes for template in self.templates.values())


class TemplateCache:
    """What a client's jobs have left: the next job with the avatar begins with it."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._of: dict[str, Shelved] = {}  #: by avatar id, the one that was used last behind

    def get(self, avatar: str) -> Shelved:
        return self._of.get(avatar, Shelved())

    def put(self, avatar: str, shelved: Shelved) -> None:
        """Keep it, and let go of what was used longest ago where it is too much."""
        self._of.pop(avatar, None)
        self._of[avatar] = shelved
        sizes = {name: kept.n_bytes for name, kept in self._of.items()}
        for name in list(self._of):
            if sum(sizes.values()) > self._max_bytes:
                del self._of[name], sizes[name]


class Joiner:
    """One job's templates, and its account with the farm."""

    def __init__(
        self,
        shelved: Shelved,
        *,
        keep: Callable[[Shelved], None] = lambda _: None,
        job_bytes: int = JOB_BYTES,
    ) -> None:
        """``shelved`` : of a job before; ``keep`` is told what is here at last."""
        self._shelved = shelved
        self._keep = keep
        self._job_bytes = job_bytes
        self._announced = Shelved()
        self._room_bytes = 0
        self._shelf = Shelf()
        self._grid: SpliceGrid | None = None
        self._n_templates = 1

    def announce(self) -> dict[str, Any]:
        """The fields of ``open`` and ``resume`` that say what is here, and what else may come."""
        self._announced = Shelved(self._shelved.digest, dict(self._shelved.templates))
        self._room_bytes = max(0, self._job_bytes - self._shelved.n_bytes)
        return {
            "encoding": "patch",
            "template_digest": self._announced.digest,
            "known_templates": to_bits(self._announced.templates),
            "template_bytes": self._room_bytes,
        }

    def begin(self, accepted: Accepted) -> None:
        """The farm has heard what was announced last, and counts from there."""
        self._grid = None
        if accepted.encoding != "patch":
            return
        settings = JpegSettings(accepted.quality, accepted.chroma, accepted.interval)
        self._grid = SpliceGrid(accepted.width_px, accepted.height_px, settings)
        self._n_templates = accepted.n_templates
        is_same = accepted.digest == self._announced.digest
        known = self._announced.templates if is_same else {}
        self._shelved = Shelved(accepted.digest, dict(known))
        # As the farm reads it: those that did not fit into the bits are not known.
        self._shelf = Shelf(to_bits(known), self._room_bytes)

    def jpeg(self, frame: int, payload: bytes, *, is_change: bool) -> bytes:
        """The whole JPEG of a frame.  Raises WireError for what does not fit together.

        Every payload must pass here, in the order they came, wanted or not: the farm counts them.
        """
        if self._grid is None:
            if is_change:
                raise WireError("BAD_MESSAGE", f"frame {frame} is a change, and none was asked for")
            return payload
        index = template_index(frame, self._n_templates)
        try:
            if not is_change:
                self._put(self._grid, index, payload)
                return payload
            return join(self._shelved.templates[index], payload)
        except (NotSpliceable, KeyError) as error:
            raise WireError("BAD_MESSAGE", f"frame {frame} cannot be joined ({error})") from error

    def close(self) -> None:
        """The job is over: what came with it may serve the next one."""
        if self._grid is not None:
            self._keep(self._shelved)

    def _put(self, grid: SpliceGrid, index: int, jpeg: bytes) -> None:
        if self._shelf.put(index, len(jpeg)):
            self._shelved.templates[index] = TemplateJpeg.parse(jpeg, grid)
