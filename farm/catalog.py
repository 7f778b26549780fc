"""The avatars a farm offers: by id, never by path."""

from pathlib import Path

from farm.avatars import DRAWN
from farm.errors import UnknownAvatar
from farm.paths import Paths
from workers.avatar import MANIFEST, Bundle, Manifest, is_avatar_id
from workers.errors import BundleError


class Catalog:
    """Looks avatars up afresh each time: one that is built while the farm runs is found."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def find(self, avatar_id: str) -> tuple[Path, Manifest]:
        """A bundle's directory and manifest.  Raises UnknownAvatar and BundleError."""
        for directory in self._candidates(avatar_id):
            try:
                if (directory / MANIFEST).exists():
                    return directory, Bundle(directory).manifest
            except OSError as error:
                raise BundleError(f"avatar {avatar_id} cannot be read") from error
            except BundleError as error:
                # Where the farm keeps its files is not the clients' business.
                reason = str(error).replace(f"{directory}/", "").replace(str(directory), avatar_id)
                raise BundleError(reason) from error
        raise UnknownAvatar(f"{avatar_id[:64]!r}: the farm has no avatar of that id")

    def _candidates(self, avatar_id: str) -> list[Path]:
        if not is_avatar_id(avatar_id):
            return []
        built = self._paths.avatars / avatar_id
        return [built, self._paths.drawn_avatar(avatar_id)] if avatar_id in DRAWN else [built]
