"""Every frame against the independent renderer, and proof that a mistake would be seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from farm.demo.avatar import draw_frame
from farm.paths import TINY_MODEL
from tests.material import EDGE_BOXES, FAMILY, clouds, psnr_db
from tests.reference import Reference
from workers import frames, sequential, unet
from workers.arrays import F32, U8
from workers.avatar import Bundle
from workers.avatar_compiler import compile_avatar
from workers.errors import ModelError
from workers.features.rows import FeatureRows
from workers.frames import Finisher
from workers.geometry import Box, Rect
from workers.kernels.tensors import PixelConverter
from workers.model import Model
from workers.sequential import Batch, batches, paint
from workers.stages import StageTimes

LEAST_DB = 40.0
BATCH_SIZE = 8


@dataclass(frozen=True, slots=True)
class Avatar:
    """A bundle whose boxes are written over whole, and the frames it was compiled from."""

    sources: list[U8]  #: RGB
    bundle: Bundle


def hard(directory: Path, sources: list[U8], boxes: Sequence[Box]) -> Avatar:
    compile_avatar(
        zip(sources, boxes, strict=True),
        directory,
        avatar_id="hard",
        source_version="1",
        family=FAMILY,
        paste="hard",
    )
    return Avatar(sources, Bundle(directory))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    frames = [draw_frame(k) for k in range(0, 60, 5)]
    directory = tmp_path_factory.mktemp("drawn") / "drawn"
    return hard(directory, [f.image_rgb for f in frames], [f.box for f in frames])


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return hard(tmp_path_factory.mktemp("edges") / "e", list(clouds(4)), EDGE_BOXES)


def worst_db(samples: F32, avatar: Avatar, model: Model) -> float:
    """The worst frame's PSNR inside its box; fails when a pixel outside differs."""
    bundle, finisher = avatar.bundle, Finisher(FAMILY, StageTimes())
    boxes = bundle.manifest.boxes
    reference = Reference(
        TINY_MODEL,
        [source[..., ::-1] for source in avatar.sources],
        [(box.x, box.y, box.side) for box in boxes],
    )
    features = reference.features(samples)
    n, worst = 0, 99.0
    for batch in batches([samples], model, batch_size=BATCH_SIZE, times=StageTimes()):
        for frame, painted in paint(batch, bundle, model, StageTimes()):
            template = frames.template_index(frame, len(boxes))
            at = bundle.patch_rect(template)
            ours = avatar.sources[template].copy()
            patch = np.asarray(finisher.patch(bundle, frame, painted))
            ours[at.y0 : at.y1, at.x0 : at.x1] = patch[..., :3]
            theirs = reference.frame(features, frame)[..., ::-1]
            worst = min(worst, box_db(ours, theirs, boxes[_walk(frame, bundle)].rect))
            n += 1
    assert n == int(len(samples) * 25 / 16_000 + 0.5)
    return worst


def _walk(frame: int, bundle: Bundle) -> int:
    n = bundle.manifest.n_templates
    return [*range(n), *range(n - 2, 0, -1)][frame % (2 * n - 2)]


def box_db(ours: U8, theirs: U8, box: Rect) -> float:
    visible = box.clipped_to(ours.shape[1], ours.shape[0])
    inside = np.s_[visible.y0 : visible.y1, visible.x0 : visible.x1]
    differs = (ours != theirs).any(axis=-1)
    differs[inside] = False
    assert not differs.any(), "a pixel outside the box differs"
    return psnr_db(ours[inside], theirs[inside])


@pytest.fixture
def plain_model(monkeypatch: pytest.MonkeyPatch) -> Model:
    """With NumPy at both ends of the U-Net, where mistakes can be made."""

    def refuse(*_: object) -> bytes:
        raise ModelError("not now")

    with monkeypatch.context() as without_graph:
        without_graph.setattr(unet, "_wrapped", refuse)
        return Model.load(TINY_MODEL)


def test_every_frame_of_a_clip_agrees(speech: F32, drawn: Avatar, model: Model) -> None:
    assert worst_db(speech, drawn, model) >= LEAST_DB


