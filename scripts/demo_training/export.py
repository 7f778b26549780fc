"""From trained networks to the two ONNX files of a model directory."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demo_training.networks import AudioEncoder
from demo_training.painter import Painter
from workers.devices import ONE_THREAD
from workers.session import Session

OPSET = 18
MAX_BATCH = 4096
TOLERANCE = 1e-4


def export(encoder: AudioEncoder, painter: Painter, directory: Path) -> float:
    """Write both files; gives how far onnxruntime is from torch.

    Raises ArithmeticError when that is more than ``TOLERANCE``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    mel = rng.uniform(-4, 4, (5, 1, 80, 16))
    visual, audio = rng.uniform(0, 1, (5, 6, 320, 320)), rng.uniform(0, 1, (5, 32, 16, 16))
    away = max(
        _write(directory / "audio_encoder.onnx", encoder, {"mel": mel}, "features"),
        _write(directory / "unet.onnx", painter, {"input": visual, "audio": audio}, "output"),
    )
    if away > TOLERANCE:
        raise ArithmeticError(f"onnxruntime is {away:.1e} from torch, must be within {TOLERANCE}")
    return away


def _write(path: Path, network: nn.Module, inputs: dict[str, np.ndarray], output: str) -> float:
    network = network.eval().to(memory_format=torch.contiguous_format)
    arrays = {name: value.astype(np.float32) for name, value in inputs.items()}
    tensors = tuple(torch.from_numpy(value) for value in arrays.values())
    batch = torch.export.Dim("n", min=1, max=MAX_BATCH)
    torch.onnx.export(
        network,
        tensors,
        path,
        input_names=list(arrays),
        output_names=[output],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=tuple({0: batch} for _ in tensors),
        external_data=False,
        verbose=False,
    )
    with torch.no_grad():
        expected: Tensor = network(*tensors)
    return float(np.abs(Session(path, ONE_THREAD).run(arrays) - expected.numpy()).max())
