"""What decides and speaks to the world: the command line, the broker, the client.

    from farm import Client, JobSpec

The names are looked up when they are used: the supervisor imports this package and stays small.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.client import Client, JobSpec

__all__ = ["Client", "JobSpec"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("farm.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