def test_a_model_that_is_served_plainly_agrees(
    speech: F32, drawn: Avatar, plain_model: Model
) -> None:
    assert worst_db(loud(speech), drawn, plain_model) >= LEAST_DB


def test_boxes_across_the_frames_edges_agree(speech: F32, edges: Avatar, model: Model) -> None:
    assert worst_db(speech[:16_000], edges, model) >= LEAST_DB


def loud(speech: F32) -> F32:
    """A second that begins in the middle of a word: at rest there is little to see."""
    return speech[6_000:22_000]


# Each mutation is a mistake somebody made.  The comparison above must fail for every one of them.


class ShiftedByOne(FeatureRows):
    def rows(self, frames: range) -> F32:
        return super().rows(range(frames.start + 1, frames.stop + 1))


class RestartedInEveryBatch(FeatureRows):
    def rows(self, frames: range) -> F32:
        rows = super().rows(frames)
        rows[:8] = 0
        return rows


class RepeatedInsteadOfZeros(FeatureRows):
    def rows(self, frames: range) -> F32:
        rows = super().rows(frames)
        n_missing = max(0, 8 - frames.start)
        rows[:n_missing] = rows[n_missing]
        return rows


@pytest.mark.parametrize("mistake", [ShiftedByOne, RestartedInEveryBatch, RepeatedInsteadOfZeros])
def test_wrong_audio_rows_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
    speech: F32,
    drawn: Avatar,
    model: Model,
    mistake: type[FeatureRows],
) -> None:
    monkeypatch.setattr(sequential, "FeatureRows", mistake)

    assert worst_db(loud(speech), drawn, model) < LEAST_DB


def test_red_and_blue_swapped_on_the_way_in_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, drawn: Avatar, plain_model: Model
) -> None:
    right = unet.visual_tensor
    swap = np.array([2, 1, 0, 5, 4, 3])
    monkeypatch.setattr(unet, "visual_tensor", lambda *a: right(*a)[:, swap])

    assert worst_db(loud(speech), drawn, plain_model) < LEAST_DB


def test_red_and_blue_swapped_on_both_ways_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, drawn: Avatar, plain_model: Model
) -> None:
    tensor, pixels = unet.visual_tensor, PixelConverter.rgbx
    swap = np.array([2, 1, 0, 5, 4, 3])
    monkeypatch.setattr(unet, "visual_tensor", lambda *a: tensor(*a)[:, swap])
    monkeypatch.setattr(PixelConverter, "rgbx", lambda *a: pixels(*a)[..., [2, 1, 0, 3]])

    assert worst_db(loud(speech), drawn, plain_model) < LEAST_DB


@pytest.mark.parametrize(
    "hole",
    [
        Rect(0, 0, 0, 0),
        Rect(6, 5, 316, 310),
        Rect(5, 4, 315, 309),
        Rect(5, 5, 314, 310),
        Rect(5, 5, 315, 311),
        Rect(5, 5, 310, 305),
    ],
)
def test_a_hole_left_out_or_one_pixel_off_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, drawn: Avatar, plain_model: Model, hole: Rect
) -> None:
    right = unet.visual_tensor
    monkeypatch.setattr(unet, "visual_tensor", lambda crops, _: right(crops, hole))

    assert worst_db(loud(speech), drawn, plain_model) < LEAST_DB


def test_a_box_of_another_template_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, edges: Avatar, model: Model
) -> None:
    right = edges.bundle.box
    monkeypatch.setattr(edges.bundle, "box", lambda index: right((index + 1) % 4))

    with pytest.raises(AssertionError, match="outside the box"):
        worst_db(speech[:16_000], edges, model)


def test_a_template_walk_that_starts_at_one_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, edges: Avatar, model: Model
) -> None:
    right = frames.template_index
    monkeypatch.setattr(frames, "template_index", lambda i, n: right(i + 1, n))

    with pytest.raises(AssertionError, match="outside the box"):
        worst_db(speech[:16_000], edges, model)


def test_batches_carry_absolute_frame_numbers(speech: F32, model: Model) -> None:
    cut: list[Batch] = list(batches([speech], model, batch_size=25, times=StageTimes()))

    assert [batch.first_frame for batch in cut] == [0, 25, 50, 75, 100]
