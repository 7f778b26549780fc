"""What tells one drawn person from another."""

from dataclasses import dataclass, field

from farm.demo.layers import Colour


def _rgb(code: str) -> Colour:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class MouthSize:
    """A shut mouth, in frame pixels."""

    half_width_px: float = 54.0
    upper_px: float = 16.0  #: thickness of the lip
    lower_px: float = 18.6
    smile_px: float = 10.5  #: how much higher the corners are than the middle


@dataclass(frozen=True, slots=True)
class Eyes:
    """Shares are of the pleasant average, 1."""

    height: float = 1.0
    lashes: float = 1.0
    brow_width: float = 1.0
    brow_arch: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """A person and the room behind; colours are R, G, B in 0..255."""

    skin: Colour
    skin_light: Colour  #: where the light falls
    skin_shade: Colour  #: where it does not
    blush: Colour
    lip: Colour
    lip_light: Colour
    lip_line: Colour  #: between the lips
    iris: Colour
    iris_light: Colour
    lash: Colour  #: also pupils
    brow: Colour
    hair: Colour
    hair_light: Colour
    hair_shade: Colour
    top: Colour
    top_light: Colour
    top_shade: Colour
    room_light: Colour
    room: Colour
    face: tuple[tuple[float, float], ...]
    """Right half of the outline, from its top to the chin, in frame pixels."""
    hair_style: str  #: a name in farm.demo.hair_styles
    mouth: MouthSize = field(default_factory=MouthSize)
    eyes: Eyes = field(default_factory=Eyes)
    nose_width: float = 1.0  #: share of the average
    neck_width: float = 1.0  #: likewise
    blushes: float = 1.0  #: strength of the blush, a share likewise
    stubble: float = 0.0  #: 0 none, 1 a beard of some days
    age: float = 0.0  #: 0 no lines in the face, 1 clear ones
    glasses: Colour | None = None  #: of the frame
    earrings: Colour | None = None


MAYA = Look(
    skin=_rgb("f2c6a6"),
    skin_light=_rgb("fde0c6"),
    skin_shade=_rgb("cf8a6b"),
    blush=_rgb("ee8f7d"),
    lip=_rgb("cc6a68"),
    lip_light=_rgb("eea49b"),
    lip_line=_rgb("7c3438"),
    iris=_rgb("6b4526"),
    iris_light=_rgb("b98248"),
    lash=_rgb("2b1c1c"),
    brow=_rgb("5b3828"),
    hair=_rgb("5e3826"),
    hair_light=_rgb("b67a4c"),
    hair_shade=_rgb("341d16"),
    top=_rgb("23807d"),
    top_light=_rgb("3fa59c"),
    top_shade=_rgb("125455"),
    room_light=_rgb("f4f1ea"),
    room=_rgb("b7cfd2"),
    face=(
        (640, 118), (704, 128), (755, 166), (780, 224), (786, 282), (777, 340), (755, 396),
        (724, 443), (690, 471), (664, 486), (640, 491),
    ),
    hair_style="waves",
)  # fmt: skip

_AMARA = Look(
    skin=_rgb("935f42"),
    skin_light=_rgb("c08a62"),
    skin_shade=_rgb("5c3526"),
    blush=_rgb("ab5442"),
    lip=_rgb("96494a"),
    lip_light=_rgb("cf8579"),
    lip_line=_rgb("47201f"),
    iris=_rgb("3a2416"),
    iris_light=_rgb("80522e"),
    lash=_rgb("17100f"),
    brow=_rgb("251916"),
    hair=_rgb("2b1f1c"),
    hair_light=_rgb("5e473c"),
    hair_shade=_rgb("140e0d"),
    top=_rgb("d69a30"),
    top_light=_rgb("f3c267"),
    top_shade=_rgb("a3691a"),
    room_light=_rgb("f7f0e5"),
    room=_rgb("dcbda2"),
    face=(
        (640, 118), (704, 128), (754, 166), (778, 224), (783, 282), (775, 340), (755, 398),
        (725, 445), (692, 473), (664, 487), (640, 491),
    ),
    hair_style="curls",
    mouth=MouthSize(half_width_px=55, upper_px=17.8, lower_px=21.5, smile_px=10),
    eyes=Eyes(height=1.04, lashes=1.1, brow_width=1.0),
    nose_width=1.2,
    blushes=0.7,
    earrings=_rgb("e2b04a"),
)  # fmt: skip

