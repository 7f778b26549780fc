"""What models cost: memory as it is measured, not as it was estimated."""

import ctypes
from collections.abc import Callable
from contextlib import suppress

from workers.cuda import device_memory
from workers.devices import Device


def in_use(device: Device) -> Callable[[], int]:
    """What to measure for a device: bytes of the GPU, or of this process's own memory.

    Files that it maps and shared memory are not its own.
    """
    index = device.index
    if device.is_cpu or device_memory(index) is None:
        return private_bytes
    return lambda: (device_memory(index) or (0, 0))[0]


def private_bytes() -> int:
    """Of this process, in memory; see proc_pid_status(5)."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def give_back() -> None:
    """Return freed memory to the system: glibc would keep it for the next model."""
    with suppress(AttributeError):  # another C library returns it by itself
        ctypes.CDLL(None).malloc_trim(0)


class MemoryAccount:
    """How much each model takes: what was more in use after it was loaded, and after it ran.

    One number is measured, so what two models do at the same time goes to one of them.
    """

    def __init__(self, measure: Callable[[], int]) -> None:
        self._measure = measure
        self._last = measure()
        self._bytes: dict[str, int] = {}

    def begin(self) -> None:
        """What is in use now is nobody's growth."""
        self._last = self._measure()

    def charge(self, model: str) -> int:
        """All growth since the last call is this model's; gives what it takes in all."""
        now = self._measure()
        self._bytes[model] = max(0, self._bytes.get(model, 0) + now - self._last)
        self._last = now
        return self._bytes[model]

    def put(self, model: str, n_bytes: int) -> None:
        """It was loaded, and took so much."""
        self._bytes[model] = max(0, n_bytes)
        self.begin()

    def drop(self, model: str) -> None:
        """It was unloaded."""
        self._bytes.pop(model, None)
        self.begin()

    def of(self, model: str) -> int:
        return self._bytes.get(model, 0)
