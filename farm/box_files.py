"""The files in which other tools keep boxes."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from farm.errors import SourceUnusable
from farm.number_pickle import NotNumbers, numbers
from workers.geometry import Box, Rect

BoxOrder: TypeAlias = Literal["xyxy", "yyxx"]
Boxes: TypeAlias = tuple[Box, ...]
Four: TypeAlias = tuple[int, int, int, int]
FrameSize: TypeAlias = tuple[int, int]  #: width, height in pixels

N_LANDMARKS = 110  #: points of the face that SyncTalk_2D's detector finds
LEFT, RIGHT, TOP = 1, 31, 52  #: those at the edges of its box
MAX_BYTES = 64 << 20  #: of a file of boxes; real ones have 22 to 70 bytes a frame

MAX_COORDINATE = 1 << 24  #: of a pixel; no picture has as many

#: How the four numbers of a box are meant.
_READINGS: dict[BoxOrder, Callable[[int, int, int, int], Rect]] = {
    "xyxy": Rect,
    "yyxx": lambda y0, y1, x0, x1: Rect(x0, y0, x1, y1),
}

_LANDMARK_FILE = re.compile(r"([0-9]{1,18})\.lms", re.IGNORECASE)


def read_rects(path: Path, n_frames: int) -> Boxes:
    """crop_rects.json: [[x0, y0, x1, y1], ...], one for each frame or one for all."""
    try:
        found = json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise SourceUnusable(f"{path}: is no JSON ({error})") from error
    fours = _fours(path, [found] if _is_four(found) else found)
    if len(fours) == 1:
        fours *= n_frames
    _check_count(path, len(fours), n_frames)
    rects = [Rect(*four) for four in fours]
    for index, rect in enumerate(rects):
        if rect.width != rect.height or rect.is_empty():
            raise SourceUnusable(
                f"{path}: box {index} {fours[index]} is {rect.width}x{rect.height} pixels;"
                " it must be a square"
            )
    return tuple(Box(rect.x0, rect.y0, rect.width) for rect in rects)


def read_landmarks(folder: Path, frame_numbers: Sequence[int]) -> Boxes:
    """N.lms for each frame N, of which three points give the box, as SyncTalk_2D takes it."""
    files = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := _LANDMARK_FILE.fullmatch(path.name))
    }
    for number in frame_numbers:
        if number not in files:
            raise SourceUnusable(f"{folder}: frame {number} has no landmarks ({number}.lms)")
    _check_count(folder, len(files), len(frame_numbers))
    return tuple(_landmark_box(files[number]) for number in frame_numbers)


def _landmark_box(path: Path) -> Box:
    try:
        points = [tuple(map(_truncated, line.split())) for line in _content(path).splitlines()]
        (left, _), (right, _), (_, top) = (points[index] for index in (LEFT, RIGHT, TOP))
    except (ValueError, IndexError, OverflowError) as error:
        raise SourceUnusable(f"{path}: is not {N_LANDMARKS} lines of two numbers") from error
    if len(points) != N_LANDMARKS:
        raise SourceUnusable(f"{path}: has {len(points)} landmarks, must be {N_LANDMARKS}")
    if right <= left:
        raise SourceUnusable(f"{path}: landmark {RIGHT} is not right of landmark {LEFT}: no face?")
    return Box(left, top, right - left)


def _truncated(text: bytes) -> int:
    number = int(float(text))
    if abs(number) > MAX_COORDINATE:
        raise ValueError(text)
    return number


def read_coords(
    path: Path, n_frames: int, size: FrameSize, order: BoxOrder | None
) -> tuple[Boxes, tuple[str, ...]]:
    """coords.pkl: Wav2Lip's boxes are y0, y1, x0, x1, all others x0, y0, x1, y1.

    They are the whole face, and seldom square.  A SyncTalk_2D box is as wide as the jaw and goes
    from the bridge of the nose to the chin; so of a face that is not square its lower part is
    taken: the square as wide as it, on its lower edge.  A square around all of it would show the
    model hair where it has learnt to find cheeks.

    Returns the boxes, and a note where they are not what the file says.
    """
    try:
        fours = _fours(path, numbers(_content(path)))
    except NotNumbers as error:
        raise SourceUnusable(f"{path}: {error}") from error
    _check_count(path, len(fours), n_frames)
    rects = _in_order(path, fours, size, order)
    n_oblong = sum(rect.width != rect.height for rect in rects)
    boxes = tuple(Box(rect.x0, rect.y1 - rect.width, rect.width) for rect in rects)
    if n_oblong == 0:
        return boxes, ()
    return boxes, (f"{n_oblong} of {len(rects)} boxes are not square, so their lower part is used",)


def _in_order(
    path: Path, fours: Sequence[Four], size: FrameSize, order: BoxOrder | None
) -> list[Rect]:
    readings = {name: [reading(*four) for four in fours] for name, reading in _READINGS.items()}
    if order is None:
        order = _only_order(path, fours, readings, size)
    for index, rect in enumerate(readings[order]):
        if rect.is_empty():
            raise SourceUnusable(f"{path}: box {index} is empty read as {order} ({fours[index]})")
    return readings[order]


def _only_order(
    path: Path, fours: Sequence[Four], readings: Mapping[BoxOrder, list[Rect]], size: FrameSize
) -> BoxOrder:
    """The order in which all boxes lie in the frame.

    Squareness tells nothing: what is a square in one order is a square in the other.
    """
    fitting = [name for name, rects in readings.items() if all(_is_in(r, size) for r in rects)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        why = "can be read as x0 y0 x1 y1 and as y0 y1 x0 x1"
    else:
        pairs = enumerate(zip(*readings.values(), strict=True))
        worst = next((i for i, pair in pairs if not any(_is_in(r, size) for r in pair)), 0)
        why = f"box {worst} {fours[worst]} is in the {size[0]}x{size[1]} frame read neither way"
    raise SourceUnusable(
        f"{path}: {why}; say --boxes yyxx if it is Wav2Lip's, --boxes xyxy if it is not"
    )


def _is_in(rect: Rect, size: FrameSize) -> bool:
    return not rect.is_empty() and rect == rect.clipped_to(*size)


def _content(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SourceUnusable(f"{path}: has more than {MAX_BYTES >> 20} MiB: no file of boxes")
    return content


def _fours(path: Path, value: Any) -> list[Four]:
    """A list of four whole numbers each."""
    if not isinstance(value, list | tuple) or not value:
        raise SourceUnusable(f"{path}: is no list of boxes")
    for index, box in enumerate(value):
        if not _is_four(box):
            raise SourceUnusable(f"{path}: box {index} is not four whole numbers")
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in value]


def _is_four(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 4 and all(map(_is_whole, value))


def _is_whole(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and value == value // 1 and abs(value) <= MAX_COORDINATE


def _check_count(path: Path, n_boxes: int, n_frames: int) -> None:
    if n_boxes != n_frames:
        raise SourceUnusable(f"{path}: has boxes for {n_boxes} frames, and there are {n_frames}")
