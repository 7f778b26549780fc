"""The model that is none."""

import numpy as np

from farm.paths import NULL_MODEL
from workers.avatar import Bundle
from workers.frames import crops_of
from workers.model import Model, family_of


def test_it_is_loaded_as_any_other() -> None:
    model = Model.load(NULL_MODEL)

    assert model.family is family_of(NULL_MODEL)


def test_it_repeats_the_crop_but_for_noise_in_its_hole(
    edge_bundle: Bundle, rng: np.random.Generator
) -> None:
    model = Model.load(NULL_MODEL)
    crops = crops_of(edge_bundle, range(3))
    audio = rng.random((3, *model.family.audio_shape), np.float32)

    painted = model.paint(crops, audio)[..., :3].astype(int)

    off = np.abs(painted - crops)
    hole = model.family.blackout.moved(model.family.inner.x0, model.family.inner.y0)
    inside = np.s_[:, hole.y0 : hole.y1, hole.x0 : hole.x1]
    assert off.max() == 3
    assert 1 < off[inside].mean() < 2
    off[inside] = 0
    assert not off.any()


def test_no_two_frames_are_alike_and_each_is_always_the_same(
    edge_bundle: Bundle, rng: np.random.Generator
) -> None:
    model = Model.load(NULL_MODEL)
    crops = np.repeat(crops_of(edge_bundle, range(1)), 4, axis=0)
    audio = rng.random((4, *model.family.audio_shape), np.float32)

    painted = model.paint(crops, audio)

    assert len({one.tobytes() for one in painted[..., :3]}) == 4
    for k in range(4):
        alone = model.paint(crops[k : k + 1], audio[k : k + 1])
        assert np.array_equal(alone[..., :3], painted[k : k + 1, ..., :3])
