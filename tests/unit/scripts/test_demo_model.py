"""The shipped demo model is the one that the gate measured, and still does what it measured."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from demo_training.card import CARD, table
from demo_training.figures import OPENING_BOUNDS, PEOPLE, SHORTFALLS, bounds_of, is_broken
from demo_training.golden import GOLDEN, golden_figures

from farm.avatars import DRAWN
from farm.demo.avatar import DRAWING_VERSION
from farm.paths import DEMO_MODEL
from workers.arrays import F32
from workers.avatar import Bundle
from workers.devices import ONE_THREAD
from workers.errors import NotFinite
from workers.features.windows import cut_windows
from workers.frames import crops_of
from workers.kernels.tensors import visual_tensor
from workers.model import Model
from workers.session import Session


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEMO_MODEL / "metrics.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def demo_model() -> Model:
    return Model.load(DEMO_MODEL, ONE_THREAD)


def test_the_shipped_files_are_the_measured_ones(metrics: dict[str, Any]) -> None:
    shipped = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in DEMO_MODEL.glob("*.onnx")
    }

    assert shipped == metrics["sha256"]
    assert metrics["drawing_version"] == DRAWING_VERSION, "drawn anew: train and measure again"


@pytest.mark.parametrize("part", ["cost", *OPENING_BOUNDS, *PEOPLE])
def test_every_measured_figure_keeps_its_bound(metrics: dict[str, Any], part: str) -> None:
    """But for what is known, and told in the card, to fall short."""
    bounds = bounds_of(part)

    assert bounds
    for name in bounds:
        assert not is_broken(part, name, metrics["figures"][part][name]), name


def test_what_is_said_to_fall_short_does(metrics: dict[str, Any]) -> None:
    for part, name in SHORTFALLS:
        assert not bounds_of(part)[name].holds(metrics["figures"][part][name]), "better: say so"


def test_the_bounds_are_of_the_people_that_are_drawn() -> None:
    assert ["demo", *PEOPLE] == list(DRAWN)


def test_the_card_shows_the_figures(metrics: dict[str, Any]) -> None:
    assert table(metrics["figures"]) in (DEMO_MODEL / CARD).read_text()


def test_it_speaks_as_it_did_when_it_was_measured(
    metrics: dict[str, Any], demo_model: Model, demo_bundle: Bundle
) -> None:
    measured, now = metrics["figures"]["golden"], golden_figures(demo_model, demo_bundle)

    assert now["frames"] == measured["frames"] > 150
    for name in ("opening_r", "width_r", "rounding_r", "ssim"):
        assert now[name] == pytest.approx(measured[name], abs=0.005), name
    assert now["psnr_db"] == pytest.approx(measured["psnr_db"], abs=0.2)
    assert now["opening_r"] > 0.9


def test_a_frame_has_the_same_bits_in_any_batch(demo_model: Model, demo_bundle: Bundle) -> None:
    rng = np.random.default_rng(1)
    audio = rng.uniform(0, 2, (7, 32, 16, 16)).astype(np.float32)
    crops = crops_of(demo_bundle, range(7))

    together = demo_model.paint(crops, audio)

    for k in range(7):
        alone = demo_model.paint(crops[k : k + 1], audio[k : k + 1])
        assert np.array_equal(together[k], alone[0])


def test_features_are_never_negative(demo_model: Model, speech: F32) -> None:
    from workers.features.mel import mel_spectrogram

    mel = mel_spectrogram(speech)
    features = demo_model.encode(cut_windows(mel, list(range(0, len(mel) - 16, 3))))

    assert features.min() >= 0
    assert features.std() > 0.01


def painted(unet: Session, visual: F32, audio: F32) -> F32:
    names = {spec.shape[1]: spec.name for spec in unet.inputs}
    return unet.run({names[6]: visual, names[32]: audio})


def test_the_hole_is_honoured_to_the_pixel(demo_model: Model, demo_bundle: Bundle) -> None:
    """Outside of it the crop comes back; another hole, or none, breaks the picture."""
    family = demo_model.family
    unet = Session(DEMO_MODEL / "unet.onnx", ONE_THREAD)
    crops = crops_of(demo_bundle, range(1))[:, 4:324, 4:324]
    audio = np.random.default_rng(2).uniform(0, 1, (1, 32, 16, 16)).astype(np.float32)
    visual = visual_tensor(crops, family.blackout)
    hole = family.blackout

    out = painted(unet, visual, audio)[0]

    outside = np.ones((320, 320), bool)
    outside[hole.y0 : hole.y1, hole.x0 : hole.x1] = False
    assert np.array_equal(out[:, outside], visual[0, :3][:, outside])
    for moved in (hole.moved(1, 0), hole.moved(0, -1)):
        wrong = painted(unet, visual_tensor(crops, moved), audio)[0]
        assert np.abs(wrong - out).max() > 0.2
    whole = np.concatenate([visual[:, :3], visual[:, :3]], axis=1)
    assert np.abs(painted(unet, whole, audio)[0] - out).mean() > 0.2


def test_rows_out_of_step_are_heard(demo_model: Model, demo_bundle: Bundle) -> None:
    """A mouth three rows late does not follow: the model listens to when, not only to what."""
    from demo_training.judging import judge
    from demo_training.measuring import correlation

    from farm.avatars import DRAWN
    from farm.demo.avatar import Portrait

    with np.load(GOLDEN) as kept:
        speech, mouths = kept["speech0"].astype(np.float32) / 32768, kept["mouths0"]
    late = np.concatenate([np.zeros(3 * 640, np.float32), speech])[: len(speech)]
    r = {}
    for name, heard in {"in step": speech, "late": late}.items():
        who = Portrait(DRAWN["demo"])
        seen = judge("", "", heard, mouths, model=demo_model, bundle=demo_bundle, who=who)
        r[name] = correlation(
            np.array([reading.opening_px for reading in seen.truth]),
            np.array([reading.opening_px for reading in seen.seen]),
        )

    assert r["in step"] > r["late"] + 0.2


def test_a_model_that_is_not_finite_is_an_error(demo_model: Model, demo_bundle: Bundle) -> None:
    audio = np.full((1, 32, 16, 16), np.nan, np.float32)
    with pytest.raises(NotFinite):
        demo_model.paint(crops_of(demo_bundle, range(1)), audio)
