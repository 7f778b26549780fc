import numpy as np
import pytest

from tests.material import in_pieces
from workers.arrays import F32
from workers.avatar import Bundle
from workers.model import Model
from workers.sequential import batches, render
from workers.stages import StageTimes


def jpegs(speech: list[F32], bundle: Bundle, model: Model, batch_size: int) -> list[bytes]:
    return list(render(speech, bundle, model, batch_size=batch_size, times=StageTimes()))


@pytest.mark.parametrize("batch_size", [1, 7, 25, 32])
def test_frames_are_byte_identical_at_every_batch_size(
    speech: F32, edge_bundle: Bundle, model: Model, batch_size: int
) -> None:
    samples = speech[:40_123]

    frames = jpegs([samples], edge_bundle, model, batch_size)

    assert frames == jpegs([samples], edge_bundle, model, 8)


def test_frames_are_byte_identical_however_the_samples_arrive(
    speech: F32, edge_bundle: Bundle, model: Model, rng: np.random.Generator
) -> None:
    in_spans = jpegs(list(in_pieces(speech, rng, 7_000)), edge_bundle, model, 8)

    assert in_spans == jpegs([speech], edge_bundle, model, 8)


@pytest.mark.parametrize("batch_size", [1, 7, 25])
def test_tensors_are_bit_equal_at_every_batch_size(
    speech: F32, model: Model, batch_size: int
) -> None:
    cut = batches([speech], model, batch_size=batch_size, times=StageTimes())
    whole = batches([speech], model, batch_size=10_000, times=StageTimes())

    assert np.array_equal(np.concatenate([b.audio for b in cut]), next(whole).audio)


@pytest.mark.parametrize(("n_samples", "n_frames"), [(1, 1), (960, 2), (16_000, 25), (16_319, 25)])
def test_every_frame_of_the_speech_comes_out(
    speech: F32, edge_bundle: Bundle, model: Model, n_samples: int, n_frames: int
) -> None:
    frames = jpegs([speech[:n_samples]], edge_bundle, model, 8)

    assert len(frames) == n_frames


def test_every_stage_is_timed(speech: F32, edge_bundle: Bundle, model: Model) -> None:
    times = StageTimes()

    list(render([speech[:8_000]], edge_bundle, model, batch_size=4, times=times))

    assert set(times.seconds) == {"audio", "inference", "resize", "blend", "encode", "splice"}
    assert all(seconds > 0 for seconds in times.seconds.values())
