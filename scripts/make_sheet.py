"""Make the contact sheet: each built-in person at moments of one sentence, as the farm shows them.

    scripts/make_sheet.py OUT.jpg [--model DIR]

A row is a person, a column a moment; everything is cut from finished frames.  The sentence and
its voice are held out.  Needs what ``train_demo.py`` needs.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from demo_training.corpus import utterances
from PIL import Image

from farm.avatars import DRAWN, find_avatar
from farm.paths import DEMO_MODEL, user_paths
from farm.progress import progress_bar
from workers.avatar import Bundle
from workers.frames import Finisher, crops_of
from workers.geometry import template_index
from workers.model import Model
from workers.sequential import batches
from workers.stages import StageTimes

SENTENCE = "Bubbles appear and pop when pepper meets soup."
N_MOMENTS = 10
FIRST_FRAME, FRAMES_APART = 14, 6
CELL_PX = 176
FACE_MARGIN = 0.12  #: of the box, above it
GAP_PX = 4


def _cells(
    speech: np.ndarray, bundle: Bundle, model: Model, moments: list[int]
) -> list[Image.Image]:
    """The face in the finished frame at each moment."""
    cells, finisher = {}, Finisher(model.family, StageTimes())
    for batch in batches([speech], model, batch_size=8, times=StageTimes()):
        frames = range(batch.first_frame, batch.first_frame + len(batch.audio))
        if not set(frames) & set(moments):
            continue
        painted = model.paint(crops_of(bundle, frames), batch.audio)
        for frame, crop in zip(frames, painted, strict=True):
            if frame in moments:
                jpeg = io.BytesIO(finisher.jpeg(bundle, frame, crop))
                cells[frame] = _face(Image.open(jpeg), bundle, frame)
    return [cells[moment] for moment in moments]


def _face(image: Image.Image, bundle: Bundle, frame: int) -> Image.Image:
    box = bundle.box(template_index(frame, bundle.manifest.n_templates))
    up = round(FACE_MARGIN * box.side)
    corners = (box.x, box.y - up, box.x + box.side, box.y + box.side - up)
    return image.crop(corners).resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    arguments = parser.parse_args()
    model = Model.load(arguments.model)
    utterance = next(u for u in utterances("held_voice") if u.text == SENTENCE)
    moments = [FIRST_FRAME + FRAMES_APART * k for k in range(N_MOMENTS)]
    rows = []
    with progress_bar("drawing", len(DRAWN)) as advance:
        for avatar in DRAWN:
            bundle = find_avatar(avatar, user_paths(), on_template=lambda: None)
            rows.append(_cells(utterance.speech, bundle, model, moments))
            advance()
    pitch = CELL_PX + GAP_PX
    sheet = Image.new("RGB", (N_MOMENTS * pitch - GAP_PX, len(rows) * pitch - GAP_PX), "white")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            sheet.paste(cell, (x * pitch, y * pitch))
    sheet.save(arguments.out, quality=88)
    print(f"{arguments.out}: {utterance.voice}: {utterance.text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
