"""How many GPUs a farm on this machine can use, found out without any of their libraries."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

DRIVER_LIST = Path("/proc/driver/nvidia/gpus")  #: a directory for each


def n_usable_gpus(environment: Mapping[str, str], driver_list: Path = DRIVER_LIST) -> int:
    """Those of NVIDIA's driver that CUDA_VISIBLE_DEVICES leaves, if onnxruntime is built for them.

    0 where nothing can be found out: a device can still be named.
    """
    try:
        distribution("onnxruntime-gpu")
        n_gpus = sum(1 for _ in driver_list.iterdir())
    except (PackageNotFoundError, OSError):
        return 0
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return n_gpus
    # CUDA's own rule: what follows the first that is none is not seen either.
    named = [word.strip() for word in visible.split(",")]
    valid = next((k for k, word in enumerate(named) if word in ("", "-1")), len(named))
    return min(n_gpus, valid)
