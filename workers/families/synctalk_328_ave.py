"""SyncTalk_2D, 328 pixels, audio mode "ave".

Source: SyncTalk_2D's ``inference_328.py``.  Its ``cv2.rectangle(img, (5, 5, 310, 305), ...)`` reads
the tuple as x, y, width, height: columns 5..314 and rows 5..309 are black, not 5..310 and 5..305.
"""

from workers.families.family import Family
from workers.geometry import Rect

SYNCTALK_328_AVE = Family(
    name="synctalk-328-ave",
    image_shape=(6, 320, 320),
    audio_shape=(32, 16, 16),
    encoder_shape=(1, 80, 16),
    feature_size=512,
    canvas_px=328,
    inner_px=320,
    blackout=Rect(5, 5, 5 + 310, 5 + 305),
)
