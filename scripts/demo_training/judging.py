"""The gate's judge: what a model paints for an utterance against what the phonemes call for.

Everything goes the way of the product: its mel spectrogram, its rows, its model loader, its bundle
of the avatar.  Only the truth is drawn here, in the poses and boxes of the bundle's templates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo_training.measuring import MOUTH, Reading, psnr_db, read_mouth, ssim
from demo_training.visemes import OPEN, PRESS
from demo_training.window import WINDOW
from farm.demo.avatar import Portrait
from farm.demo.motion import pose
from farm.demo.mouth import MouthShape
from workers.avatar import Bundle
from workers.families import Family
from workers.frames import crops_of
from workers.geometry import Box, template_index
from workers.kernels.crop import crop_canvas
from workers.model import Model
from workers.sequential import batches
from workers.stages import StageTimes

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

BATCH_SIZE = 8
_WINDOW = (slice(WINDOW.y0, WINDOW.y1), slice(WINDOW.x0, WINDOW.x1))


@dataclass(frozen=True, slots=True)
class Verdict:
    """One utterance, frame by frame; every list has one entry a frame."""

    text: str
    voice: str
    mouths: F32  #: (F, 7): what the phonemes call for
    truth: list[Reading]
    seen: list[Reading]
    psnr_db: list[float]
    copy_psnr_db: list[float]  #: of leaving the face at rest
    ssim: list[float]
    copy_ssim: list[float]
    outside: list[float]  #: mean change where the truth changes nothing, levels of 255
    outside_window: list[float]  #: likewise, only where the painter can paint

    @property
    def is_rest(self) -> NDArray[np.bool_]:
        return (self.mouths[:, OPEN] < 0.02) & (self.mouths[:, PRESS] < 0.35)

    @property
    def is_pressed(self) -> NDArray[np.bool_]:
        return self.mouths[:, PRESS] > 0.85


def judge(
    text: str, voice: str, speech: F32, mouths: F32, *, model: Model, bundle: Bundle, who: Portrait
) -> Verdict:
    """Let the model speak, draw the truth, and compare."""
    verdict = Verdict(text, voice, mouths, [], [], [], [], [], [], [], [])
    for frame, (reference, painted) in enumerate(painted_crops(speech, model, bundle)):
        template = template_index(frame, bundle.manifest.n_templates)
        mouth = MouthShape(*map(float, mouths[frame]))
        truth = drawn_crop(who, template, mouth, bundle.box(template), model.family)
        middle = mouth_middle(who, template, bundle.box(template), model.family)
        verdict.truth.append(read_mouth(truth, middle))
        verdict.seen.append(read_mouth(painted, middle))
        verdict.psnr_db.append(psnr_db(truth[MOUTH], painted[MOUTH]))
        verdict.copy_psnr_db.append(psnr_db(truth[MOUTH], reference[MOUTH]))
        verdict.ssim.append(ssim(truth[MOUTH], painted[MOUTH]))
        verdict.copy_ssim.append(ssim(truth[MOUTH], reference[MOUTH]))
        change = np.abs(painted.astype(np.int16) - reference)
        still = (truth == reference).all(-1)
        verdict.outside.append(float(change[still].mean()))
        verdict.outside_window.append(float(change[_WINDOW][still[_WINDOW]].mean()))
    return verdict


def painted_crops(speech: F32, model: Model, bundle: Bundle) -> Iterator[tuple[U8, U8]]:
    """For each frame what the model sees and what it makes of it: uint8 (320, 320, 3), RGB."""
    for batch in batches([speech], model, batch_size=BATCH_SIZE, times=StageTimes()):
        frames = range(batch.first_frame, batch.first_frame + len(batch.audio))
        crops, inner = crops_of(bundle, frames), model.family.inner
        painted = model.paint(crops, batch.audio)[..., :3]
        seen = np.s_[:, inner.y0 : inner.y1, inner.x0 : inner.x1]
        yield from zip(crops[seen], painted[seen], strict=True)


def drawn_crop(who: Portrait, template: int, mouth: MouthShape, box: Box, family: Family) -> U8:
    """The inner crop of a template with another mouth: uint8 (320, 320, 3), RGB."""
    pixels = who.box_rgb(pose(template), mouth, box)
    canvas = crop_canvas(pixels, Box(0, 0, box.side), family.canvas_px)
    inner = family.inner
    return canvas[inner.y0 : inner.y1, inner.x0 : inner.x1]


def mouth_middle(who: Portrait, template: int, box: Box, family: Family) -> tuple[float, float]:
    """Where the mouth's middle is in the inner crop."""
    x, y = who.mouth_middle(pose(template))
    scale, inner = family.canvas_px / box.side, family.inner
    return (x - box.x) * scale - inner.x0, (y - box.y) * scale - inner.y0


def column(readings: Sequence[Reading], name: str) -> NDArray[np.float64]:
    return np.array([getattr(reading, name) for reading in readings])
