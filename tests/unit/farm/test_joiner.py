"""Encoding ``patch``: what a client joins is what the farm would have sent whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from farm import protocol
from farm.job_store import Finished, JobStore
from farm.joiner import Joiner, Shelved, TemplateCache
from farm.shelf import Shelf, to_bits
from tests.material import EDGE_BOXES, FAMILY
from workers.avatar import Bundle
from workers.frames import Finisher
from workers.stages import StageTimes
from workers.wire import WireError

N_FRAMES = 24  # four templates, to and fro


@given(st.sets(st.integers(0, 40_000), max_size=200))
def test_bits_say_which_templates_are_known(templates: set[int]) -> None:
    bits = to_bits(templates)

    assert len(bits) <= 4_096
    shelf = Shelf(bits)
    beside = {template + 1 for template in templates} | {0, 40_000, 10**12}
    for template in templates | beside:
        assert (template in shelf) == (template in templates and template < 32_768)


def test_a_shelf_takes_what_fits_and_keeps_it() -> None:
    shelf = Shelf(to_bits({3}), room_bytes=250)

    taken = [shelf.put(template, n_bytes) for template, n_bytes in [(3, 1), (1, 200), (2, 51)]]

    assert taken == [False, True, False]
    assert [template in shelf for template in (1, 2, 3)] == [True, False, True]
    assert shelf.put(2, 50)


class Line:
    """A farm's store of one job and a client's joiner, without sockets."""

    def __init__(self, bundle: Bundle, joiner: Joiner, **opened: Any) -> None:
        self.joiner = joiner
        wanted = protocol.Open(job_id="j", avatar="a", credit=1, **{**joiner.announce(), **opened})
        self.store = JobStore(wanted, bundle)
        self.n_bytes = 0
        self._begin()

    def _begin(self) -> None:
        manifest = self.store.manifest
        self.joiner.begin(
            protocol.Accepted(
                job_id="j",
                position=0,
                width_px=manifest.width_px,
                height_px=manifest.height_px,
                fps=25,
                quality=manifest.quality,
                encoding="patch" if self.store.is_patch else "whole",
                digest=manifest.digest,
                n_templates=manifest.n_templates,
                chroma=manifest.chroma,
                interval=manifest.interval,
            )
        )

    def resume(self, **line: Any) -> None:
        announced = {**self.joiner.announce(), **line}
        self.store.meet(protocol.Resume(job_id="j", next_frame=0, credit=1, **announced))
        self.store.begin_line()
        self._begin()

    def send(self, frames: range) -> list[bytes]:
        leaving = self.store.leaving(frames)
        self.n_bytes += sum(len(frame.payload) for frame in leaving)
        return [
            self.joiner.jpeg(frame, finished.payload, is_change=finished.is_change)
            for frame, finished in zip(frames, leaving, strict=True)
        ]


@pytest.fixture(scope="module")
def frames(edge_bundle: Bundle) -> list[tuple[bytes, bytes]]:
    """Of each frame what changes, and the whole."""
    finisher, rng = Finisher(FAMILY, StageTimes()), np.random.default_rng(3)
    made = []
    for frame in range(N_FRAMES):
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        mouth = np.asarray(Image.fromarray(coarse).resize((320, 320)))
        change = finisher.change(edge_bundle, frame, mouth)
        made.append((change, finisher.jpeg(edge_bundle, frame, mouth)))
    return made


def keep(store: JobStore, frames: list[tuple[bytes, bytes]]) -> None:
    for frame, (change, _) in enumerate(frames):
        store.keep_frame(frame, Finished(change, is_change=True))


def whole(frames: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [jpeg for _, jpeg in frames]


def test_the_first_frame_of_each_template_comes_whole_and_the_others_as_changes(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    line = Line(edge_bundle, Joiner(Shelved()))
    keep(line.store, frames)

    leaving = [line.store.leaving(range(k, k + 1))[0] for k in range(N_FRAMES)]

    assert [frame.is_change for frame in leaving] == [False] * 4 + [True] * (N_FRAMES - 4)
    assert sum(len(f.payload) for f in leaving[4:]) < sum(map(len, whole(frames)[4:]))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_line_does_the_client_has_every_frame(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """Lines break and come back with more or less room, as whole and as patch."""
    cache, size = TemplateCache(), len(frames[0][1])
    for _ in range(data.draw(st.integers(1, 3))):
        joiner = Joiner(
            cache.get("a"),
            keep=lambda shelved: cache.put("a", shelved),
            job_bytes=data.draw(st.integers(0, 6 * size)),
        )
        line = Line(edge_bundle, joiner)
        kinds = data.draw(st.lists(st.booleans(), min_size=N_FRAMES, max_size=N_FRAMES))
        for frame, ((change, jpeg), is_change) in enumerate(zip(frames, kinds, strict=True)):
            line.store.keep_frame(frame, Finished(change if is_change else jpeg, is_change))
        at = 0
        while at < N_FRAMES:
            end = data.draw(st.integers(at + 1, N_FRAMES))
            assert line.send(range(at, end)) == whole(frames)[at:end]
            at = data.draw(st.integers(0, end)) if data.draw(st.booleans()) else end
            if at < end or data.draw(st.booleans()):
                line.resume(encoding=data.draw(st.sampled_from(["patch", "patch", "whole"])))
        joiner.close()


def test_the_next_job_with_the_avatar_begins_with_its_templates(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    cache = TemplateCache()
    sizes = []
    for _ in range(2):
        joiner = Joiner(cache.get("a"), keep=lambda shelved: cache.put("a", shelved))
        line = Line(edge_bundle, joiner)
        keep(line.store, frames)
        assert line.send(range(N_FRAMES)) == whole(frames)
        joiner.close()
        sizes.append(line.n_bytes)

    assert sizes[1] == sum(len(change) for change, _ in frames) < sizes[0]


def test_templates_of_a_bundle_that_was_replaced_are_not_used(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    before = Line(edge_bundle, Joiner(Shelved()))
    keep(before.store, frames)
    before.send(range(N_FRAMES))
    mixed_up = dict(zip((1, 0, 3, 2), before.joiner._shelved.templates.values(), strict=True))

    line = Line(edge_bundle, Joiner(Shelved("of another one", mixed_up)))
    keep(line.store, frames)

    assert line.send(range(N_FRAMES)) == whole(frames)


def test_another_quality_comes_whole(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    line = Line(edge_bundle, Joiner(Shelved()), quality=50)
    line.store.keep_frame(0, Finished(frames[0][1], is_change=False))

    assert not line.store.is_patch
    assert line.send(range(1)) == whole(frames)[:1]


@pytest.mark.parametrize("payload", [b"", b"\1\2\3", bytes(8) + b"x", bytes(range(200))])
def test_a_change_that_fits_nothing_is_an_error_with_a_name(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]], payload: bytes
) -> None:
    line = Line(edge_bundle, Joiner(Shelved()))
    keep(line.store, frames)
    line.send(range(4))

    for frame in (0, 3):
        with pytest.raises(WireError, match="cannot be joined"):
            line.joiner.jpeg(frame, payload, is_change=True)


def test_a_cache_lets_go_of_what_was_used_longest_ago(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    joiner = Joiner(Shelved())
    line = Line(edge_bundle, joiner)
    keep(line.store, frames)
    line.send(range(N_FRAMES))
    shelved = joiner._shelved
    assert len(shelved.templates) == len(EDGE_BOXES)
    cache = TemplateCache(max_bytes=2 * shelved.n_bytes)
    for avatar in ("a", "b", "a", "c"):
        cache.put(avatar, shelved)

    assert [cache.get(avatar) is shelved for avatar in "abc"] == [True, False, True]


def test_a_change_that_nobody_asked_for_is_not_joined_with_what_is_cached(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    line = Line(edge_bundle, Joiner(Shelved()))
    keep(line.store, frames)
    line.send(range(N_FRAMES))

    fresh = Joiner(line.joiner._shelved)
    fresh.announce()

    with pytest.raises(WireError, match="none was asked for"):
        fresh.jpeg(0, frames[0][0], is_change=True)


def test_a_bundle_that_was_replaced_is_cached_even_if_it_had_no_room(
    edge_bundle: Bundle, frames: list[tuple[bytes, bytes]]
) -> None:
    cache = TemplateCache()
    cache.put("a", Shelved("of another one", {}))
    joiner = Joiner(cache.get("a"), keep=lambda shelved: cache.put("a", shelved), job_bytes=0)
    line = Line(edge_bundle, joiner)
    keep(line.store, frames)
    line.send(range(N_FRAMES))
    joiner.close()

    assert cache.get("a").digest == edge_bundle.manifest.digest
