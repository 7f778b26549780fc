"""The hair styles: where each one's locks lie, in frame pixels."""

from dataclasses import dataclass

from farm.demo.layers import Points, outline
from farm.demo.locks import Lock, lock


@dataclass(frozen=True, slots=True)
class HairStyle:
    """Hair behind the head and in front of it."""

    back: Points | None  #: outline of what hangs behind the neck
    back_locks: tuple[Lock, ...]
    locks: tuple[Lock, ...]  #: over the face, the later ones on top
    parting: tuple[float, float]
    tips_y: float | None  #: height at which the ends turn dark
    is_curly: bool = False
    covers_ears: bool = False


def _pair(outer: list[tuple[float, float]], inner: list[tuple[float, float]]) -> tuple[Lock, ...]:
    """A lock and its mirror image."""
    return tuple(
        lock([(640 + side * x, y) for x, y in outer], [(640 + side * x, y) for x, y in inner])
        for side in (-1, 1)
    )


def _flipped(style: HairStyle) -> HairStyle:
    """The same hair parted on the other side."""
    locks = tuple(Lock(_mirrored(k.outer), _mirrored(k.inner)) for k in style.locks)
    x, y = style.parting
    return HairStyle(style.back, style.back_locks, locks, (1280 - x, y), style.tips_y)


def _mirrored(points: Points) -> Points:
    mirror_image: Points = points * (-1, 1) + (1280, 0)
    return mirror_image


_WAVES_BACK = [
    (640, 42), (720, 50), (790, 92), (828, 170), (834, 260), (830, 340), (846, 430), (858, 510),
    (840, 580), (790, 612), (720, 612), (640, 604), (560, 612), (490, 612), (440, 580),
    (422, 510), (434, 430), (450, 340), (446, 260), (452, 170), (490, 92), (560, 50),
]  # fmt: skip

_WAVES_LEFT_OUTER = [
    (698, 42), (640, 34), (556, 44), (488, 90), (448, 165), (438, 245), (444, 320), (434, 390),
    (408, 455), (397, 520), (412, 578), (448, 618), (494, 636), (524, 629),
]  # fmt: skip
_WAVES_LEFT_INNER = [
    (698, 43), (697, 80), (692, 106), (668, 124), (620, 144), (557, 174), (511, 222), (493, 280),
    (500, 335), (512, 388), (510, 440), (494, 490), (490, 540), (498, 584), (518, 608), (529, 625),
]  # fmt: skip
_WAVES_RIGHT_OUTER = [
    (674, 38), (742, 46), (800, 86), (836, 162), (842, 245), (834, 320), (844, 390), (870, 455),
    (881, 520), (866, 578), (830, 618), (784, 636), (754, 629),
]  # fmt: skip
_WAVES_RIGHT_INNER = [
    (674, 39), (684, 80), (692, 106), (714, 127), (748, 166), (774, 216), (786, 270), (780, 330),
    (766, 385), (768, 440), (784, 490), (788, 540), (780, 584), (760, 608), (749, 625),
]  # fmt: skip
"""From the parting to the tips."""

_BOB_BACK = [
    (640, 46), (716, 54), (782, 96), (818, 172), (824, 262), (822, 340), (826, 400), (814, 444),
    (780, 466), (720, 470), (640, 466), (560, 470), (500, 466), (466, 444), (454, 400),
    (458, 340), (456, 262), (462, 172), (498, 96), (564, 54),
]  # fmt: skip
_BOB_LEFT_OUTER = [
    (600, 50), (560, 54), (506, 88), (466, 150), (452, 226), (448, 300), (444, 366), (452, 424),
    (476, 462), (508, 478), (530, 470),
]  # fmt: skip
_BOB_LEFT_INNER = [
    (600, 52), (592, 90), (576, 122), (548, 156), (518, 204), (498, 256), (494, 310), (502, 364),
    (518, 410), (532, 444), (534, 466),
]  # fmt: skip
_BOB_RIGHT_OUTER = [
    (580, 52), (640, 36), (720, 46), (784, 86), (820, 156), (830, 230), (832, 300), (838, 366),
    (828, 424), (804, 462), (772, 478), (750, 470),
]  # fmt: skip
_BOB_RIGHT_INNER = [
    (580, 60), (584, 100), (604, 132), (656, 158), (716, 176), (758, 206), (780, 256), (786, 310),
    (778, 364), (762, 410), (748, 444), (746, 466),
]  # fmt: skip

_SHORT_TOP_OUTER = [
    (556, 92), (590, 58), (652, 40), (722, 50), (774, 84), (800, 138), (804, 192), (796, 240),
    (786, 272), (780, 298),
]  # fmt: skip
_SHORT_TOP_INNER = [
    (556, 104), (578, 140), (628, 154), (690, 150), (738, 160), (762, 186), (771, 218),
    (775, 246), (777, 272), (779, 298),
]  # fmt: skip
_SHORT_SIDE_OUTER = [
    (576, 70), (536, 84), (500, 118), (480, 166), (476, 206), (483, 244), (493, 272), (500, 298),
]  # fmt: skip
_SHORT_SIDE_INNER = [
    (578, 106), (568, 132), (540, 154), (519, 182), (508, 214), (504, 244), (502, 272), (501, 298),
]  # fmt: skip

_CURLS_OUTER = [
    (498, 312), (470, 286), (450, 238), (452, 178), (474, 120), (514, 76), (572, 50), (640, 41),
    (708, 50), (766, 76), (806, 120), (828, 178), (830, 238), (810, 286), (782, 312),
]  # fmt: skip
_CURLS_INNER = [
    (503, 310), (503, 286), (502, 250), (510, 212), (528, 182), (556, 162), (598, 151), (640, 148),
    (682, 151), (724, 162), (752, 182), (770, 212), (778, 250), (777, 286), (777, 310),
]  # fmt: skip
"""From ear to ear, over the top."""

_SHORT = HairStyle(
    back=None,
    back_locks=(),
    locks=(
        lock(_SHORT_SIDE_OUTER, _SHORT_SIDE_INNER),
        lock(_SHORT_TOP_OUTER, _SHORT_TOP_INNER),
    ),
    parting=(562, 92),
    tips_y=None,
)

STYLES: dict[str, HairStyle] = {
    "waves": HairStyle(
        back=outline(_WAVES_BACK),
        back_locks=_pair(
            [(150, 300), (130, 420), (150, 620)],
            [(60, 300), (50, 420), (30, 620)],
        ),
        locks=(
            lock(_WAVES_RIGHT_OUTER, _WAVES_RIGHT_INNER),
            lock(_WAVES_LEFT_OUTER, _WAVES_LEFT_INNER),
        ),
        parting=(690, 76),
        tips_y=640,
        covers_ears=True,
    ),
    "bob": HairStyle(
        back=outline(_BOB_BACK),
        back_locks=_pair(
            [(150, 280), (136, 380), (140, 470)],
            [(60, 280), (50, 380), (40, 470)],
        ),
        locks=(
            lock(_BOB_LEFT_OUTER, _BOB_LEFT_INNER),
            lock(_BOB_RIGHT_OUTER, _BOB_RIGHT_INNER),
        ),
        parting=(588, 80),
        tips_y=500,
        covers_ears=True,
    ),
    "parted left": _SHORT,
    "parted right": _flipped(_SHORT),
    "curls": HairStyle(
        back=None,
        back_locks=(),
        locks=(lock(_CURLS_OUTER, _CURLS_INNER),),
        parting=(640, 60),
        tips_y=None,
        is_curly=True,
    ),
}
