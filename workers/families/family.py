"""What a model family fixes: tensor shapes, by which models are recognised, and its geometry."""

import math
from dataclasses import dataclass

from workers.geometry import Rect


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One architecture with its pre- and post-processing.  Shapes leave out the batch axis."""

    name: str
    image_shape: tuple[int, int, int]  #: (6, S, S): true crop, blacked-out crop
    audio_shape: tuple[int, int, int]  #: audio tensor of one frame
    encoder_shape: tuple[int, int, int]  #: (1, mel bands, mel columns) of one encoder window
    feature_size: int  #: values the encoder gives for one window
    canvas_px: int  #: side of a crop as the bundle keeps it
    inner_px: int  #: side of what the model sees
    blackout: Rect  #: the mouth rectangle in the inner crop, zero in channels 3..5

    @property
    def inner(self) -> Rect:
        """The inner crop in the canvas: its middle."""
        margin_px = (self.canvas_px - self.inner_px) // 2
        return Rect(0, 0, self.inner_px, self.inner_px).moved(margin_px, margin_px)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return (3, self.inner_px, self.inner_px)

    @property
    def crop_shape(self) -> tuple[int, int, int]:
        """Of a crop as the bundle keeps it: uint8, RGB."""
        return (self.canvas_px, self.canvas_px, 3)

    @property
    def painted_shape(self) -> tuple[int, int, int]:
        """Of a crop with the model's mouth in it: uint8, RGBX."""
        return (self.canvas_px, self.canvas_px, 4)

    @property
    def slot_bytes(self) -> int:
        """A painted crop as it lies in a ring."""
        return math.prod(self.painted_shape)
