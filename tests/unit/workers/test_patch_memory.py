"""A patch in the memory of earlier ones has its own pixels wherever nothing will hide them."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.material import FAMILY, clouds
from workers.arrays import U8
from workers.avatar_compiler import compile_avatar
from workers.geometry import Box, Rect
from workers.kernels.patch_memory import MAX_IMAGES, NOTHING, PatchMemory


def noise(width: int, height: int, seed: int = 0) -> U8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def rgb(image: Image.Image) -> U8:
    assert image.mode == "RGBX"
    return np.asarray(image)[..., :3]


def spans(length: int) -> st.SearchStrategy[tuple[int, int]]:
    ends = st.integers(0, length)
    return st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair)))


@st.composite
def patches(draw: st.DrawFn) -> tuple[U8, Rect]:
    """With a part of each that is hidden, down to single pixels and up to all of it."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    (x0, x1), (y0, y1) = draw(spans(width)), draw(spans(height))
    return noise(width, height, draw(st.integers(0, 9))), Rect(x0, y0, x1, y1)


@settings(deadline=None, max_examples=300)
@given(st.lists(patches(), min_size=1, max_size=6))
def test_all_that_is_not_hidden_is_the_patchs_own(sequence: list[tuple[U8, Rect]]) -> None:
    memory = PatchMemory()
    for patch, hidden in sequence:
        pixels = rgb(memory.image(patch, hidden)).copy()

        inside = np.s_[hidden.y0 : hidden.y1, hidden.x0 : hidden.x1]
        pixels[inside] = patch[inside]
        assert np.array_equal(pixels, patch)


def test_what_is_pasted_lies_in_the_memory() -> None:
    """Else Pillow has taken a copy, and each frame costs one."""
    memory, patch = PatchMemory(), noise(30, 20)
    hidden = Rect(0, 0, 30, 19)

    memory.image(patch).paste((1, 2, 3, 4), (0, 0, 30, 20))

    assert (rgb(memory.image(patch, hidden))[:19] == (1, 2, 3)).all()
    assert np.array_equal(rgb(memory.image(patch, NOTHING)), patch)


def test_an_image_that_pillow_has_copied_is_not_used_again() -> None:
    memory, patches = PatchMemory(), [noise(30, 20, seed) for seed in range(2)]
    image = memory.image(patches[0])
    image.readonly = 1

    image.paste((1, 2, 3, 4), (0, 0, 5, 5))

    assert np.array_equal(rgb(memory.image(patches[1])), patches[1])


def test_patches_of_many_sizes_do_not_disturb_each_other() -> None:
    memory = PatchMemory()
    for width in [*range(1, 2 * MAX_IMAGES), *range(2 * MAX_IMAGES, 0, -1)]:
        patch = noise(width, 3)

        assert np.array_equal(rgb(memory.image(patch)), patch)


def test_a_patch_may_be_any_array(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (20, 30, 4), np.uint8)
    for patch in (pixels[..., :3], pixels[::-1, 5:, :3], pixels[..., 2::-1]):
        patch.flags.writeable = False

        assert np.array_equal(rgb(PatchMemory().image(patch)), patch)
        assert np.array_equal(rgb(PatchMemory().image(patch, Rect(3, 4, 3, 9))), patch)


@pytest.mark.parametrize("hidden", [NOTHING, Rect(10, 0, 20, 64), Rect(0, 0, 64, 63)])
def test_nothing_is_read_behind_the_end_of_a_file(tmp_path: Path, hidden: Rect) -> None:
    """The file ends with a page: behind it nothing is mapped."""
    path, patch = tmp_path / "patches", noise(64, 64)
    path.write_bytes(patch.tobytes())
    mapped = np.asarray(np.memmap(path, np.uint8, mode="r")).reshape(patch.shape)

    image = PatchMemory().image(mapped, hidden)

    assert mapped.nbytes % 4096 == 0
    assert np.array_equal(rgb(image)[-1, -1], patch[-1, -1])


FRAMES = """
import resource, sys
from pathlib import Path
import numpy as np
from workers.avatar import Bundle
from workers.families import FAMILIES
from workers.frames import Finisher
from workers.stages import StageTimes

bundle = Bundle(Path(sys.argv[1]))
finisher = Finisher(FAMILIES[bundle.manifest.family], StageTimes())
painted = np.zeros((328, 328, 4), np.uint8)
for frame in range(40):
    if frame == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    finisher.jpeg(bundle, frame, painted)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's malloc")
def test_frames_take_the_memory_of_those_before(tmp_path: Path) -> None:
    """In a process that has freed nothing large yet: a page that the system gives is a fault."""
    compile_avatar(
        ((frame, Box(40, 50, 300)) for frame in clouds(1, 400, 400)),
        tmp_path / "a",
        avatar_id="a",
        source_version="1",
        family=FAMILY,
        paste="hard",
    )

    output = subprocess.run(
        [sys.executable, "-c", FRAMES, tmp_path / "a"], check=True, stdout=subprocess.PIPE
    ).stdout

    assert float(output) < 10
