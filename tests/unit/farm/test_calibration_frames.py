import numpy as np
import pytest

from farm.calibration_frames import (
    MAX_SPEECH_S,
    CalibrationFrames,
    Speech,
    frames_of,
    parts,
    read_speeches,
)
from farm.errors import AudioUnreadable
from farm.paths import ASSETS, DEMO_SPEECH
from tests.material import read_speech
from workers.arrays import F32
from workers.avatar import Bundle
from workers.features.windows import TENSOR_ROWS
from workers.model import Model
from workers.sequential import batches
from workers.stages import StageTimes

OTHER_SPEECH = ASSETS / "speech" / "willkommen.wav"


def frames(speeches: list[Speech], bundle: Bundle, model: Model, n: int = 6) -> CalibrationFrames:
    return frames_of(speeches, bundle, model, lambda: None, n_calibrated=n, n_measured=n)


def test_a_speech_is_read_as_the_farm_would_hear_it() -> None:
    (read,) = read_speeches([str(DEMO_SPEECH)])

    assert np.array_equal(read.samples, read_speech(DEMO_SPEECH))
    assert read.name == str(DEMO_SPEECH)


def test_no_frame_and_no_sound_is_both_calibrated_on_and_measured() -> None:
    for n in (75, 200, 3000):
        first, second = parts(n)

        assert second.start - first.stop == TENSOR_ROWS
        assert (first.start, second.stop) == (0, n)
        assert len(second) > 0


def test_tensors_and_crops_are_those_of_a_render(
    edge_bundle: Bundle, model: Model, speech: F32
) -> None:
    every = [
        audio
        for batch in batches([speech], model, batch_size=8, times=StageTimes())
        for audio in batch.audio
    ]

    found = frames([Speech("speech", speech)], edge_bundle, model, n=200)

    first, second = parts(len(every))
    assert np.array_equal(found.calibrated.audio, np.stack([every[k] for k in first]))
    assert np.array_equal(found.measured.audio, np.stack([every[k] for k in second]))
    walk = [0, 1, 2, 3, 2, 1]  # of its four templates
    for k, crop in zip(second, found.measured.crops, strict=True):
        assert np.array_equal(crop, edge_bundle.crop(walk[k % 6]))


def test_all_speeches_have_their_share(edge_bundle: Bundle, model: Model, speech: F32) -> None:
    one, other = Speech("one", speech), Speech("other", speech[::-1].copy())

    found = frames([one, other], edge_bundle, model, n=6)

    alone = [frames([each], edge_bundle, model, n=3) for each in (one, other)]
    assert len(found.calibrated) == len(found.measured) == 6
    expected = np.concatenate([each.measured.audio for each in alone])
    assert np.array_equal(found.measured.audio, expected)


def test_every_frame_is_told(edge_bundle: Bundle, model: Model, speech: F32) -> None:
    told: list[int] = []
    spoken = Speech("speech", speech)

    frames_of(
        [spoken, spoken],
        edge_bundle,
        model,
        lambda: told.append(1),
        n_calibrated=1,
        n_measured=1,
    )

    assert len(told) == 2 * spoken.n_frames == 250


def test_a_long_speech_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.calibration_frames.MAX_SPEECH_S", 4.0)

    (read,) = read_speeches([str(OTHER_SPEECH)])

    assert len(read.samples) == 64_000 < MAX_SPEECH_S * 16_000
    assert np.array_equal(read.samples, read_speech(OTHER_SPEECH)[:64_000])


def test_too_little_speech_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.calibration_frames.MIN_SPEECH_S", 60.0)

    with pytest.raises(AudioUnreadable, match=r"welcome\.wav: holds 9\.8 s of sound, must be 60 s"):
        read_speeches([str(DEMO_SPEECH)])
