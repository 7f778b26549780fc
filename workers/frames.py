"""The two steps every frame goes through, for the sequential renderer and the farm alike."""

import numpy as np
from PIL import Image

from workers.arrays import U8
from workers.avatar import Bundle
from workers.families import Family
from workers.geometry import template_index
from workers.kernels.paste import paste_prediction


def inner_crops(bundle: Bundle, frames: range, family: Family) -> U8:
    """What the model sees for consecutive frames: uint8 (n, S, S, 3), RGB.

    ``frames`` : absolute frame indices.  Raises BundleError for a damaged crop.
    """
    inner = family.inner
    canvases = [bundle.crop(_template(bundle, frame)) for frame in frames]
    return np.stack([canvas[inner.y0 : inner.y1, inner.x0 : inner.x1] for canvas in canvases])


def composite_frame(bundle: Bundle, frame: int, prediction: U8, family: Family) -> Image.Image:
    """The finished picture of one frame, RGB.

    ``prediction`` : its mouth, uint8 (S, S, 3), RGB.  Raises BundleError for a damaged template.
    """
    template = _template(bundle, frame)
    return paste_prediction(
        bundle.frame(template),
        bundle.crop(template),
        prediction,
        inner=family.inner,
        box=bundle.box(template),
    )


def _template(bundle: Bundle, frame: int) -> int:
    return template_index(frame, bundle.manifest.n_templates)
