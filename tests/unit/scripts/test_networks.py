"""What training assumes of the farm, held against the farm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.features.rows import FeatureRows, audio_tensors
from workers.features.spans import SPAN_WINDOWS

torch = pytest.importorskip("torch", reason="training needs the extra: pip install .[train]")


@pytest.mark.parametrize(("n_windows", "n_frames"), [(2, 1), (2, 5), (22, 25), (97, 100)])
def test_training_sees_the_rows_that_the_farm_makes(n_windows: int, n_frames: int) -> None:
    from demo_training.networks import feature_rows

    features = np.random.default_rng(0).uniform(0, 1, (n_windows, 512)).astype(np.float32)
    rows = FeatureRows()
    for span in range(-(-n_windows // SPAN_WINDOWS)):
        rows.add(span, features[span * SPAN_WINDOWS : (span + 1) * SPAN_WINDOWS])
    rows.end(n_windows)

    ours = feature_rows(torch.from_numpy(features), n_frames).numpy()

    assert np.array_equal(ours, rows.rows(range(n_frames)))
    assert audio_tensors(ours).shape == (n_frames, 32, 16, 16)


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demo_training import steps

    monkeypatch.setattr(steps, "STEPS_A_CHECKPOINT", 3)
    schedule = steps.Schedule(n_steps=8, peak_rate=0.1, warm_up_steps=2)

    def trained(checkpoint: Path, *, fails_at: int | None = None) -> Any:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
        optimizer = torch.optim.AdamW(network.parameters())

        def loss(step: int) -> Any:
            if step == fails_at:
                raise KeyboardInterrupt
            drawn = np.random.default_rng(step).normal(0, 1, (3, 4)).astype(np.float32)
            return network(torch.from_numpy(drawn)).square().mean()

        steps.train("test", network, optimizer, loss, schedule, checkpoint)
        return network[0].weight

    whole = trained(tmp_path / "a.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b.pt", fails_at=5)

    assert torch.equal(whole, trained(tmp_path / "b.pt"))
