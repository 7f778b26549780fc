"""The avatar bundles a worker has open, each opened once."""

from pathlib import Path

from workers.avatar import Bundle
from workers.errors import BundleError

MAX_OPEN = 64  #: an open bundle costs four descriptors, and the disk space of one that was replaced


class OpenBundles:
    """Bundles by directory and digest; the one that was opened first goes first."""

    def __init__(self) -> None:
        self._bundles: dict[tuple[str, str], Bundle] = {}

    def get(self, directory: str, digest: str) -> Bundle:
        """The bundle a job began with.  Raises BundleError, also when it was replaced since."""
        bundle = self._bundles.get((directory, digest))
        if bundle is None:
            bundle = Bundle(Path(directory))
            if bundle.manifest.digest != digest:
                raise BundleError(f"{directory}: was replaced while it was in use; try again")
            if len(self._bundles) == MAX_OPEN:
                del self._bundles[next(iter(self._bundles))]
            self._bundles[directory, digest] = bundle
        return bundle
