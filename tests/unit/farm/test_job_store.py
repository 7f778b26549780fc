"""A store that begins in the middle makes the same rows as one that began at 0."""

import numpy as np
import pytest

from farm.job_store import Finished, JobStore, first_sample_of
from farm.protocol import Open
from tests.material import noise_avatar
from workers.arrays import F32
from workers.avatar import Bundle
from workers.features.spans import span_features
from workers.features.windows import n_frames
from workers.model import Model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return noise_avatar(tmp_path_factory.mktemp("avatars") / "anna")


def store(bundle: Bundle, *, first_frame: int = 0, first_sample: int = 0) -> JobStore:
    opened = Open(job_id="a", avatar="anna", credit=1, first_frame=first_frame)
    return JobStore(opened, bundle, first_sample=first_sample)


def finish(store: JobStore, model: Model) -> None:
    store.end()
    for index in range(store.first_span, store.total_spans):
        store.keep_features(index, span_features(store.span(index), model.encode))


@pytest.mark.parametrize("n_samples", [5 * 16_000, 76_123, 66_000])
@pytest.mark.parametrize("n_left", [0, 1, 8, 30, 60, 95])
def test_a_store_that_begins_anywhere_has_the_same_rows(
    bundle: Bundle, model: Model, speech: F32, n_samples: int, n_left: int
) -> None:
    samples = speech[:n_samples]
    total = n_frames(n_samples)
    first = total - n_left
    whole = store(bundle)
    whole.hear(0, samples.tobytes())
    finish(whole, model)
    begin = first_sample_of(first, n_samples)
    part = store(bundle, first_frame=first, first_sample=begin)
    part.hear_again(samples[k : k + 7_000].tobytes() for k in range(begin, n_samples, 7_000))
    finish(part, model)

    assert (part.total_frames, part.n_samples) == (total, n_samples)
    assert part.n_ready_frames >= total
    if n_left:
        wanted = range(first, total)
        np.testing.assert_array_equal(part.rows(wanted), whole.rows(wanted))


def test_a_store_that_begins_late_may_hear_everything_from_the_start(
    bundle: Bundle, model: Model, speech: F32
) -> None:
    whole, part = store(bundle), store(bundle, first_frame=100)
    for each in (whole, part):
        for seq in range(8):
            each.hear(seq, speech[10_000 * seq : 10_000 * (seq + 1)].tobytes())
        finish(each, model)

    np.testing.assert_array_equal(part.rows(range(100, 125)), whole.rows(range(100, 125)))


def test_frames_stay_until_they_are_taken(bundle: Bundle) -> None:
    kept = store(bundle)
    for frame in range(4):
        kept.keep_frame(frame, whole(frame))

    assert kept.leaving(range(2)) == kept.leaving(range(2)) == [whole(0), whole(1)]
    kept.forget_before(2)
    assert kept.n_bytes == 2
    assert kept.leaving(range(2, 4)) == [whole(2), whole(3)]


def whole(frame: int) -> Finished:
    return Finished(bytes([frame]), is_change=False)
