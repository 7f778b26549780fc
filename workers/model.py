"""A model pair: the audio encoder and the U-Net of one family, bound by tensor shape.

Names are never trusted: published models call the same tensor by a dozen names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.arrays import F32, U8
from workers.errors import ModelError, NotFinite
from workers.families import FAMILIES, Family
from workers.kernels.tensors import to_pixels, visual_tensor
from workers.session import Session, TensorSpec

FLOAT = "tensor(float)"
BATCH_TOLERANCE = 1e-3  #: a GPU may pick other kernels for other batch sizes


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


def is_encoder_of(
    family: Family, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> bool:
    """Families may share an encoder's shapes, so it is the U-Net that names the family."""
    return _shapes([*inputs, *outputs]) == [family.encoder_shape, (family.feature_size,)]


def _shapes(tensors: Sequence[TensorSpec]) -> list[tuple[int | None, ...] | None]:
    """Shapes without the batch axis; None for what is not float32 with a batch axis in front."""
    return [t.per_item if t.dtype == FLOAT and len(t.shape) > 1 else None for t in tensors]


class Model:
    """Speech features and mouths: both halves of a model pair, loaded."""

    def __init__(self, encoder: Session, unet: Session, binding: UNetBinding) -> None:
        """Raises ModelError when a half does not run, or not in batches as its shapes promise."""
        self.family = family = binding.family
        self.provider = unet.provider
        self._encoder = encoder
        self._unet = unet
        self._binding = binding
        self._encoder_batch = _batch(encoder, {encoder.inputs[0].name: family.encoder_shape})
        shapes = {binding.image.name: family.image_shape, binding.audio.name: family.audio_shape}
        self._unet_batch = _batch(unet, shapes)

    @classmethod
    def load(cls, directory: Path, threads: int = 0) -> "Model":
        """Load the pair from a directory that holds exactly these two .onnx files, of any name.

        ``threads`` : of the CPU provider, 0 for one a core.
        Raises ModelError, naming the file and what its tensors are.
        """
        paths = sorted(directory.glob("*.onnx"))
        if not paths:
            raise ModelError(f"{directory}: {_why_no_models(directory)}")
        sessions = [Session(path, threads) for path in paths]
        unets = [(s, b) for s in sessions if (b := bind_unet(s.inputs, s.outputs)) is not None]
        others = [s for s in sessions if bind_unet(s.inputs, s.outputs) is None]
        families = [binding.family for _, binding in unets] or list(FAMILIES.values())
        for session in others:
            if not any(is_encoder_of(f, session.inputs, session.outputs) for f in families):
                raise ModelError(_fits_no_family(session))
        if len(unets) != 1 or len(others) != 1:
            raise ModelError(
                f"{directory}: holds {len(unets)} U-Nets and {len(others)} audio encoders,"
                " must be one of each"
            )
        (unet, binding), (encoder,) = unets[0], others
        return cls(encoder, unet, binding)

    def encode(self, windows: F32) -> F32:
        """Encoder windows, float32 (n, 1, 80, 16), to features, float32 (n, 512)."""
        return _in_batches(
            self._encoder, {self._encoder.inputs[0].name: windows}, self._encoder_batch
        )

    def predict(self, inner_crops: U8, audio: F32) -> U8:
        """The mouths for a batch of frames.

        ``inner_crops`` : uint8 (n, S, S, 3), RGB.  ``audio`` : float32 (n, 32, 16, 16).
        Returns uint8 (n, S, S, 3), RGB.  Raises NotFinite.
        """
        inputs = self._unet_inputs(inner_crops, audio)
        try:
            return to_pixels(_in_batches(self._unet, inputs, self._unet_batch))
        except NotFinite as error:
            raise NotFinite(f"{self._unet.path}: {error}") from error

    def predict_into(self, inner_crops: U8, audio: F32, out: F32) -> None:
        """The mouths as the model gives them, written straight into ``out``.

        ``out`` : float32 (n, 3, S, S), C-contiguous; ``to_pixels`` makes pictures of it.
        """
        inputs, batch = self._unet_inputs(inner_crops, audio), self._unet_batch
        if batch is None or batch == len(out):
            self._unet.run_into(inputs, out)
        else:
            out[...] = _in_batches(self._unet, inputs, batch)

    def _unet_inputs(self, inner_crops: U8, audio: F32) -> dict[str, F32]:
        visual = visual_tensor(inner_crops, self.family.blackout)
        return {self._binding.image.name: visual, self._binding.audio.name: audio}


def _batch(session: Session, shapes: dict[str, tuple[int, int, int]]) -> int | None:
    """The batch size a model insists on; None when it takes any.

    A batch axis can be called dynamic and be frozen inside: a batch of two is tried, and must give
    what two batches of one give.  Raises ModelError when not even the promised size runs.
    """
    promised = {size for spec in session.inputs if (size := spec.shape[0]) is not None}
    if len(promised) > 1:
        raise ModelError(f"{session.path}: its inputs have different batch sizes {promised}")
    size = promised.pop() if promised else None
    rng = np.random.default_rng(0)
    trial = {name: rng.random((size or 1, *shape), np.float32) for name, shape in shapes.items()}
    try:
        single = session.run(trial)
    except ModelError as error:
        raise ModelError(f"{session.path}: does not run ({error})") from error
    if size is not None:
        return size
    other = {name: rng.random(tensor.shape, np.float32) for name, tensor in trial.items()}
    try:
        pair = session.run({name: np.concatenate([trial[name], other[name]]) for name in trial})
    except ModelError:
        return 1
    apart = np.concatenate([single, session.run(other)])
    is_same = pair.shape == apart.shape and np.allclose(
        pair, apart, atol=BATCH_TOLERANCE, equal_nan=True
    )
    return None if is_same else 1


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
