"""The avatar bundles a worker has open, each opened once."""

from pathlib import Path

from workers.avatar import Bundle


class OpenBundles:
    """Bundles by directory.  An open one stays: it costs address space, not memory."""

    def __init__(self) -> None:
        self._bundles: dict[str, Bundle] = {}

    def get(self, directory: str) -> Bundle:
        """Raises BundleError."""
        bundle = self._bundles.get(directory)
        if bundle is None:
            bundle = self._bundles[directory] = Bundle(Path(directory))
        return bundle
