"""The model families lipfarm can serve: one file each, one line here."""

from workers.families.family import Family
from workers.families.synctalk_328_ave import SYNCTALK_328_AVE

FAMILIES: dict[str, Family] = {family.name: family for family in (SYNCTALK_328_AVE,)}

__all__ = ["FAMILIES", "Family"]
