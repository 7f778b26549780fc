"""One loaded ONNX model.  The one file that knows onnxruntime."""

import io
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

# Before the import: on Linux it otherwise keeps a device id and a database in the user's home and
# sends events.  The two names are those of its releases up to 1.31 and after.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_TELEMETRY_DISABLED", "1")

import onnxruntime as ort

from workers.arrays import F32, Array
from workers.devices import ANYWHERE, Device, Execution
from workers.errors import DeviceLost, DeviceUnusable, ModelError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}

#: onnxruntime's log severities; its errors reach us as exceptions
FATAL_ONLY, WARNING = 4, 2
_CUDA_DEVICE_FILE = Path("/dev/nvidiactl")
_CUDA_TROUBLE = re.compile(r"\bcu(da|dnn|blas)\w*\b.{0,40}\b(failure|error)\b", re.IGNORECASE)
_CUDA_FULL = re.compile(r"failed to allocate memory|out of memory", re.IGNORECASE)

# What goes wrong reaches us as exceptions; a library that is missing is noticed by its provider.
ort.set_default_logger_severity(FATAL_ONLY)


#: The shapes are few and warmed, but a search over all kernels takes seconds for each of them.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output.  Axes without a fixed size are None."""

    name: str
    dtype: str  #: onnxruntime's spelling: "tensor(float)"
    shape: tuple[int | None, ...]

    @property
    def per_item(self) -> tuple[int | None, ...]:
        """The shape without the batch axis."""
        return self.shape[1:]

    def __str__(self) -> str:
        axes = "x".join("n" if size is None else str(size) for size in self.shape)
        return f"{self.name} {axes} {self.dtype}"


def providers_built_in() -> list[str]:
    """What the installed onnxruntime was built with; says nothing of what this machine has."""
    return list(ort.get_available_providers())


def best_device() -> Device:
    """What to use when nobody says.

    A build with CUDA offers CUDA on every machine, so the driver's device file decides.
    """
    has_gpu = CUDA in providers_built_in() and _CUDA_DEVICE_FILE.exists()
    return Device("cuda" if has_gpu else "cpu")


@cache
def load_gpu_libraries() -> None:
    """CUDA's, from where pip has put them: nobody else looks there.  Says nothing of success."""
    # It prints what it does not find; the provider that then lacks it is named by our own error.
    with redirect_stdout(io.StringIO()), suppress(OSError):
        ort.preload_dlls()


def look_at(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """A model file's inputs and outputs.  Raises ModelError when onnxruntime cannot load it."""
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    # Nothing is run: what takes time is making a graph quicker.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _specs(path, _loaded(path, os.fspath(path), options, [(CPU, {})]))


class Session:
    """A model on a device, ready to run.

    Raises ModelError when the file is not a model that onnxruntime can load.
    """

    def __init__(
        self, path: Path, execution: Execution = ANYWHERE, content: bytes | None = None
    ) -> None:
        """``content`` : what to load instead of what is in the file, which then only names it.

        Raises DeviceUnusable.
        """
        self.path = path
        model = os.fspath(path) if content is None else content
        device = execution.device or best_device()
        if not device.is_cpu:
            load_gpu_libraries()
        providers = _providers(device, execution.provider_options)
        self._session = _loaded(path, model, _session_options(execution), providers)
        self.inputs, self.outputs = _specs(path, self._session)
        if self.provider != PROVIDERS[device.kind] and not execution.may_fall_back:
            raise DeviceUnusable(
                f"{device} cannot be used: onnxruntime took {self.provider} instead (is its GPU"
                " build installed, with CUDA's libraries?); inference.allow_cpu_fallback is off"
            )

    @property
    def provider(self) -> str:
        """Where the model really runs: onnxruntime falls back to the CPU without a word."""
        return str(self._session.get_providers()[0])

    def run(self, inputs: Mapping[str, Array]) -> F32:
        """The model's first output for named inputs.  Raises ModelError when it does not run."""
        try:
            output: F32 = self._session.run([self.outputs[0].name], dict(inputs))[0]
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            raise _failure(error) from error
        return output

    def run_into(self, inputs: Mapping[str, Array], outs: Mapping[str, Array]) -> None:
        """Named outputs, written straight into ``outs``: C-contiguous, of the outputs' shapes.

        Raises ModelError.
        """
        try:
            binding = self._session.io_binding()
            for name, tensor in inputs.items():
                binding.bind_cpu_input(name, np.ascontiguousarray(tensor))
            for name, out in outs.items():
                binding.bind_output(name, "cpu", 0, out.dtype, list(out.shape), out.ctypes.data)
            self._session.run_with_iobinding(binding)
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            raise _failure(error) from error


def _providers(device: Device, options: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The device's own first, and those that take what it cannot run."""
    index = {"device_id": str(device.index)}
    cuda = (CUDA, {**CUDA_OPTIONS, **index, **(options if device.kind == "cuda" else {})})
    cpu: tuple[str, dict[str, str]] = (CPU, {})
    match device.kind:
        case "cpu":
            return [cpu]
        case "cuda":
            return [cuda, cpu]
    return [(TENSORRT, {**index, **options}), cuda, cpu]


def _failure(error: Exception) -> ModelError | DeviceLost:
    """A model that cannot run, or a GPU that will run nothing more in this process."""
    said = reason(error)
    if _CUDA_TROUBLE.search(str(error)) and not _CUDA_FULL.search(str(error)):
        return DeviceLost(f"the GPU failed: {said}")
    return ModelError(said)


def _loaded(
    path: Path,
    model: str | bytes,
    options: ort.SessionOptions,
    providers: list[tuple[str, dict[str, str]]],
) -> ort.InferenceSession:
    # Where there is no other provider to try, trying again only prints to standard output.
    enable_fallback = len(providers) > 1
    try:
        return ort.InferenceSession(
            model, options, providers=providers, enable_fallback=enable_fallback
        )
    # onnxruntime's exceptions share no base class of their own.
    except Exception as error:
        raise ModelError(f"{path}: onnxruntime cannot load it ({reason(error)})") from error


def _specs(
    path: Path, session: ort.InferenceSession
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    try:
        return tuple(map(_spec, inputs)), tuple(map(_spec, outputs))
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: the name of a tensor is not UTF-8") from error


def _session_options(execution: Execution) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.log_severity_level = FATAL_ONLY
    # Spinning threads eat the cores that the rest of the pipeline needs.
    spins = str(int(execution.is_spinning))
    options.add_session_config_entry("session.intra_op.allow_spinning", spins)
    options.add_session_config_entry("session.inter_op.allow_spinning", spins)
    return options


def _spec(value: ort.NodeArg) -> TensorSpec:
    sizes = tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in value.shape)
    return TensorSpec(value.name, value.type, sizes)


def reason(error: Exception) -> str:
    """The first line of onnxruntime's message, without its error code."""
    first_line, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first_line.split(" : ")[-1]
