"""The drawn people speaking: what training and measuring rely on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from farm.demo.avatar import HEIGHT_PX, WIDTH_PX, Portrait
from farm.demo.lips import gap_px
from farm.demo.look import LOOKS
from farm.demo.motion import Pose
from farm.demo.mouth import AT_REST, MouthShape
from workers.geometry import Box

STILL = Pose(0, 0, 0, 1, 0, 0, 0, 0)
FAR = Pose(14, -8, 3, 1.03, 5, 1, 0, 1)
FAR_BACK = Pose(-14, 8, -3, 0.97, -5, -1, 0.45, -1)
POSES = (STILL, FAR, FAR_BACK)

A = MouthShape(open=0.9, width=0.05, rounding=0, teeth=0.4, tongue=0.25, tuck=0, press=0)
WIDEST = MouthShape(open=1, width=1, rounding=0, teeth=1, tongue=1, tuck=0, press=0)
POUT = MouthShape(open=1, width=-1, rounding=1, teeth=1, tongue=1, tuck=1, press=0)
SPEAKING = {
    "a": A,
    "i": MouthShape(open=0.22, width=0.8, rounding=0, teeth=0.75, tongue=0.2, tuck=0, press=0),
    "u": MouthShape(open=0.2, width=-0.6, rounding=1, teeth=0, tongue=0, tuck=0, press=0),
    "s": MouthShape(open=0.1, width=0.4, rounding=0, teeth=1, tongue=0.1, tuck=0, press=0),
    "f": MouthShape(open=0.1, width=0.1, rounding=0, teeth=0.9, tongue=0, tuck=1, press=0),
    "th": MouthShape(open=0.25, width=0.2, rounding=0, teeth=0.6, tongue=0.95, tuck=0, press=0),
    "p": MouthShape(open=0, width=0, rounding=0, teeth=0, tongue=0, tuck=0, press=1),
}

_people: dict[str, Portrait] = {}


def person(name: str) -> Portrait:
    """Drawing one takes a second: all tests share them."""
    if name not in _people:
        _people[name] = Portrait(LOOKS[name])
    return _people[name]


def at_open(open_: float) -> MouthShape:
    return replace(AT_REST, open=open_, press=0)


def cut(image_rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    return image_rgb[box.rect.y0 : box.rect.y1, box.rect.x0 : box.rect.x1]


def cavity_px(name: str, mouth: MouthShape) -> int:
    """Height of what is as dark as the inside of a mouth, in the middle column."""
    portrait = person(name)
    x, y = (round(v) for v in portrait.mouth_middle(STILL))
    column = portrait.frame(STILL, mouth).image_rgb[y - 20 : y + 60, x - 2 : x + 3]
    dark = column.astype(np.float64).mean(1) @ (0.3, 0.6, 0.1) < 55
    return int(dark.sum())


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", LOOKS)
def test_a_box_is_what_the_frame_shows_there(name: str, pose: Pose) -> None:
    portrait = person(name)
    box = portrait.box(pose)

    for where in (box, Box(box.x + 60, box.y - 40, box.side), Box(3, 5, 40)):
        image_rgb = portrait.frame(pose, A).image_rgb
        assert np.array_equal(portrait.box_rgb(pose, A, where), cut(image_rgb, where))


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", LOOKS)
def test_mouths_differ_only_well_inside_the_box(name: str, pose: Pose) -> None:
    portrait = person(name)
    box = portrait.box(pose)
    rest_rgb = portrait.frame(pose).image_rgb

    for mouth in (WIDEST, POUT):
        changed = (portrait.frame(pose, mouth).image_rgb != rest_rgb).any(2)
        rows, columns = np.nonzero(changed)
        assert rows.min() > box.y + 92
        assert rows.max() < box.y + 258
        middle_x = box.x + box.side / 2
        assert columns.min() > middle_x - 98
        assert columns.max() < middle_x + 98


@pytest.mark.parametrize("name", LOOKS)
def test_no_mouth_is_cut_off_at_the_edge_of_its_area(name: str) -> None:
    portrait = person(name)
    rest_rgb = portrait.frame(STILL).image_rgb.astype(np.int16)

    for mouth in (WIDEST, POUT, *SPEAKING.values()):
        changed = np.abs(portrait.frame(STILL, mouth).image_rgb - rest_rgb).max(2)
        rows, columns = np.nonzero(changed)
        edge = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        # The chin ends below, as it should.
        assert max(edge[0].max(), edge[:, 0].max(), edge[:, -1].max()) <= 3


@pytest.mark.parametrize("name", LOOKS)
def test_the_mouth_is_where_it_is_said_to_be(name: str) -> None:
    portrait = person(name)
    box = portrait.box(STILL)
    rest_rgb = portrait.frame(STILL).image_rgb.astype(np.int16)
    x, y = portrait.mouth_middle(STILL)

    changed = np.abs(portrait.frame(STILL, SPEAKING["s"]).image_rgb - rest_rgb).max(2) > 40
    rows, columns = np.nonzero(changed)

    assert abs(y - box.y - 131) <= 7
    assert abs(columns.mean() - x) < 4
    assert abs(rows.mean() - y) < 12


@pytest.mark.parametrize("name", LOOKS)
def test_lips_are_shut_at_rest_and_when_pressed(name: str) -> None:
    shut = (
        AT_REST,
        SPEAKING["p"],
        replace(A, press=1),
        replace(AT_REST, open=0.15, press=0.85),
        MouthShape(open=0, width=0, rounding=1, teeth=0, tongue=1, tuck=0, press=0),
    )

    for mouth in shut:
        assert gap_px(mouth) == 0
        assert cavity_px(name, mouth) <= 2


@pytest.mark.parametrize("name", LOOKS)
def test_the_opening_grows_evenly_with_open(name: str) -> None:
    heights = [gap_px(at_open(k / 10)) for k in range(11)]
    seen = [cavity_px(name, at_open(k / 5)) for k in range(6)]

    assert heights == pytest.approx([4 * k for k in range(11)])
    assert seen[1] >= 5
    assert (np.diff(seen[1:]) > 0).all()


@pytest.mark.parametrize("field", MouthShape.__slots__)
def test_no_parameter_jumps(field: str) -> None:
    portrait, box = person("maya"), person("maya").box(STILL)
    start = MouthShape(open=0.3, width=0, rounding=0.2, teeth=0.4, tongue=0.3, tuck=0.2, press=0.2)
    steps = np.linspace(0, 1, 41)

    strip = [
        portrait.box_rgb(STILL, replace(start, **{field: float(v)}), box).astype(np.int16)
        for v in steps
    ]

    changes = [np.abs(b - a).mean() for a, b in pairwise(strip)]
    assert np.abs(strip[-1] - strip[0]).mean() > 0.25
    assert max(changes) < 0.25 * sum(changes)


def test_values_out_of_range_are_clipped() -> None:
    portrait, box = person("maya"), person("maya").box(STILL)
    beyond = replace(A, open=1.1, width=-1.2, teeth=-0.1)
    clipped = replace(A, open=1, width=-1, teeth=0)

    assert np.array_equal(
        portrait.box_rgb(STILL, beyond, box), portrait.box_rgb(STILL, clipped, box)
    )


def test_sounds_look_different() -> None:
    portrait, box = person("maya"), person("maya").box(STILL)
    seen = [portrait.box_rgb(STILL, m, box).astype(np.int16) for m in (AT_REST, *SPEAKING.values())]

    for k, one in enumerate(seen):
        for other in seen[k + 1 :]:
            assert np.abs(one - other).mean() > 0.5


def test_people_look_different() -> None:
    faces = [person(name).frame(STILL).image_rgb.astype(np.int16) for name in LOOKS]

    for k, one in enumerate(faces):
        for other in faces[k + 1 :]:
            assert np.abs(one - other).mean() > 5


def test_the_same_person_is_drawn_again_the_same() -> None:
    again = Portrait(LOOKS["amara"])

    assert np.array_equal(again.frame(FAR, A).image_rgb, person("amara").frame(FAR, A).image_rgb)


@pytest.mark.parametrize("name", LOOKS)
def test_no_channel_in_the_box_is_black_however_the_mouth_is(name: str) -> None:
    portrait = person(name)
    box = portrait.box(STILL)

    assert box.rect.clipped_to(WIDTH_PX, HEIGHT_PX) == box.rect
    for mouth in (AT_REST, *SPEAKING.values(), WIDEST):
        assert portrait.box_rgb(STILL, mouth, box).min() >= 8
