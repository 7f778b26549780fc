"""Where in the crop the painter paints."""

from workers.families.synctalk_328_ave import SYNCTALK_328_AVE
from workers.geometry import Rect

CROP_PX = SYNCTALK_328_AVE.inner_px
HOLE = SYNCTALK_328_AVE.blackout

WINDOW = Rect(64, 104, 256, 264)
"""Columns and rows of the inner crop that a mouth may change; sides are multiples of 32."""
