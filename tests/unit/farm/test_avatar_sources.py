import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from farm.avatar_notes import notes, off_middle
from farm.avatar_sources import Source, open_source
from farm.box_files import BoxOrder
from farm.errors import SourceUnusable
from tests.unit.farm.avatar_material import (
    HEIGHT_PX,
    STEADY,
    WIDTH_PX,
    Four,
    coords_folder,
    corners,
    seed_folder,
    synctalk_folder,
    template_frames,
    write_frames,
    write_landmarks,
)
from workers.geometry import Box

FOLDERS = {
    "seed": seed_folder,
    "synctalk": synctalk_folder,
    "musetalk": lambda root: coords_folder(root, [corners(box) for box in STEADY]),
}


def assert_gives(source: Source, boxes: tuple[Box, ...]) -> None:
    templates = list(source.templates())
    assert tuple(box for _, box in templates) == boxes
    for (frame, _), expected in zip(templates, template_frames(len(boxes)), strict=True):
        assert np.array_equal(frame, expected)


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_each_layout_gives_its_frames_in_order_with_their_boxes(
    tmp_path: Path, folder: Callable[[Path], Path]
) -> None:
    source = open_source(folder(tmp_path / "a"))

    assert_gives(source, STEADY)
    assert (source.width_px, source.height_px) == (WIDTH_PX, HEIGHT_PX)
    assert notes(source) == ()


@pytest.mark.parametrize("name", ["frame_{:04d}.png", "frame_{}.png", "FRAME_{:02d}.PNG"])
@pytest.mark.parametrize("folder", [".", "frames"])
def test_the_seeds_frames_may_be_padded_and_placed_as_one_likes(
    tmp_path: Path, name: str, folder: str
) -> None:
    write_frames(tmp_path / folder, name, template_frames())
    (tmp_path / "crop_rects.json").write_text(json.dumps([corners(box) for box in STEADY]))
    for other in ("Thumbs.db", "frame_99.txt", "frame_0099.png.bak"):
        (tmp_path / folder / other).touch()

    assert_gives(open_source(tmp_path), STEADY)


def test_other_pictures_beside_the_seeds_frames_are_left_alone(tmp_path: Path) -> None:
    seed_folder(tmp_path)
    shutil.copy(tmp_path / "frame_0003.png", tmp_path / "3.png")

    assert_gives(open_source(tmp_path), STEADY)


@pytest.mark.parametrize("rects", [[20, 10, 60, 50], [[20, 10, 60, 50]], [[20.0, 10, 60.0, 50]]])
def test_one_rectangle_does_for_all_frames(tmp_path: Path, rects: object) -> None:
    seed_folder(tmp_path)
    (tmp_path / "crop_rects.json").write_text(json.dumps(rects))

    assert open_source(tmp_path).boxes == 12 * (Box(20, 10, 40),)


def test_frames_may_be_counted_from_one(tmp_path: Path) -> None:
    synctalk_folder(tmp_path)
    for folder, suffix in (("full_body_img", ".png"), ("landmarks", ".lms")):
        for number in reversed(range(12)):
            path = tmp_path / folder / f"{number}{suffix}"
            path.rename(path.with_stem(f"{number + 1}"))

    assert_gives(open_source(tmp_path), STEADY)


WAV2LIP = [(box.y, box.y + box.side, box.x, box.x + box.side) for box in STEADY]


@pytest.mark.parametrize(
    ("fours", "boxes"),
    [
        (WAV2LIP, STEADY),  # the last are below the frame in the other order
        ([(5, 25, 2, 22)], (Box(2, 5, 20),)),  # has no width in the other order
        ([(40, 10, 60, 30)], (Box(40, 10, 20),)),
    ],
)
def test_the_order_of_coords_is_told_by_what_lies_in_the_frame(
    tmp_path: Path, fours: list[Four], boxes: tuple[Box, ...]
) -> None:
    assert open_source(coords_folder(tmp_path, fours)).boxes == boxes


def test_numpys_numbers_make_boxes(tmp_path: Path) -> None:
    assert open_source(coords_folder(tmp_path, [tuple(b) for b in np.array(WAV2LIP)])).boxes == (
        STEADY
    )


AMBIGUOUS = [(10, 30, 40, 64)]  #: 30x34 from x 10, or 24x20 from x 40


@pytest.mark.parametrize(
    ("order", "box"), [("xyxy", Box(10, 64 - 30, 30)), ("yyxx", Box(40, 30 - 24, 24))]
)
def test_boxes_that_can_be_read_both_ways_are_read_as_told(
    tmp_path: Path, order: BoxOrder, box: Box
) -> None:
    coords_folder(tmp_path, AMBIGUOUS)

    with pytest.raises(SourceUnusable, match="say --boxes yyxx if it is Wav2Lip's"):
        open_source(tmp_path)
    assert open_source(tmp_path, box_order=order).boxes == (box,)


