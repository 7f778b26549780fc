"""Devices by name, and what becomes of one that is not there."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from farm.paths import TINY_MODEL
from workers import cuda, memory, session
from workers.devices import Device, Execution
from workers.errors import DeviceLost, DeviceUnusable, ModelError
from workers.pair import ModelPair
from workers.session import CPU, Session
from workers.unet import load_unet


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("cpu", Device("cpu")),
        ("cuda", Device("cuda", 0)),
        ("cuda:3", Device("cuda", 3)),
        ("tensorrt:12", Device("tensorrt", 12)),
    ],
)
def test_a_device_has_a_name(name: str, device: Device) -> None:
    assert Device.named(name) == device
    assert Device.named(str(device)) == device


@pytest.mark.parametrize(
    "name", ["", "gpu", "cpu:1", "cuda:", "cuda:-1", "cuda:1x", "CUDA:0", " cpu"]
)
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be cpu, cuda:N or tensorrt:N"):
        Device.named(name)


UNET = TINY_MODEL / "unet.onnx"


def test_falling_back_to_the_cpu_is_an_error() -> None:
    with pytest.raises(DeviceUnusable, match="cuda:7 cannot be used: onnxruntime took CPU"):
        Session(UNET, Execution(device=Device("cuda", 7)))


def test_a_model_is_not_served_plainly_for_want_of_a_device() -> None:
    with pytest.raises(DeviceUnusable):
        load_unet(ModelPair.find(TINY_MODEL), Execution(device=Device("tensorrt")))


def test_falling_back_to_the_cpu_can_be_allowed() -> None:
    execution = Execution(device=Device("cuda"), may_fall_back=True)

    assert Session(UNET, execution).provider == CPU


def test_providers_are_asked_for_in_their_order_with_their_options() -> None:
    options = {"gpu_mem_limit": "1000"}

    (cuda_name, cuda_options), (cpu_name, _) = session._providers(Device("cuda", 2), options)
    assert (cuda_name, cpu_name) == (session.CUDA, CPU)
    assert cuda_options == {**session.CUDA_OPTIONS, "device_id": "2", "gpu_mem_limit": "1000"}

    names = [name for name, _ in session._providers(Device("tensorrt", 1), {})]
    assert names == [session.TENSORRT, session.CUDA, CPU]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", DeviceLost),
        ("CUBLAS failure 14: CUBLAS_STATUS_INTERNAL_ERROR", DeviceLost),
        ("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED", DeviceLost),
        ("Failed to allocate memory for requested buffer of size 9; CUDA error", ModelError),
        ("CUDA failure 2: out of memory ; GPU=0", ModelError),
        ("Non-zero status code while running Conv node", ModelError),
    ],
)
def test_a_broken_gpu_is_told_from_a_broken_model(message: str, kind: type) -> None:
    assert type(session._failure(RuntimeError(message))) is kind


class Runtime:
    """libcudart as far as it is called."""

    def __init__(self, result: int = 0) -> None:
        self.result = result
        self.calls: list[str] = []

    def cudaSetDevice(self, index: int) -> int:  # noqa: N802
        self.calls.append(f"device {index}")
        return self.result

    def cudaMemGetInfo(self, free: object, total: object) -> int:  # noqa: N802
        free._obj.value, total._obj.value = 30, 100  # type: ignore[attr-defined]
        return self.result

    def cudaHostRegister(self, _address: object, size: object, flags: object) -> int:  # noqa: N802
        self.calls.append(f"pin {size.value} {flags.value}")  # type: ignore[attr-defined]
        return self.result

    def cudaGetLastError(self) -> int:  # noqa: N802
        self.calls.append("clear")
        return self.result


def test_a_gpus_memory_is_what_anybody_uses_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_runtime", Runtime)

    assert cuda.device_memory(1) == (70, 100)
    assert memory.in_use(Device("cuda", 1))() == 70


def test_a_ring_is_pinned_or_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = memoryview(bytearray(4096))
    fine, full = Runtime(), Runtime(2)

    monkeypatch.setattr(cuda, "_runtime", lambda: fine)
    assert cuda.pin(ring)
    monkeypatch.setattr(cuda, "_runtime", lambda: full)
    assert not cuda.pin(ring)
    monkeypatch.setattr(cuda, "_runtime", lambda: None)
    assert not cuda.pin(ring)

    assert fine.calls == ["pin 4096 0"]
    assert full.calls == ["pin 4096 0", "clear"], "the next call of anybody would report the error"


def test_without_cuda_this_processs_own_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_runtime", lambda: None)
    measure = memory.in_use(Device("cuda"))
    before = measure()

    held = np.ones(256 << 20, np.uint8)  # far more than anything else here comes and goes with

    loaded = measure()
    assert loaded - before > 200 << 20
    del held
    memory.give_back()
    assert loaded - measure() > 200 << 20


def test_mapped_files_are_nobodys_own(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (256 << 20))
    before = memory.private_bytes()
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:: mmap.PAGESIZE].count(b"x") > 0

        assert memory.private_bytes() - before < 128 << 20
