"""A model pair: the audio encoder and the U-Net of one family, bound by tensor shape.

Names are never trusted: published models call the same tensor by a dozen names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.arrays import F32, U8
from workers.errors import ModelError
from workers.families import FAMILIES, Family
from workers.kernels.tensors import to_pixels, visual_tensor
from workers.session import Session, TensorSpec

FLOAT = "tensor(float)"


@dataclass(frozen=True, slots=True)
class UNetBinding:
    """Which of a U-Net's inputs is which, and the family its shapes say it belongs to."""

    family: Family
    image: TensorSpec
    audio: TensorSpec


def bind_unet(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> UNetBinding | None:
    """Find the family whose shapes these are, in either order of inputs; None if there is none."""
    for family in FAMILIES.values():
        for image, audio in (inputs, inputs[::-1]) if len(inputs) == 2 else ():
            wanted = [family.image_shape, family.audio_shape, family.output_shape]
            if _shapes([image, audio, *outputs]) == wanted:
                return UNetBinding(family, image, audio)
    return None


def bind_encoder(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Family | None:
    """The family whose audio encoder has these shapes; None if there is none."""
    for family in FAMILIES.values():
        if _shapes([*inputs, *outputs]) == [family.encoder_shape, (family.feature_size,)]:
            return family
    return None


def _shapes(tensors: Sequence[TensorSpec]) -> list[tuple[int | None, ...] | None]:
    """Shapes without the batch axis; None for what is not float32 with a batch axis in front."""
    return [t.per_item if t.dtype == FLOAT and len(t.shape) > 1 else None for t in tensors]


class Model:
    """Speech features and mouths: both halves of a model pair, loaded."""

    def __init__(self, encoder: Session, unet: Session, binding: UNetBinding) -> None:
        self.family = binding.family
        self.provider = unet.provider
        self._encoder = encoder
        self._unet = unet
        self._binding = binding

    @classmethod
    def load(cls, directory: Path) -> "Model":
        """Load the pair from a directory that holds exactly these two .onnx files, of any name.

        Raises ModelError, naming the file and what its tensors are.
        """
        paths = sorted(directory.glob("*.onnx"))
        if not paths:
            raise ModelError(f"{directory}: {_why_no_models(directory)}")
        encoders: list[tuple[Session, Family]] = []
        unets: list[tuple[Session, UNetBinding]] = []
        for session in map(Session, paths):
            binding = bind_unet(session.inputs, session.outputs)
            family = bind_encoder(session.inputs, session.outputs)
            if binding is not None:
                unets.append((session, binding))
            elif family is not None:
                encoders.append((session, family))
            else:
                raise ModelError(_fits_no_family(session))
        if len(unets) != 1 or len(encoders) != 1:
            raise ModelError(
                f"{directory}: holds {len(unets)} U-Nets and {len(encoders)} audio encoders,"
                " must be one of each"
            )
        (unet, binding), (encoder, family) = unets[0], encoders[0]
        if family is not binding.family:
            raise ModelError(
                f"{encoder.path}: is of family {family.name},"
                f" {unet.path.name} of {binding.family.name}"
            )
        return cls(encoder, unet, binding)

    def encode(self, windows: F32) -> F32:
        """Encoder windows, float32 (n, 1, 80, 16), to features, float32 (n, 512)."""
        spec = self._encoder.inputs[0]
        return _in_batches(self._encoder, {spec.name: windows}, spec.shape[0])

    def predict(self, inner_crops: U8, audio: F32) -> U8:
        """The mouths for a batch of frames.

        ``inner_crops`` : uint8 (n, S, S, 3), RGB.  ``audio`` : float32 (n, 32, 16, 16).
        Returns uint8 (n, S, S, 3), RGB.  Raises NotFinite.
        """
        bound = self._binding
        inputs = {
            bound.image.name: visual_tensor(inner_crops, self.family.blackout),
            bound.audio.name: audio,
        }
        return to_pixels(_in_batches(self._unet, inputs, bound.image.shape[0]))


def _in_batches(session: Session, inputs: dict[str, F32], batch: int | None) -> F32:
    """Run items through a model whose batch axis may be frozen at ``batch``.

    A frozen one gets slices of that size, the last padded with zeros and trimmed after it.
    """
    if batch is None:
        return session.run(inputs)
    n = len(next(iter(inputs.values())))
    outputs = []
    for begin in range(0, n, batch):
        slices = {name: tensor[begin : begin + batch] for name, tensor in inputs.items()}
        outputs.append(session.run({name: _padded(t, batch) for name, t in slices.items()}))
    return np.concatenate(outputs)[:n]


def _padded(tensor: F32, n: int) -> F32:
    return np.concatenate([tensor, np.zeros((n - len(tensor), *tensor.shape[1:]), np.float32)])


def _why_no_models(directory: Path) -> str:
    if not directory.exists():
        return "no such directory"
    return "holds no .onnx file" if directory.is_dir() else "is not a directory"


def _fits_no_family(session: Session) -> str:
    tensors = ", ".join(map(str, session.inputs)) + " -> " + ", ".join(map(str, session.outputs))
    return f"{session.path}: fits no known family ({', '.join(FAMILIES)}): {tensors}"
