"""Folders of frames and boxes as other tools leave them, small and synthetic."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.material import clouds
from workers.arrays import U8
from workers.geometry import Box

WIDTH_PX, HEIGHT_PX = 96, 64
STEADY = tuple(Box(20 + k, 10, 40) for k in range(12))
"""More than ten, so that 10 comes before 2 for whoever sorts by letters."""

Four = tuple[int, int, int, int]


def template_frames(n: int = len(STEADY)) -> list[U8]:
    return list(clouds(n, WIDTH_PX, HEIGHT_PX))


def write_frames(folder: Path, name: str, frames: Sequence[U8]) -> None:
    """``name`` : with a place for the number, as frame_{:04d}.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number))


def corners(box: Box) -> Four:
    return (box.x, box.y, box.x + box.side, box.y + box.side)


def seed_folder(root: Path, boxes: Sequence[Box] = STEADY) -> Path:
    write_frames(root, "frame_{:04d}.png", template_frames(len(boxes)))
    (root / "crop_rects.json").write_text(json.dumps([corners(box) for box in boxes]))
    return root


def synctalk_folder(root: Path, boxes: Sequence[Box] = STEADY) -> Path:
    """PNGs here, where SyncTalk_2D has JPEGs, so that pixels can be compared."""
    write_frames(root / "full_body_img", "{}.png", template_frames(len(boxes)))
    (root / "landmarks").mkdir()
    for number, box in enumerate(boxes):
        write_landmarks(root / "landmarks" / f"{number}.lms", box)
    return root


def write_landmarks(path: Path, box: Box, n_points: int = 110) -> None:
    """Points beside the point, but for the three that make the box."""
    points = np.random.default_rng(1).uniform(0, 60, (n_points, 2))
    # Fractions are cut off, so these are as good as whole ones.
    points[1, 0] = box.x + 0.9
    points[31, 0] = box.x + box.side + 0.2
    points[52, 1] = box.y + 0.7
    path.write_text("".join(f"{x} {y}\n" for x, y in points))


def coords_folder(root: Path, fours: Sequence[object], frames: Sequence[U8] | None = None) -> Path:
    """``fours`` : whatever is to be pickled, one for each frame."""
    write_frames(root / "full_imgs", "{:08d}.png", frames or template_frames(len(fours)))
    (root / "face_imgs").mkdir()
    (root / "coords.pkl").write_bytes(pickle.dumps(list(fours)))
    return root
