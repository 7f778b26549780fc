"""Every stage of the training, with two steps each: that it runs, and that the farm takes the
result."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.fake_espeak import NEEDS_ESPEAK
from workers.devices import ONE_THREAD
from workers.model import Model

pytest.importorskip("torch", reason="training needs the extra: pip install .[train]")
pytest.importorskip("onnxscript", reason="training needs the extra: pip install .[train]")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason=NEEDS_ESPEAK)
@pytest.mark.filterwarnings("default")  # the exporter's own
def test_all_stages_hand_on_to_the_farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from demo_training import listening, painting, targets
    from demo_training.corpus import clip, utterances
    from demo_training.export import export

    clips = [clip(utterance) for utterance in utterances("held_voice")[:3]]
    short = replace(listening.SCHEDULE, n_steps=2)
    for module in (listening, painting):
        monkeypatch.setattr(module, "SCHEDULE", short)
    monkeypatch.setattr(listening, "read_corpus", lambda _path: clips)
    monkeypatch.setattr(targets, "N_GROUPS", 4)
    monkeypatch.setattr(targets, "_CLIP_SHARE", 1.0)
    monkeypatch.setattr(painting, "N_VALIDATION", 9)

    lips = listening.train_listener(tmp_path / "train.npz", tmp_path / "listener.pt")
    targets.write_targets(tmp_path / "targets.npz", lips, clips, n_processes=1)
    painter = painting.train_painter(tmp_path / "targets.npz", lips, tmp_path / "painter.pt")
    psnr_db = painting.validation_psnr_db(painter, painting.read_targets(tmp_path / "targets.npz"))
    away = export(lips.encoder, painter, tmp_path / "onnx")
    model = Model.load(tmp_path / "onnx", ONE_THREAD)

    assert psnr_db > 10
    assert away < 1e-4
    assert model.family.name == "synctalk-328-ave"


def test_references_and_targets_are_windows_of_the_drawn_crop() -> None:
    from demo_training.targets import _draw_group
    from demo_training.window import WINDOW

    mouths = np.zeros((2, 7), np.float32)
    mouths[0, 0], mouths[1, 2] = 0.8, 1.0

    group = _draw_group(0, mouths, mouths[0])

    assert group.shape == (4, WINDOW.height, WINDOW.width, 3)
    assert np.array_equal(group[1], group[2]), "the talking reference has the first mouth"
    assert (group[0] != group[2]).any()