def test_of_a_face_that_is_not_square_the_lower_part_is_taken_and_said(tmp_path: Path) -> None:
    source = open_source(coords_folder(tmp_path, [(40, 5, 70, 45), (40, 15, 70, 45)]))

    assert source.boxes == (Box(40, 15, 30), Box(40, 15, 30))
    assert notes(source) == ("1 of 2 boxes are not square, so their lower part is used",)


Damage = Callable[[Path], object]


def rects(value: object) -> Damage:
    return lambda root: (root / "crop_rects.json").write_text(json.dumps(value))


def first_rect(*four: object) -> Damage:
    return rects([four, *(corners(box) for box in STEADY[1:])])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def resize(path: Path) -> None:
    Image.open(path).resize((95, 64)).save(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: shutil.rmtree(r), "does not exist"),
        (lambda r: (shutil.rmtree(r), r.touch()), "is no directory"),
        (
            lambda r: (r / "crop_rects.json").unlink(),
            r"looked for frame_0000.png.*crop_rects.json.*0.lms.*coords.pkl",
        ),
        (lambda r: [p.unlink() for p in r.glob("*.png")], "no frames with boxes"),
        (lambda r: (r / "frame_0007.png").unlink(), "frame 7 is missing, frame 8 is there"),
        (lambda r: [(r / f"frame_{n:04d}.png").unlink() for n in (3, 4, 8)], "frame 3 is missing"),
        (lambda r: (r / "frame_0011.png").unlink(), "boxes for 12 frames, and there are 11"),
        (
            lambda r: shutil.copy(r / "frame_0003.png", r / "frame_3.jpg"),
            "frame_0003.png and frame_3.jpg have the same number",
        ),
        (
            lambda r: ((r / "frame_0005.png").unlink(), os.mkfifo(r / "frame_0005.png")),
            "frame 5 is missing",
        ),
        (lambda r: resize(r / "frame_0005.png"), r"frame_0005.png: has 95x64.*has 96x64"),
        (lambda r: (r / "frame_0005.png").write_text("x"), "frame_0005.png: is no picture"),
        (lambda r: (r / "crop_rects.json").write_text("{"), "is no JSON"),
        (lambda r: (r / "crop_rects.json").write_text("[" * 100_000), "is no JSON"),
        (lambda r: (r / "crop_rects.json").write_bytes(b"\xff\xfe\x00"), "is no JSON"),
        (lambda r: os.truncate(r / "crop_rects.json", (64 << 20) + 1), "more than 64 MiB"),
        (rects([]), "is no list of boxes"),
        (rects({"0": [1, 2, 3, 4]}), "is no list of boxes"),
        (rects([[0, 0, 9, 9]] * 3), "boxes for 3 frames, and there are 12"),
        (first_rect(0, 0, 9), "box 0 is not four whole numbers"),
        (first_rect(0, 0, 9.5, 9.5), "box 0 is not four whole numbers"),
        (first_rect(0, 0, True, 9), "box 0 is not four whole numbers"),
        (first_rect(0, 0, "9", 9), "box 0 is not four whole numbers"),
        (first_rect(0, 0, float("inf"), 9), "box 0 is not four whole numbers"),
        (first_rect(0, 0, float("nan"), 9), "box 0 is not four whole numbers"),
        (first_rect(0, 0, 10**40, 10**40), "box 0 is not four whole numbers"),
        (first_rect(0, 0, 9, 10), r"box 0 \(0, 0, 9, 10\) is 9x10 pixels; it must be a square"),
        (first_rect(9, 9, 9, 9), "0x0 pixels"),
        (first_rect(20, 20, 10, 10), "-10x-10 pixels"),
        (first_rect(96, 0, 100, 4), "frame_0000.png: its box cannot be used"),
        (first_rect(-500, -500, 500, 500), "frame_0000.png: its box cannot be used"),
    ],
)
def test_what_is_wrong_is_named_before_any_frame_is_decoded(
    tmp_path: Path, damage: Damage, message: str
) -> None:
    root = seed_folder(tmp_path / "a")
    damage(root)

    with pytest.raises(SourceUnusable, match=message) as refused:
        open_source(root)

    assert str(refused.value).startswith(str(root))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: (r / "5.lms").unlink(), r"frame 5 has no landmarks \(5.lms\)"),
        (lambda r: shutil.copy(r / "5.lms", r / "12.lms"), "boxes for 13 frames, and there are 12"),
        (lambda r: write_landmarks(r / "5.lms", STEADY[5], 68), "5.lms: has 68 landmarks"),
        (lambda r: write_landmarks(r / "5.lms", Box(9, 9, -5)), "5.lms: landmark 31 is not right"),
        (lambda r: (r / "5.lms").write_text("1 2\n" * 10), "5.lms: is not 110 lines"),
        (lambda r: (r / "5.lms").write_text("1 2 3\n" * 110), "5.lms: is not 110 lines"),
        (lambda r: (r / "5.lms").write_text("a b\n" * 110), "5.lms: is not 110 lines"),
        (lambda r: (r / "5.lms").write_text("inf 0\n" * 110), "5.lms: is not 110 lines"),
        (lambda r: (r / "5.lms").write_text("nan 0\n" * 110), "5.lms: is not 110 lines"),
        (lambda r: (r / "5.lms").write_text("1e300 0\n" * 110), "5.lms: is not 110 lines"),
        (lambda r: (r / "5.lms").write_bytes(b"\xff\0"), "5.lms: is not 110 lines"),
    ],
)
def test_bad_landmarks_are_named(tmp_path: Path, damage: Damage, message: str) -> None:
    damage(synctalk_folder(tmp_path) / "landmarks")

    with pytest.raises(SourceUnusable, match=message):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([(20, 10, 60, 50)] * 3, "boxes for 3 frames, and there are 2"),
        ([(20, 10, 60, 50), (0.0, 0.0, 0.0, 0.0)], r"box 1 \(0, 0, 0, 0\) is in the 96x64 frame"),
        ([(20, 10, 60, 50), (50, 40, 97, 60)], "box 1 .* read neither way"),
        ([(20, 10, 60, 50), None], "box 1 is not four"),
        ([(20, 10, 60, 50), "abcd"], "box 1 is not four"),
        ({}, "something else than numbers"),
        ("coords", "is no list of boxes"),
    ],
)
def test_bad_coords_are_named(tmp_path: Path, value: object, message: str) -> None:
    coords_folder(tmp_path, [(20, 10, 60, 50)] * 2)
    (tmp_path / "coords.pkl").write_bytes(pickle.dumps(value))

    with pytest.raises(SourceUnusable, match=message):
        open_source(tmp_path)


