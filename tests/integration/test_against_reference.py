"""Every frame against the independent renderer, and proof that a mistake would be seen."""

from collections.abc import Callable

import numpy as np
import pytest

from farm.paths import TINY_MODEL
from tests.material import psnr_db
from tests.reference import Reference
from workers import model as model_module
from workers import sequential
from workers.arrays import F32, U8
from workers.avatar import Bundle
from workers.features import stream
from workers.features.windows import audio_tensor
from workers.geometry import Rect
from workers.model import Model
from workers.sequential import Batch, batches, composite
from workers.stages import StageTimes

LEAST_DB = 40.0
BATCH_SIZE = 8


def worst_db(samples: F32, bundle: Bundle, model: Model) -> float:
    """The worst frame's PSNR inside its box; fails when a pixel outside differs."""
    manifest = bundle.manifest
    reference = Reference(
        TINY_MODEL,
        [bundle.frame(i)[..., ::-1] for i in range(manifest.n_templates)],
        [(box.x, box.y, box.side) for box in manifest.boxes],
    )
    features = reference.features(samples)
    frame, worst = 0, 99.0
    for batch in batches([samples], model, batch_size=BATCH_SIZE, times=StageTimes()):
        for image in composite(batch, bundle, model, StageTimes()):
            ours, theirs = np.asarray(image), reference.frame(features, frame)[..., ::-1]
            worst = min(worst, box_db(ours, theirs, manifest.boxes[_walk(frame, bundle)].rect))
            frame += 1
    assert frame == int(len(samples) * 25 / 16_000 + 0.5)
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


def test_every_frame_of_a_clip_agrees(speech: F32, demo_bundle: Bundle, model: Model) -> None:
    assert worst_db(speech, demo_bundle, model) >= LEAST_DB


def test_boxes_across_the_frames_edges_agree(
    speech: F32, edge_bundle: Bundle, model: Model
) -> None:
    assert worst_db(speech[:16_000], edge_bundle, model) >= LEAST_DB


# Each mutation is a mistake somebody made.  The comparison above must fail for every one of them.


def shifted_by_one(rows: F32, frame_index: int, first_row: int) -> F32:
    return audio_tensor(rows, frame_index + 1, first_row)


def restarted_in_every_batch(rows: F32, frame_index: int, first_row: int) -> F32:
    begin = frame_index // BATCH_SIZE * BATCH_SIZE - first_row
    return audio_tensor(rows[max(begin, 0) :], frame_index, first_row + max(begin, 0))


def repeated_instead_of_zeros(rows: F32, frame_index: int, first_row: int) -> F32:
    wanted = np.arange(frame_index - 8, frame_index + 8) - first_row
    return rows[np.clip(wanted, 0, len(rows) - 1)].reshape(32, 16, 16)


@pytest.mark.parametrize(
    "mistake", [shifted_by_one, restarted_in_every_batch, repeated_instead_of_zeros]
)
def test_wrong_audio_rows_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
    speech: F32,
    demo_bundle: Bundle,
    model: Model,
    mistake: Callable[[F32, int, int], F32],
) -> None:
    monkeypatch.setattr(stream, "audio_tensor", mistake)

    assert worst_db(speech[:16_000], demo_bundle, model) < LEAST_DB


def test_red_and_blue_swapped_on_the_way_in_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, demo_bundle: Bundle, model: Model
) -> None:
    right = model_module.visual_tensor
    swap = np.array([2, 1, 0, 5, 4, 3])
    monkeypatch.setattr(model_module, "visual_tensor", lambda *a: right(*a)[:, swap])

    assert worst_db(speech[:16_000], demo_bundle, model) < LEAST_DB


def test_red_and_blue_swapped_on_both_ways_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, demo_bundle: Bundle, model: Model
) -> None:
    tensor, pixels = model_module.visual_tensor, model_module.to_pixels
    swap = np.array([2, 1, 0, 5, 4, 3])
    monkeypatch.setattr(model_module, "visual_tensor", lambda *a: tensor(*a)[:, swap])
    monkeypatch.setattr(model_module, "to_pixels", lambda a: pixels(a)[..., ::-1])
    speech = speech[:16_000]

    assert worst_db(speech, demo_bundle, model) < LEAST_DB


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
    monkeypatch: pytest.MonkeyPatch, speech: F32, demo_bundle: Bundle, model: Model, hole: Rect
) -> None:
    right = model_module.visual_tensor
    monkeypatch.setattr(model_module, "visual_tensor", lambda crops, _: right(crops, hole))

    assert worst_db(speech[:16_000], demo_bundle, model) < LEAST_DB


def test_a_box_of_another_template_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, edge_bundle: Bundle, model: Model
) -> None:
    right = edge_bundle.box
    monkeypatch.setattr(edge_bundle, "box", lambda index: right((index + 1) % 4))

    with pytest.raises(AssertionError, match="outside the box"):
        worst_db(speech[:16_000], edge_bundle, model)


def test_a_template_walk_that_starts_at_one_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, speech: F32, edge_bundle: Bundle, model: Model
) -> None:
    right = sequential.template_index
    monkeypatch.setattr(sequential, "template_index", lambda i, n: right(i, n, start=1))

    with pytest.raises(AssertionError, match="outside the box"):
        worst_db(speech[:16_000], edge_bundle, model)


def test_batches_carry_absolute_frame_numbers(speech: F32, model: Model) -> None:
    cut: list[Batch] = list(batches([speech], model, batch_size=25, times=StageTimes()))

    assert [batch.first_frame for batch in cut] == [0, 25, 50, 75, 100]
