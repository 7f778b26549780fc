"""A spliced frame is the frame: byte for byte what encoding the whole picture gives."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.material import EDGE_BOXES, EDGE_HEIGHT_PX, EDGE_WIDTH_PX, FAMILY, clouds, psnr_db
from workers.arrays import U8
from workers.avatar import Bundle
from workers.avatar_compiler import compile_avatar
from workers.frames import Finisher, crops_of
from workers.geometry import Box, Rect
from workers.kernels.backends import BACKENDS
from workers.kernels.jpeg import encode_jpeg
from workers.kernels.paste import PASTES, blend, face
from workers.kernels.splice import join
from workers.stages import StageTimes

BOXES = (*EDGE_BOXES, Box(-178, -178, 182), Box(0, 0, 243), Box(-60, -60, 500))
FRAME = Rect(0, 0, EDGE_WIDTH_PX, EDGE_HEIGHT_PX)


@pytest.fixture
def finisher() -> Finisher:
    return Finisher(FAMILY, StageTimes())


def built(directory: Path, **options: object) -> Bundle:
    templates = zip(clouds(len(BOXES)), BOXES, strict=True)
    compile_avatar(
        templates,
        directory / "a",
        avatar_id="a",
        source_version="1",
        family=FAMILY,
        **options,  # type: ignore[arg-type]
    )
    return Bundle(directory / "a")


def blots(rng: np.random.Generator) -> U8:
    """A painted crop: coloured blots."""
    coarse = rng.integers(0, 256, (20, 20, 4), dtype=np.uint8)
    image = Image.frombytes("RGBX", (20, 20), coarse.tobytes())
    return np.asarray(image.resize((328, 328), Image.Resampling.BICUBIC))


def composited(bundle: Bundle, index: int, painted: U8) -> Image.Image:
    """The whole finished picture, from the source's own pixels."""
    frame, box = list(clouds(len(BOXES)))[index], BOXES[index]
    paste = bundle.manifest.paste
    mouth = face(painted, box.side, paste, FAMILY)
    return blend(frame, FRAME, mouth, box, paste, FAMILY).convert("RGB")


@pytest.mark.parametrize("chroma", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [40, 90])
@pytest.mark.parametrize("paste", PASTES)
def test_a_spliced_frame_is_the_whole_picture_encoded(
    tmp_path: Path,
    rng: np.random.Generator,
    finisher: Finisher,
    paste: str,
    quality: int,
    chroma: str,
) -> None:
    bundle = built(tmp_path, paste=paste, quality=quality, chroma=chroma)
    settings = bundle.manifest.grid.settings
    assert (settings.quality, settings.chroma) == (quality, chroma)
    for index in range(len(BOXES)):
        painted = blots(rng)

        jpeg = finisher.jpeg(bundle, index, painted)

        whole = composited(bundle, index, painted)
        assert jpeg == encode_jpeg(whole, settings)
        assert join(bundle.template(index), finisher.change(bundle, index, painted)) == jpeg
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert psnr_db(decoded, np.asarray(whole)) > 24


def test_another_quality_is_encoded_whole(
    edge_bundle: Bundle, rng: np.random.Generator, finisher: Finisher
) -> None:
    painted = blots(rng)
    for index in range(len(EDGE_BOXES)):
        own = finisher.jpeg(edge_bundle, index, painted)
        coarse = finisher.jpeg(edge_bundle, index, painted, quality=30)

        assert finisher.jpeg(edge_bundle, index, painted, quality=90) == own
        assert len(coarse) < len(own) / 2
        assert psnr_db(pixels(coarse), pixels(own)) > 28


def test_a_template_that_no_mouth_reaches_is_sent_as_it_is(
    tmp_path: Path, rng: np.random.Generator, finisher: Finisher
) -> None:
    bundle = built(tmp_path, paste="feather")  # of the fifth box only a corner is in the frame
    assert bundle.patch_rect(4).is_empty()

    jpeg = finisher.jpeg(bundle, 4, blots(rng))

    assert jpeg == encode_jpeg(Image.fromarray(list(clouds(5))[4]), bundle.manifest.grid.settings)
    assert len(finisher.jpeg(bundle, 4, blots(rng), quality=30)) < len(jpeg)


@pytest.mark.parametrize("paste", PASTES)
def test_every_back_end_makes_the_same_frames(
    tmp_path: Path, rng: np.random.Generator, paste: str
) -> None:
    bundle = built(tmp_path, paste=paste)
    finishers = [Finisher(FAMILY, StageTimes(), backend) for backend in BACKENDS]
    for index in range(len(BOXES)):
        painted = blots(rng)

        jpegs = {finisher.jpeg(bundle, index, painted) for finisher in finishers}

        assert len(jpegs) == 1


def test_frames_do_not_depend_on_those_that_were_finished_before(
    tmp_path: Path, rng: np.random.Generator, finisher: Finisher
) -> None:
    bundles = [
        built(tmp_path / f"{paste} {chroma}", paste=paste, chroma=chroma)
        for paste in PASTES
        for chroma in ("4:2:0", "4:4:4")
    ]
    painted = [blots(rng) for _ in BOXES]
    for _ in range(60):
        bundle, index = bundles[rng.integers(len(bundles))], int(rng.integers(len(BOXES)))
        quality = [None, 30][int(rng.integers(2))]

        jpeg = finisher.jpeg(bundle, index, painted[index], quality)

        alone = Finisher(FAMILY, StageTimes())
        assert jpeg == alone.jpeg(bundle, index, painted[index], quality)


def test_the_true_crop_gives_the_template_back(edge_bundle: Bundle, finisher: Finisher) -> None:
    for index in range(len(EDGE_BOXES)):
        (crop,) = crops_of(edge_bundle, range(index, index + 1))
        truth = np.pad(crop, [(0, 0), (0, 0), (0, 1)])

        jpeg = finisher.jpeg(edge_bundle, index, truth)

        assert psnr_db(pixels(jpeg), np.asarray(edge_bundle.frame(index))) > 34


def pixels(jpeg: bytes) -> U8:
    return np.asarray(Image.open(io.BytesIO(jpeg)))
