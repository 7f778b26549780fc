"""A model from its directory, loaded: speech features and mouths."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from workers.arrays import F32, U8, Bools
from workers.devices import ANYWHERE, ON_CPU, Execution
from workers.encoder import Encoder
from workers.errors import NotFinite
from workers.families import Family
from workers.null_model import FAMILY as NULL_FAMILY
from workers.null_model import NullEncoder, NullUNet, is_null
from workers.pair import ModelPair
from workers.unet import load_unet


class Hears(Protocol):
    """The half that turns speech into features; see `workers.encoder.Encoder`."""

    @property
    def provider(self) -> str: ...

    def encode(self, windows: F32) -> F32: ...


class Paints(Protocol):
    """The half that paints mouths; see `workers.unet.UNet`."""

    @property
    def family(self) -> Family: ...
    @property
    def provider(self) -> str: ...
    @property
    def served_plainly(self) -> str: ...

    def paint_into(self, crops: U8, audio: F32, painted: U8) -> Bools: ...


def family_of(directory: Path) -> Family:
    """Without loading the model.  Raises ModelError."""
    return NULL_FAMILY if is_null(directory) else ModelPair.find(directory).family


def load_hearing(
    directory: Path, execution: Execution = ON_CPU, cache: Path | None = None
) -> Hears:
    """Raises ModelError.  ``cache`` : see `graph_cache`."""
    if is_null(directory):
        return NullEncoder()
    return Encoder(ModelPair.find(directory), execution, cache)


def load_painting(
    directory: Path, execution: Execution = ANYWHERE, cache: Path | None = None
) -> Paints:
    """Raises ModelError.  ``cache`` : see `graph_cache`."""
    if is_null(directory):
        return NullUNet()
    return load_unet(ModelPair.find(directory), execution, cache)


class Model:
    """Both halves, as the sequential renderer takes them."""

    def __init__(self, hearing: Hears, painting: Paints) -> None:
        self.family, self.provider = painting.family, painting.provider
        self.encode = hearing.encode
        self._painting = painting

    @classmethod
    def load(
        cls, directory: Path, execution: Execution = ANYWHERE, cache: Path | None = None
    ) -> "Model":
        """The model in a directory; see `ModelPair.find`, `load_unet`.  Raises ModelError.

        ``execution`` : of the U-Net; the encoder runs on the CPU, as in a farm.
        """
        on_cpu = replace(ON_CPU, threads=execution.threads)
        hearing = load_hearing(directory, on_cpu, cache)
        return cls(hearing, load_painting(directory, execution, cache))

    def paint(self, crops: U8, audio: F32) -> U8:
        """Crops with mouths in them.

        ``crops`` : uint8 (n, C, C, 3), RGB.  ``audio`` : float32 (n, 32, 16, 16).
        Returns uint8 (n, C, C, 4), RGBX.  Raises NotFinite.
        """
        painted = np.empty((len(crops), *self.family.painted_shape), np.uint8)
        if not self._painting.paint_into(crops, audio, painted).all():
            raise NotFinite("the model's output holds NaN or infinity")
        return painted
