"""A model pair: which file of a directory is the audio encoder, and which the U-Net.

Names are never trusted: published models call the same tensor by a dozen names, so each is bound
by tensor shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.errors import ModelError
from workers.families import FAMILIES, Family
from workers.session import TensorSpec, look_at

FLOAT = "tensor(float)"


@dataclass(frozen=True, slots=True)
class UNetBinding:
    """Which of a U-Net's inputs is which, and the family its shapes say it belongs to."""

    family: Family
    image: TensorSpec
    audio: TensorSpec


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Both halves of a model, found and bound, not loaded yet."""

    encoder: Path
    window: TensorSpec  #: its input
    unet: Path
    binding: UNetBinding

    @property
    def family(self) -> Family:
        return self.binding.family

    @classmethod
    def find(cls, directory: Path) -> "ModelPair":
        """The pair in a directory that holds exactly these two .onnx files, of any name.

        Raises ModelError, naming the file and what its tensors are.
        """
        paths = sorted(directory.glob("*.onnx"))
        if not paths:
            raise ModelError(f"{directory}: {_why_no_models(directory)}")
        unets: list[tuple[Path, UNetBinding]] = []
        others: list[tuple[Path, Tensors]] = []
        for path in paths:
            tensors: Tensors = look_at(path)
            binding = bind_unet(*tensors)
            if binding is None:
                others.append((path, tensors))
            else:
                unets.append((path, binding))
        families = [binding.family for _, binding in unets] or list(FAMILIES.values())
        for path, tensors in others:
            if not any(is_encoder_of(family, *tensors) for family in families):
                raise ModelError(_fits_no_family(path, *tensors))
        if len(unets) != 1 or len(others) != 1:
            raise ModelError(
                f"{directory}: holds {len(unets)} U-Nets and {len(others)} audio encoders,"
                " must be one of each"
            )
        (encoder, ((window,), _)) = others[0]
        return cls(encoder, window, *unets[0])


Tensors = tuple[Sequence[TensorSpec], Sequence[TensorSpec]]
"""Inputs and outputs."""


def bind_unet(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> UNetBinding | None:
    """Find the family whose shapes these are, in either order of inputs; None if there is none."""
    for family in FAMILIES.values():
        for image, audio in (inputs, inputs[::-1]) if len(inputs) == 2 else ():
            wanted = [family.image_shape, family.audio_shape, family.output_shape]
            if _shapes([image, audio, *outputs]) == wanted:
                return UNetBinding(family, image, audio)
    return None


def is_encoder_of(
    family: Family, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> bool:
    """Families may share an encoder's shapes, so it is the U-Net that names the family."""
    return _shapes([*inputs, *outputs]) == [family.encoder_shape, (family.feature_size,)]


def _shapes(tensors: Sequence[TensorSpec]) -> list[tuple[int | None, ...] | None]:
    """Shapes without the batch axis; None for what is not float32 with a batch axis in front."""
    return [t.per_item if t.dtype == FLOAT and len(t.shape) > 1 else None for t in tensors]


def _why_no_models(directory: Path) -> str:
    if not directory.exists():
        return "no such directory"
    return "holds no .onnx file" if directory.is_dir() else "is not a directory"


def _fits_no_family(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str:
    tensors = ", ".join(map(str, inputs)) + " -> " + ", ".join(map(str, outputs))
    return f"{path}: fits no known family ({', '.join(FAMILIES)}): {tensors}"