_LEO = Look(
    skin=_rgb("eec2a2"),
    skin_light=_rgb("fbdcc2"),
    skin_shade=_rgb("c58564"),
    blush=_rgb("e58e78"),
    lip=_rgb("c48172"),
    lip_light=_rgb("e0ac9b"),
    lip_line=_rgb("7c423b"),
    iris=_rgb("3d6a87"),
    iris_light=_rgb("8ab8cb"),
    lash=_rgb("3a2a22"),
    brow=_rgb("7d5d3a"),
    hair=_rgb("8d683f"),
    hair_light=_rgb("d3ad6e"),
    hair_shade=_rgb("583c22"),
    top=_rgb("37497a"),
    top_light=_rgb("5b74ab"),
    top_shade=_rgb("222d50"),
    room_light=_rgb("f0f2f5"),
    room=_rgb("aebed3"),
    face=(
        (640, 118), (704, 128), (756, 166), (780, 224), (785, 282), (781, 340), (769, 396),
        (745, 444), (702, 480), (668, 492), (640, 494),
    ),
    hair_style="parted left",
    mouth=MouthSize(half_width_px=54, upper_px=12.5, lower_px=15.5, smile_px=8.5),
    eyes=Eyes(height=0.88, lashes=0.45, brow_width=1.3, brow_arch=0.55),
    nose_width=1.12,
    neck_width=1.22,
    blushes=0.6,
    stubble=0.55,
)  # fmt: skip

_KENJI = Look(
    skin=_rgb("e2b38a"),
    skin_light=_rgb("f6d6b0"),
    skin_shade=_rgb("b47a55"),
    blush=_rgb("d98c6c"),
    lip=_rgb("bb7466"),
    lip_light=_rgb("dca494"),
    lip_line=_rgb("6f3832"),
    iris=_rgb("35231a"),
    iris_light=_rgb("775033"),
    lash=_rgb("1b1515"),
    brow=_rgb("221b1b"),
    hair=_rgb("25222a"),
    hair_light=_rgb("585663"),
    hair_shade=_rgb("100f13"),
    top=_rgb("8a3a45"),
    top_light=_rgb("b55f68"),
    top_shade=_rgb("5a222c"),
    room_light=_rgb("f4f1ea"),
    room=_rgb("c3c3b2"),
    face=(
        (640, 118), (704, 128), (756, 166), (781, 224), (787, 282), (780, 342), (761, 400),
        (730, 449), (692, 480), (664, 491), (640, 494),
    ),
    hair_style="parted right",
    mouth=MouthSize(half_width_px=51, upper_px=13.5, lower_px=16.5, smile_px=9),
    eyes=Eyes(height=0.82, lashes=0.5, brow_width=1.25, brow_arch=0.6),
    nose_width=1.1,
    neck_width=1.16,
    blushes=0.6,
)  # fmt: skip

_INES = Look(
    skin=_rgb("efcab2"),
    skin_light=_rgb("fde5d3"),
    skin_shade=_rgb("c88f78"),
    blush=_rgb("e99688"),
    lip=_rgb("bc6069"),
    lip_light=_rgb("e39d9d"),
    lip_line=_rgb("70303a"),
    iris=_rgb("47624f"),
    iris_light=_rgb("8dab88"),
    lash=_rgb("33282a"),
    brow=_rgb("7f7473"),
    hair=_rgb("a5a1a5"),
    hair_light=_rgb("e2e0e2"),
    hair_shade=_rgb("69646b"),
    top=_rgb("6a4a7c"),
    top_light=_rgb("9775a8"),
    top_shade=_rgb("452e54"),
    room_light=_rgb("f4f1f4"),
    room=_rgb("cbc4d6"),
    face=(
        (640, 118), (704, 128), (754, 166), (779, 224), (784, 282), (777, 340), (760, 396),
        (731, 443), (696, 474), (666, 488), (640, 492),
    ),
    hair_style="bob",
    mouth=MouthSize(half_width_px=52, upper_px=13.5, lower_px=16.5, smile_px=10.5),
    eyes=Eyes(height=0.92, lashes=0.7, brow_width=0.85, brow_arch=0.9),
    nose_width=1.06,
    age=0.6,
    glasses=_rgb("5a3348"),
)  # fmt: skip

LOOKS: dict[str, Look] = {
    "maya": MAYA,
    "amara": _AMARA,
    "leo": _LEO,
    "kenji": _KENJI,
    "ines": _INES,
}
"""The drawn people by name, the pleasant default first."""
