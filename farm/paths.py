"""Where lipfarm keeps things.  The environment is read here, once, and nowhere else."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one user."""

    data: Path  #: avatar bundles the user built, models of the user's own: worth a backup
    cache: Path  #: what can be made again: the drawn avatars' bundles, models' graphs
    state: Path | None = None  #: what a farm has promised; None: it promises nothing

    @property
    def avatars(self) -> Path:
        return self.data / "avatars"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def graphs(self) -> Path:
        return self.cache / "graphs"

    def drawn_avatar(self, avatar_id: str) -> Path:
        return self.cache / "avatars" / avatar_id


def user_paths() -> Paths:
    """From LIPFARM_DATA and LIPFARM_CACHE, else where the XDG base directories say."""
    home = Path.home()
    data = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    cache = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    state = os.environ.get("XDG_STATE_HOME") or home / ".local" / "state"
    return Paths(
        data=Path(os.environ.get("LIPFARM_DATA") or Path(data, "lipfarm")),
        cache=Path(os.environ.get("LIPFARM_CACHE") or Path(cache, "lipfarm")),
        state=Path(state, "lipfarm"),
    )


ASSETS = Path(str(files("farm") / "assets"))
DEMO_MODEL = ASSETS / "models" / "demo"
"""Really follows speech; what every command uses unless told otherwise."""
TINY_MODEL = ASSETS / "models" / "tiny"
"""A quick stand-in, for tests and for timings of everything but inference."""
NULL_MODEL = ASSETS / "models" / "null"
"""No network at all, to measure the farm itself: see `workers.null_model`."""
DEMO_SPEECH = ASSETS / "speech" / "welcome.wav"
