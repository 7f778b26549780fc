"""One loaded ONNX model.  The one file that knows onnxruntime."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from workers.arrays import F32
from workers.errors import ModelError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

_FATAL_ONLY = 4  # onnxruntime's own log severity: its errors reach us as exceptions
_CUDA_DEVICE_FILE = Path("/dev/nvidiactl")


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


def usable_providers() -> list[str]:
    """The providers worth trying here, best first.

    A build with CUDA offers CUDA on every machine, so the driver's device file decides.
    """
    has_gpu = CUDA in providers_built_in() and _CUDA_DEVICE_FILE.exists()
    return [CUDA, CPU] if has_gpu else [CPU]


class Session:
    """A model on a device, ready to run.

    Raises ModelError when the file is not a model that onnxruntime can load.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._session = ort.InferenceSession(
                os.fspath(path), _session_options(), providers=usable_providers()
            )
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            raise ModelError(f"{path}: onnxruntime cannot load it ({_reason(error)})") from error
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.outputs = tuple(map(_spec, self._session.get_outputs()))

    @property
    def provider(self) -> str:
        """Where the model really runs: onnxruntime falls back to the CPU without a word."""
        return str(self._session.get_providers()[0])

    def run(self, inputs: Mapping[str, F32]) -> F32:
        """The model's first output for named inputs."""
        output: F32 = self._session.run([self.outputs[0].name], dict(inputs))[0]
        return output


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    # Spinning threads eat the cores that the rest of the pipeline needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _spec(value: ort.NodeArg) -> TensorSpec:
    sizes = tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in value.shape)
    return TensorSpec(value.name, value.type, sizes)


def _reason(error: Exception) -> str:
    """The first line of onnxruntime's message, without its error code."""
    first_line, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first_line.split(" : ")[-1]
