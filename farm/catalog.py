"""The avatars a farm offers: by id, never by path."""

from pathlib import Path

from farm.avatars import DRAWN, current_drawing
from farm.errors import UnknownAvatar
from farm.paths import Paths
from workers.avatar import MANIFEST, Bundle
from workers.errors import BundleError
from workers.ids import is_plain_id

MAX_OPEN = 64  #: an open bundle costs four descriptors, and the disk space of one replaced since


class Catalog:
    """Looks avatars up afresh each time: one that is built while the farm runs is found.

    A bundle whose manifest is the same file as before is not opened again: jobs share it.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._open: dict[Path, tuple[object, Bundle]] = {}  #: the one used last behind

    def find(self, avatar_id: str) -> Bundle:
        """An avatar's bundle.  Raises UnknownAvatar and BundleError."""
        if not is_plain_id(avatar_id):
            raise UnknownAvatar(f"{avatar_id[:64]!r}: is no id of an avatar")
        directory = self._paths.avatars / avatar_id
        try:
            if (directory / MANIFEST).exists():
                return self._opened(directory)
        except OSError as error:
            raise BundleError(f"avatar {avatar_id} cannot be read") from error
        except BundleError as error:
            # Where the farm keeps its files is not the clients' business.
            reason = str(error).replace(f"{directory}/", "").replace(str(directory), avatar_id)
            raise BundleError(reason) from error
        return self._drawn(avatar_id)

    def _opened(self, directory: Path) -> Bundle:
        stat = (directory / MANIFEST).stat()
        version = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known, bundle = self._open.pop(directory, (None, None))
        if bundle is None or known != version:
            bundle = Bundle(directory)
        self._open[directory] = (version, bundle)
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]
        return bundle

    def _drawn(self, avatar_id: str) -> Bundle:
        """A built-in avatar, if somebody on this machine has had it drawn."""
        if avatar_id not in DRAWN:
            raise UnknownAvatar(f"{avatar_id!r}: the farm has no avatar of that id")
        bundle = current_drawing(self._paths.drawn_avatar(avatar_id), self._opened)
        if bundle is None:
            raise UnknownAvatar(
                f"{avatar_id!r}: is not drawn yet; farm avatar info {avatar_id}, run where the farm"
                " runs, draws it"
            )
        return bundle
