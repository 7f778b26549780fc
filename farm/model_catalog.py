"""The models a farm offers: by id, never by path.

A model is a directory with two .onnx files.  The user's own lie in the data directory; a model that
is put there while a farm runs is found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from farm.errors import UnknownModel
from farm.paths import DEMO_MODEL, NULL_MODEL, TINY_MODEL, Paths
from workers.ids import NULL_MARKER, is_plain_id

BUNDLED: Mapping[str, Path] = {"demo": DEMO_MODEL, "tiny": TINY_MODEL, "null": NULL_MODEL}
CONFIGURED = "default"  #: the id of what ``model.directory`` names; without it, the demo model


@dataclass(frozen=True, slots=True)
class FoundModel:
    model: str  #: id
    directory: Path
    file_bytes: int  #: of all its files


class ModelCatalog:
    """Looks models up afresh each time."""

    def __init__(self, paths: Paths, configured: str = "") -> None:
        """``configured`` : ``model.directory`` of the configuration; empty: the demo model."""
        self._paths = paths
        self._configured = Path(configured).absolute() if configured else None

    @property
    def default(self) -> str:
        """The id of the model for avatars that name none."""
        return "demo" if self._configured is None else CONFIGURED

    def find(self, model: str) -> FoundModel:
        """Raises UnknownModel; an empty id is the default model's."""
        name = self.default if model in ("", CONFIGURED) else model
        directory = self._directory(name)
        if directory is None:
            raise UnknownModel(f"{model[:64]!r}: the farm has no model of that id")
        try:
            files = [path for path in directory.iterdir() if path.is_file()]
            file_bytes = sum(path.stat().st_size for path in files)
        except OSError as error:
            raise UnknownModel(f"{model[:64]!r}: its directory cannot be read") from error
        if not any(path.suffix == ".onnx" or path.name == NULL_MARKER for path in files):
            raise UnknownModel(f"{model[:64]!r}: its directory has no .onnx file")
        return FoundModel(name, directory, file_bytes)

    def ids(self) -> list[str]:
        """The default first, then all others; those that only serve measuring are left out."""
        own = {path.parent.name for path in self._paths.models.glob("*/*.onnx")}
        return list(dict.fromkeys([self.default, "demo", *sorted(filter(is_plain_id, own))]))

    def _directory(self, model: str) -> Path | None:
        if model == CONFIGURED and self._configured is not None:
            return self._configured
        if model in BUNDLED:
            return BUNDLED[model]
        own = self._paths.models / model
        return own if is_plain_id(model) and own.is_dir() else None
