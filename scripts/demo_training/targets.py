"""What the painter is taught to paint: drawn mouths, and the references they are painted into.

The targets are drawn from what the trained listener hears, not from what was spoken: sound does
not tell everything about a mouth, and a painter that has to guess paints a blurred average.  The
listener guesses smaller movements than the real ones, so they are stretched to the spread of the
real ones first.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from demo_training.corpus import Clip
from demo_training.files import whole_file
from demo_training.listening import clip_windows
from demo_training.networks import Lips, feature_rows
from demo_training.visemes import OPEN, PARTS, PRESS, ROUNDING, TEETH, TUCK, WIDTH
from demo_training.window import CROP_PX, WINDOW
from farm.demo.avatar import Portrait
from farm.demo.look import LOOKS
from farm.demo.motion import N_TEMPLATES, Pose, pose
from farm.demo.mouth import AT_REST, MouthShape
from farm.progress import progress_bar
from workers.families.synctalk_328_ave import SYNCTALK_328_AVE
from workers.features.windows import TENSOR_ROWS
from workers.geometry import Box
from workers.kernels.crop import crop_canvas

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]
U8 = NDArray[np.uint8]

N_GROUPS = 1000
MOUTHS_A_GROUP = 9  #: of one person in one pose
_TALKING_REFERENCES = 0.25  #: share of targets painted into a face that talks already
_CLIP_SHARE = 0.3  #: of the corpus that targets are picked from
_DEFAULT_LOOK_SHARE = 0.4
_MAX_STRETCH = 1.5
_SEED = 21


@dataclass(frozen=True, slots=True)
class Stretch:
    """Heard mouths to drawn ones: away from the ``mean`` by ``gain``, and shut when pressed."""

    mean: F32  #: shape (7,)
    gain: F32  #: shape (7,)

    def __call__(self, heard: F32) -> F32:
        """Float32 (n, 7) to float32 (n, 7)."""
        drawn = self.mean + (heard - self.mean) * self.gain
        t = np.clip((drawn[:, PRESS] - 0.5) / 0.35, 0, 1)
        parted = 1 - t * t * (3 - 2 * t)
        drawn[:, OPEN] *= parted
        drawn[:, TEETH] *= parted
        low = np.zeros(len(PARTS), np.float32)
        low[WIDTH] = -1
        return np.clip(drawn, low, 1.1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Targets:
    """``rows`` float16 (n, 16, 512); windows uint8 (n, 160, 192, 3), B, G, R."""

    rows: F16
    windows: U8
    references: U8
    reference_of: NDArray[np.int64]  #: shape (n,): the place of each target's reference

    def __len__(self) -> int:
        return len(self.windows)


@torch.no_grad()
def _heard(lips: Lips, clip: Clip) -> tuple[F16, F32]:
    """The rows under all frames, (F + 15, 512), and the mouths heard in them, (F, 7)."""
    features = lips.encoder(torch.from_numpy(clip_windows(clip.mel)))
    rows = feature_rows(features, len(clip.mouths))
    mouths = lips.head(lips.listener(rows.T[None]))[0].T.numpy()
    return rows.numpy().astype(np.float16), mouths


def _around(rows: F16, frame: int) -> F16:
    return rows[frame : frame + TENSOR_ROWS]


def write_targets(path: Path, lips: Lips, clips: Sequence[Clip], n_processes: int) -> None:
    """Pick moments of speech, draw the mouths that are heard in them, and keep both."""
    rng = np.random.default_rng(_SEED)
    chosen = [clip for clip in clips if rng.random() < _CLIP_SHARE]
    with progress_bar("targets: listening", len(chosen)) as advance:
        heard = []
        for clip in chosen:
            heard.append(_heard(lips, clip))
            advance()
    mouths = np.concatenate([m for _, m in heard])
    spoken = np.concatenate([clip.mouths for clip in chosen])
    gain = np.clip(spoken.std(0) / mouths.std(0), 1, _MAX_STRETCH)
    drawn = Stretch(mouths.mean(0), gain.astype(np.float32))(mouths)
    weight = _interest(drawn)
    picked = rng.choice(
        len(drawn), N_GROUPS * MOUTHS_A_GROUP, replace=False, p=weight / weight.sum()
    )
    every_row = [(rows, frame) for rows, m in heard for frame in range(len(m))]
    rows = np.stack(
        [rows[frame : frame + TENSOR_ROWS] for rows, frame in map(every_row.__getitem__, picked)]
    )
    groups = drawn[picked].reshape(N_GROUPS, MOUTHS_A_GROUP, len(PARTS))
    talking = drawn[rng.integers(0, len(drawn), N_GROUPS)]
    with (
        progress_bar("targets: drawing", N_GROUPS) as advance,
        ProcessPoolExecutor(n_processes) as pool,
    ):
        windows = []
        for group in pool.map(_draw_group, range(N_GROUPS), groups, talking, chunksize=4):
            windows.append(group)
            advance()
    every = np.stack(windows)
    first = 2 * np.arange(N_GROUPS).repeat(MOUTHS_A_GROUP)
    talks = rng.random(len(first)) < _TALKING_REFERENCES
    with whole_file(path) as file:
        np.savez(
            file,
            rows=rows,
            windows=every[:, 2:].reshape(-1, *every.shape[2:]),
            references=every[:, :2].reshape(-1, *every.shape[2:]),
            reference_of=first + talks,
        )


def read_targets(path: Path) -> Targets:
    with np.load(path) as kept:
        names = ("rows", "windows", "references", "reference_of")
        return Targets(*(kept[name] for name in names))


def _interest(drawn: F32) -> F32:
    """How much a mouth teaches: most of speech is nearly shut, and alike."""
    return (
        0.15
        + 2 * np.clip(drawn[:, OPEN], 0, 1)
        + 1.2 * np.clip(drawn[:, ROUNDING], 0, 1)
        + 0.8 * np.abs(drawn[:, WIDTH])
        + 0.7 * np.clip(drawn[:, TUCK], 0, 1)
        + 0.35 * (drawn[:, PRESS] > 0.6)
    )


def _draw_group(index: int, mouths: F32, talking: F32) -> U8:
    """One person in one pose: at rest, talking, and the targets; uint8 (2 + n, 160, 192, 3)."""
    rng = np.random.default_rng([_SEED, index])
    portrait = _portrait(_someone(rng))
    now = _some_pose(rng)
    box = portrait.box(now)
    if index % 2:
        now, box = _moved(now, box, rng)
    every = [AT_REST, *(MouthShape(*map(float, mouth)) for mouth in (talking, *mouths))]
    return np.stack([_window(portrait, now, mouth, box) for mouth in every])


def _someone(rng: np.random.Generator) -> str:
    default, *others = LOOKS
    return default if rng.random() < _DEFAULT_LOOK_SHARE else str(rng.choice(others))


def _some_pose(rng: np.random.Generator) -> Pose:
    return pose(int(rng.integers(N_TEMPLATES)))


def _moved(now: Pose, box: Box, rng: np.random.Generator) -> tuple[Pose, Box]:
    """A head and a box where the walk has none."""
    moved = Pose(
        head_x_px=now.head_x_px * 1.4 + rng.uniform(-4, 4),
        head_y_px=now.head_y_px * 1.4 + rng.uniform(-3, 3),
        head_turn_deg=now.head_turn_deg * 1.4 + rng.uniform(-0.5, 0.5),
        head_scale=now.head_scale + rng.uniform(-0.015, 0.015),
        body_x_px=now.body_x_px,
        body_y_px=now.body_y_px,
        lid=now.lid,
        brow_px=now.brow_px,
    )
    dx, dy, growth = (int(v) for v in rng.integers(-4, 5, 3))
    return moved, Box(box.x + dx, box.y + dy, box.side + growth)


def _window(portrait: Portrait, now: Pose, mouth: MouthShape, box: Box) -> U8:
    pixels = portrait.box_rgb(now, mouth, box)
    canvas = crop_canvas(pixels, Box(0, 0, box.side), SYNCTALK_328_AVE.canvas_px)
    border = (SYNCTALK_328_AVE.canvas_px - CROP_PX) // 2
    inner = canvas[border : border + CROP_PX, border : border + CROP_PX]
    return np.ascontiguousarray(inner[WINDOW.y0 : WINDOW.y1, WINDOW.x0 : WINDOW.x1, ::-1])


@cache
def _portrait(look: str) -> Portrait:
    return Portrait(LOOKS[look])
