"""A picture that truly kills whoever works on it: its job fails, at a small price, and no other.

``poison/sitecustomize.py`` makes it deadly, in real workers.  All orders of events that end in such
a death are in ``tests/unit/farm/test_poison.py``.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2
from pathlib import Path

import pytest

from farm.client import JobFailed, JobSpec
from tests.farm_process import FAST, RunningFarm, running_farm, wait_until
from tests.integration.poison.sitecustomize import COLOUR, DEATHS, HELD_SUFFIX, ROLE
from tests.leaks import left_segments
from tests.material import EDGE_BOXES, FAMILY, clouds, expected
from workers.arrays import F32
from workers.avatar_compiler import compile_avatar
from workers.model import Model

POISON = Path(__file__).parent / "poison"
SAMPLES_PER_FRAME = 640  # 16 kHz at 25 frames a second


@dataclass(frozen=True, slots=True)
class Death:
    """What a worker had taken up when it died of poison."""

    n_frames: int
    n_jobs: int


@dataclass(frozen=True, slots=True)
class PoisonedFarm:
    farm: RunningFarm
    notes: Path  #: of the dying

    def run(self, avatar: str, speech: F32) -> list[bytes]:
        with self.farm.client() as client:
            return list(client.submit(JobSpec(audio=speech, avatar=avatar)))

    @property
    def is_held(self) -> bool:
        """Whether the inference worker waits until there are frames enough for a full batch."""
        return Path(f"{self.notes}{HELD_SUFFIX}").exists()

    @property
    def deaths(self) -> list[Death]:
        return [Death(*json.loads(line)) for line in self.notes.read_text().splitlines()]

    @property
    def n_ended(self) -> int:
        """Processes of the farm, whatever they died of."""
        return self.farm.log().count("child ended")


@contextmanager
def poisoned_farm(data: Path, notes: Path, role: str, batch_size: int) -> Iterator[PoisonedFarm]:
    """One compositor: a batch's frames are all in its hands."""
    search = [str(POISON), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, search)),
        ROLE: role,
        DEATHS: str(notes),
    }
    options = ("--batch-size", str(batch_size), "--compositors", "1")
    with running_farm(data, config=FAST, options=options, **environment) as farm:
        yield PoisonedFarm(farm, notes)


def poisonous_avatar(data: Path, *, n_templates: int, deadly: int) -> None:
    pictures = list(clouds(n_templates))
    pictures[deadly][...] = COLOUR
    templates = [(picture, EDGE_BOXES[2]) for picture in pictures]
    directory = data / "avatars" / "bad"
    compile_avatar(templates, directory, avatar_id="bad", source_version="1", family=FAMILY)


@pytest.mark.parametrize(
    ("role", "batch_size"),
    # A compositor is given four frames at a time, however many a batch has.
    [("inference", 8), ("inference", 25), ("compositor", 4)],
)
def test_a_deadly_frame_in_a_batch_of_three_jobs_fails_its_own_job_only(
    data: Path, speech: F32, model: Model, tmp_path: Path, role: str, batch_size: int
) -> None:
    n_others = max(1, batch_size // 8)
    n_bad = batch_size - 2 * n_others
    deadly = 0  # always in the larger half: the longest search
    poisonous_avatar(data, n_templates=n_bad + 1, deadly=deadly)
    little = speech[: n_others * SAMPLES_PER_FRAME]
    parts = [("anna", little), ("bad", speech[: n_bad * SAMPLES_PER_FRAME]), ("ben", little)]

    with poisoned_farm(data, tmp_path / "deaths", role, batch_size) as poisoned:
        with ThreadPoolExecutor(4) as clients:
            before = clients.submit(poisoned.run, "ben", speech[:SAMPLES_PER_FRAME])
            wait_until(lambda: poisoned.is_held, poisoned.farm.process)
            first, bad, last = [clients.submit(poisoned.run, *part) for part in parts]
            with pytest.raises(JobFailed, match=f"frame {deadly} killed 2 {role}") as failed:
                bad.result()
        after = poisoned.run("anna", speech)
        deaths, n_ended = poisoned.deaths, poisoned.n_ended
    print(f"{len(deaths)} deaths: {deaths}")

    assert deaths[0] == Death(n_frames=batch_size, n_jobs=3), "the batch was not shared"
    assert failed.value.code == "POISON"
    assert len(deaths) <= (log2(batch_size) if role == "inference" else 0) + 3
    assert n_ended == len(deaths), "something else died"
    assert before.result() == expected(data, "ben", speech[:SAMPLES_PER_FRAME], model)
    assert first.result() == expected(data, "anna", little, model)
    assert last.result() == expected(data, "ben", little, model)
    assert after == expected(data, "anna", speech, model)
    assert poisoned.farm.process.returncode == 0
    assert left_segments() == []
