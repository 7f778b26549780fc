"""Poison: a picture that truly kills whoever works on it, as a crash of a kernel or driver would.

Python imports this file at the start of every process of a farm whose PYTHONPATH has its directory.
Nothing of the farm knows of it: a worker is given the picture like any other, and dies by SIGKILL
in the middle of its work.  Before that, a line about the task goes to a file.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROLE = "LIPFARM_TEST_POISONED_ROLE"  #: who dies of it
DEATHS = "LIPFARM_TEST_DEATHS"  #: the file
HELD_SUFFIX = ".held"  #: of a file that is there once a worker waits for a full batch
COLOUR = (250, 5, 250)  #: all of the picture; other avatars' pictures have many
MOST_DEATHS = 12  #: then it is harmless: a farm that blames nobody ends the test all the same
FULL_BATCH_S = 20.0  #: the farm of the tests allows 30 s of silence


def wait_for_full_batch() -> None:
    """Of the first batch nothing is made until the next one is there: that is a full one."""
    from workers.inference import InferenceWorker

    run = InferenceWorker._run

    def held_run(self: Any, task: Any, payloads: list[bytes]) -> None:
        if is_first():
            self._process._endpoint.socket.poll(1000 * FULL_BATCH_S)
        run(self, task, payloads)

    InferenceWorker._run = held_run


def is_first() -> bool:
    try:
        Path(os.environ[DEATHS] + HELD_SUFFIX).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def poison_inference() -> None:
    from workers.inference import InferenceWorker

    paint = InferenceWorker._paint

    def deadly_paint(self: Any, batch: Any) -> Any:
        crops = batch.gathered.crops[: batch.n_frames]
        if any(is_poison(crop) for crop in crops):
            die_of(len(crops), batch.task.serials)
        return paint(self, batch)

    InferenceWorker._paint = deadly_paint


def poison_compositor() -> None:
    from workers import frames
    from workers.compositor import CompositorWorker

    serials = noted_serials(CompositorWorker)
    blend = frames.blend

    def deadly_blend(patch: Any, *arguments: Any, **options: Any) -> Any:
        if is_poison(patch):
            die_of(len(serials), serials)
        return blend(patch, *arguments, **options)

    frames.blend = deadly_blend


def noted_serials(worker_class: Any) -> list[int]:
    """Whose work a worker has taken up, always the latest."""
    serials: list[int] = []
    handle = worker_class.handle

    def noted_handle(self: Any, task: Any, payloads: list[bytes]) -> None:
        serials[:] = getattr(task, "serials", [])
        handle(self, task, payloads)

    worker_class.handle = noted_handle
    return serials


def is_poison(picture: Any) -> bool:
    return bool((picture == COLOUR).all())


def die_of(n_frames: int, serials: list[int]) -> None:
    with open(os.environ[DEATHS], "a+") as deaths:
        deaths.seek(0)
        if len(deaths.readlines()) == MOST_DEATHS:
            return
        print(json.dumps([n_frames, len(set(serials))]), file=deaths)
    os.kill(os.getpid(), signal.SIGKILL)


POISONS: dict[str, Callable[[], None]] = {
    "inference": poison_inference,
    "compositor": poison_compositor,
}

if "--role" in sys.orig_argv:  # else it is no worker
    role = sys.orig_argv[sys.orig_argv.index("--role") + 1]
    if role == "inference":
        wait_for_full_batch()
    if role == os.environ[ROLE]:
        POISONS[role]()