def test_an_empty_box_is_refused_also_when_the_order_is_told(tmp_path: Path) -> None:
    coords_folder(tmp_path, [(0, 0, 0, 0)])

    with pytest.raises(SourceUnusable, match="box 0 is empty read as yyxx"):
        open_source(tmp_path, box_order="yyxx")


def test_an_order_for_boxes_that_have_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match=r"--boxes is for coords\.pkl"):
        open_source(seed_folder(tmp_path), box_order="xyxy")


def test_a_picture_damaged_inside_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    truncate(seed_folder(tmp_path) / "frame_0005.png")
    templates = open_source(tmp_path).templates()

    for _ in range(5):
        next(templates)
    with pytest.raises(SourceUnusable, match=r"frame_0005\.png: cannot be read"):
        next(templates)


def test_a_frame_that_changes_its_size_meanwhile_is_named(tmp_path: Path) -> None:
    source = open_source(seed_folder(tmp_path))
    resize(tmp_path / "frame_0005.png")

    with pytest.raises(SourceUnusable, match=r"frame_0005\.png: has 95x64"):
        list(source.templates())


def test_a_box_that_leaves_the_frame_is_used_and_said(tmp_path: Path) -> None:
    source = open_source(seed_folder(tmp_path, [Box(20, 10, 40), Box(70, 10, 40)]))

    assert source.boxes[1] == Box(70, 10, 40)
    (note,) = notes(source)
    assert note.startswith("1 of 2 boxes leave the frame, first at frame_0001.png")


def test_trembling_is_said_and_moving_is_not(tmp_path: Path) -> None:
    moving = seed_folder(tmp_path / "a", [Box(2 + 4 * k, 10, 40) for k in range(10)])
    trembling = seed_folder(tmp_path / "b", [Box(20, 10, 40 + 3 * (k == 5)) for k in range(10)])

    assert notes(open_source(moving)) == ()
    (note,) = notes(open_source(trembling))
    assert "3 boxes jump by up to 7% of their side, most at frame_0005.png" in note


def test_off_the_middle_is_a_share_of_the_side() -> None:
    assert off_middle([Box(0, 0, 50), Box(5, 0, 50), Box(0, 0, 50)]) == [0.1]
    assert off_middle([Box(0, 0, 50)]) == []
