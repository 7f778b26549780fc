"""What tells one drawn person from another."""

from dataclasses import dataclass

from farm.demo.layers import Colour


def _rgb(code: str) -> Colour:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of a person and of the room behind, R, G, B in 0..255."""

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
)
