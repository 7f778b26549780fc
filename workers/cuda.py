"""The little that is asked of CUDA's runtime directly.  The one file that knows libcudart.

All of it is a gain where it works and nothing is lost where it does not: onnxruntime brings the
library, and without one every function says so.
"""

import ctypes
from functools import cache
from typing import Any

_NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
_SUCCESS = 0


@cache
def _runtime() -> Any:
    for name in _NAMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def device_memory(index: int) -> tuple[int, int] | None:
    """Bytes of a GPU that are in use, by anybody, and that it has; None: it cannot be asked."""
    runtime = _runtime()
    if runtime is None or runtime.cudaSetDevice(index) != _SUCCESS:
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) != _SUCCESS:
        return None
    return total.value - free.value, total.value


def pin(memory: memoryview) -> bool:
    """Let the GPU write there without a copy by way of the driver's own buffer; False: it cannot.

    ``memory`` : writable; it must stay mapped for the life of the process.
    """
    runtime = _runtime()
    if runtime is None:
        return False
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pinned = runtime.cudaHostRegister(
        ctypes.c_void_p(address), ctypes.c_size_t(memory.nbytes), ctypes.c_uint(0)
    )
    if pinned != _SUCCESS:
        runtime.cudaGetLastError()  # else the next call of anybody would report it
    return bool(pinned == _SUCCESS)
