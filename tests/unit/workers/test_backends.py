"""Every back end's kernels against the plain references."""

import numpy as np
import pytest
from PIL import Image

from tests.material import FAMILY
from workers.arrays import F32, U8
from workers.errors import NotFinite
from workers.kernels.backends import BACKENDS, kernels, mix_by_numpy
from workers.kernels.crop import cubic_taps, weighted_by_numpy
from workers.kernels.expressions import mix as mix_by_numexpr
from workers.kernels.expressions import weighted_taps
from workers.kernels.reference import mix, resize_bicubic
from workers.kernels.tensors import as_image, to_pixels


def outputs(rng: np.random.Generator) -> list[F32]:
    """What models give: in range, beyond it, and at its very edges."""
    inside = rng.random((3, 320, 320), np.float32)
    levels = np.float32(1) / np.float32(255) * np.arange(256, dtype=np.float32)
    edges = np.array([0, -0.0, 1, np.nextafter(np.float32(1), 2), -1e-45, -3e38, 3e38], np.float32)
    around = np.concatenate([np.nextafter(levels, 2), levels, np.nextafter(levels, -2), edges])
    return [inside, inside * 4 - 2, np.resize(around, (3, 320, 320)), inside[:, :7, :5].copy()]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_models_output_gives_the_reference_pixels(rng: np.random.Generator, backend: str) -> None:
    converter = kernels(backend).converter()
    for output in outputs(rng):
        pixels = converter.rgbx(output)

        assert np.array_equal(pixels[..., :3], to_pixels(output[None])[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error_in_all(backend: str, value: float) -> None:
    output = np.zeros(FAMILY.output_shape, np.float32)
    output[2, 319, 319] = value

    with pytest.raises(NotFinite):
        kernels(backend).converter().rgbx(output)


def every_pair() -> tuple[U8, U8]:
    levels = np.arange(256, dtype=np.uint8)
    old, new = np.broadcast_arrays(levels[:, None], levels)
    return np.repeat(old[..., None], 4, axis=2), np.repeat(new[..., None], 4, axis=2)


@pytest.mark.parametrize("mix_by", [mix_by_numpy, mix_by_numexpr])
def test_mixing_is_exact_for_all_levels_and_shares(mix_by: object) -> None:
    old, new = every_pair()
    for share in range(256):
        shares = np.full((256, 256, 1), share, np.uint8)

        assert np.array_equal(mix_by(old, new, shares), mix(old, new, shares))  # type: ignore[operator]


@pytest.mark.parametrize("backend", BACKENDS)
def test_pasting_mixes_as_the_reference_does(rng: np.random.Generator, backend: str) -> None:
    old = rng.integers(0, 256, (50, 60, 4), dtype=np.uint8)
    new = rng.integers(0, 256, (20, 31, 4), dtype=np.uint8)
    share = rng.integers(0, 256, (20, 31), dtype=np.uint8)
    image = as_image(old).copy()

    kernels(backend).paste_mixed(image, as_image(new), (7, 30), Image.fromarray(share))

    expected = old.copy()
    expected[30:50, 7:38] = mix(old[30:50, 7:38], new, share[..., None])
    assert np.array_equal(np.asarray(image)[..., :3], expected[..., :3])


@pytest.mark.parametrize("side", [20, 96, 182, 300, 328, 330, 601])
def test_pillows_resize_is_the_reference_within_two_levels(
    rng: np.random.Generator, side: int
) -> None:
    canvas = rng.integers(0, 256, (328, 328, 4), dtype=np.uint8)

    ours = np.asarray(as_image(canvas).resize((side, side), Image.Resampling.BICUBIC))

    differ = np.abs(ours[..., :3].astype(int) - resize_bicubic(canvas[..., :3], side))
    assert differ.max() <= 2
    assert (differ > 1).mean() < 1e-3


@pytest.mark.parametrize("side", [17, 182, 300, 600])
def test_numexpr_weighs_taps_as_numpy_does(rng: np.random.Generator, side: int) -> None:
    lines = rng.integers(0, 256, (side, 40, 3), dtype=np.uint8)
    taps, weights = cubic_taps(side, 328)

    assert np.allclose(weighted_taps(lines, taps, weights), weighted_by_numpy(lines, taps, weights))
