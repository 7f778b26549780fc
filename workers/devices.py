"""Where models run, and how.  What a machine really has, ``workers.session`` knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("cpu", "cuda", "tensorrt")
PRECISIONS = ("fp32", "fp16")
_NAME = re.compile(r"(cuda|tensorrt)(?::([0-9]{1,3}))?|cpu")


@dataclass(frozen=True, slots=True)
class Device:
    """``cpu``, ``cuda:1``, or ``tensorrt:1``: the same GPU by way of TensorRT's engines."""

    kind: str
    index: int = 0  #: of the GPU, as CUDA counts

    @classmethod
    def named(cls, name: str) -> "Device":
        """Raises ValueError."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is no device: must be cpu, cuda:N or tensorrt:N")
        return cls(match[1] or "cpu", int(match[2] or 0))

    def __str__(self) -> str:
        return "cpu" if self.is_cpu else f"{self.kind}:{self.index}"

    @property
    def is_cpu(self) -> bool:
        return self.kind == "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a model is to be run."""

    device: Device | None = None  #: None: the best that is here, whichever that is
    threads: int = 0  #: of the CPU provider; 0: one a core
    is_spinning: bool = False  #: the CPU provider's threads wait awake for their next piece of work
    precision: str = "fp32"  #: of the U-Net; "fp16": half of it, and half as exact
    may_fall_back: bool = False  #: to the CPU, where the device cannot be used
    provider_options: Mapping[str, str] = field(default_factory=dict)  #: onnxruntime's, of GPUs


#: On the best that is here.
ANYWHERE = Execution()
#: Where encoders run: they are small, and their features the same on every machine.
ON_CPU = Execution(device=Device("cpu"))
#: For measurements, and what must be the same everywhere.
ONE_THREAD = Execution(device=Device("cpu"), threads=1)
