"""Make an int8 model pair of a float one: two directories, an avatar and speech between them."""

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from farm.avatars import only_builder
from farm.calibration_frames import Speech, frames_of, read_speeches
from farm.errors import ModelNotWritten
from farm.signals import raise_if_ended
from workers.avatar import Bundle
from workers.comparison import BATCH, fidelity, ms_per_frame, painted
from workers.devices import ON_CPU
from workers.directories import put_in_place
from workers.encoder import Encoder
from workers.int8 import Bar, int8_unet
from workers.model import Model
from workers.model_file import self_contained
from workers.pair import ModelPair
from workers.quality import MIN_PSNR_DB
from workers.unet import load_unet

QUANTIZER_VERSION = 1  #: raise it when the same files would give another model
REPORT = "quantized.json"  #: beside the two models: what they were made of, and how good they are
N_CALIBRATED, N_MEASURED = 64, 48  #: frames
ROUNDS = 6  #: that are timed


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeRequest:
    """What the caller asked for."""

    model: Path
    avatar: Bundle
    speeches: tuple[str, ...]  #: paths, or "-" for standard input
    output: Path
    min_psnr_db: float = MIN_PSNR_DB
    force: bool = False  #: replace another model that was quantised


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured where it was made, int8 against float32.

    Pixels are of frames that the model was not calibrated on; decibels are of PSNR.
    """

    crop_db: float  #: over the inner crops of all of them
    hole_db: float
    worst_frame_db: float
    worst_levels: int  #: of a pixel, 0..255
    measured_frames: int
    calibrated_frames: int
    layers: int
    layers_in_float: tuple[str, ...]
    float32_ms: float  #: a frame
    int8_ms: float
    batch: int  #: frames a call, on all cores
    float32_bytes: int  #: of the U-Net's file
    int8_bytes: int
    provider: str

    @property
    def speed_ratio(self) -> float:
        """Above 1: int8 is quicker here."""
        return self.float32_ms / self.int8_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """What was made, or was there already."""

    request: QuantizeRequest
    figures: Figures
    is_new: bool
    elapsed_s: float

    def to_json(self) -> dict[str, Any]:
        return {
            "output": str(self.request.output),
            "is_new": self.is_new,
            "elapsed_s": round(self.elapsed_s, 1),
            **_rounded(asdict(self.figures)),
            "speed_ratio": round(self.figures.speed_ratio, 2),
        }


def quantize_model(request: QuantizeRequest, bar: Bar) -> QuantizeReport:
    """Quantise the U-Net of a model pair; the encoder is copied as it is.

    The encoder stays in float: it is a fiftieth of the arithmetic, and the U-Net would inherit what
    it loses.  Does nothing when the very same has been made before; another quantised model is
    replaced only with ``force``, and anything else never.

    Raises ModelError, ModelNotWritten, AudioUnreadable and BundleError; then, as when it is
    interrupted, nothing has changed.
    """
    began = time.monotonic()
    target = request.output.resolve()
    pair = ModelPair.find(request.model)
    request.avatar.require_family(pair.family)
    _check_target(target, request)
    speeches = read_speeches(request.speeches)
    try:
        version = _version(pair, speeches, request)
        with only_builder(target):
            figures = None if request.force else _made_before(target, version, request)
            is_new = figures is None
            if figures is None:
                figures = _make(pair, speeches, target, version, request, _heeding(bar))
    except OSError as error:
        raise ModelNotWritten(f"{request.output}: cannot be written ({error.strerror})") from error
    return QuantizeReport(
        request=request,
        figures=figures,
        is_new=is_new,
        elapsed_s=time.monotonic() - began,
    )


def _make(
    pair: ModelPair,
    speeches: Sequence[Speech],
    target: Path,
    version: str,
    request: QuantizeRequest,
    bar: Bar,
) -> Figures:
    scratch = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    partial = Path(scratch)
    try:
        figures = _write_pair(pair, speeches, partial, request, bar)
        report = {"version": version, "sha256": _digests(partial), "figures": asdict(figures)}
        (partial / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        partial.chmod(0o755)
        raise_if_ended()
        put_in_place(partial, target)
        return figures
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_pair(
    pair: ModelPair,
    speeches: Sequence[Speech],
    partial: Path,
    request: QuantizeRequest,
    bar: Bar,
) -> Figures:
    model = Model(Encoder(pair), unet := load_unet(pair, ON_CPU))
    with bar("listening", sum(speech.n_frames for speech in speeches)) as advance:
        frames = frames_of(
            speeches,
            request.avatar,
            model,
            advance,
            n_calibrated=N_CALIBRATED,
            n_measured=N_MEASURED,
        )
    made = int8_unet(pair, frames.calibrated, least_db=request.min_psnr_db, bar=bar)
    (partial / pair.encoder.name).write_bytes(self_contained(pair.encoder))
    (partial / pair.unet.name).write_bytes(made.content)
    # Whatever is said of it is measured on what a farm would load.
    quantized = load_unet(ModelPair.find(partial), ON_CPU)
    with bar("measuring", 1) as advance:
        alike = fidelity(
            painted(quantized, frames.measured), painted(unet, frames.measured), pair.family
        )
        ms = ms_per_frame({"float32": unet, "int8": quantized}, frames.measured.some(BATCH), ROUNDS)
        advance()
    return Figures(
        crop_db=alike.crop_db,
        hole_db=alike.hole_db,
        worst_frame_db=alike.worst_frame_db,
        worst_levels=alike.worst_levels,
        measured_frames=alike.n_frames,
        calibrated_frames=len(frames.calibrated),
        layers=made.n_layers,
        layers_in_float=made.in_float,
        float32_ms=ms["float32"],
        int8_ms=ms["int8"],
        batch=min(BATCH, alike.n_frames),
        float32_bytes=len(self_contained(pair.unet)),
        int8_bytes=len(made.content),
        provider=quantized.provider,
    )


def _heeding(bar: Bar) -> Bar:
    """The same bar, whose every step hears of Ctrl-C: a library may have swallowed it."""

    @contextmanager
    def heeding(what: str, total: int) -> Iterator[Callable[[], None]]:
        with bar(what, total) as advance:

            def step() -> None:
                raise_if_ended()
                advance()

            yield step

    return heeding


def _check_target(target: Path, request: QuantizeRequest) -> None:
    """Nothing but what was made here is ever replaced, and never what is being read."""
    if request.model.resolve().is_relative_to(target):
        raise ModelNotWritten(f"{request.output}: holds the model that is to be quantised")
    is_empty = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not is_empty and not (target / REPORT).is_file():
        raise ModelNotWritten(
            f"{request.output}: is in the way, and was not made here; move it away"
        )


def _made_before(target: Path, version: str, request: QuantizeRequest) -> Figures | None:
    """The figures of the very same pair, if it is there, intact.

    Raises ModelNotWritten when another one is there.
    """
    if not (target / REPORT).exists():
        return None
    try:
        report = json.loads((target / REPORT).read_text("utf-8"))
        is_same, sums = report["version"] == version, report["sha256"]
        fields = report["figures"]
        figures = Figures(**{**fields, "layers_in_float": tuple(fields["layers_in_float"])})
    except (ValueError, KeyError, TypeError, RecursionError):
        is_same = False
    if not is_same:
        raise ModelNotWritten(
            f"{request.output}: exists already, and was made of something else; --force replaces it"
        )
    return figures if sums == _digests(target) else None


def _version(pair: ModelPair, speeches: Sequence[Speech], request: QuantizeRequest) -> str:
    """Changes whenever the pair would; the same for the same files, wherever they are."""
    made_of = [
        *(QUANTIZER_VERSION, importlib.metadata.version("lipfarm"), request.min_psnr_db),
        *(_sha256(self_contained(path)) for path in (pair.encoder, pair.unet)),
        *(pair.encoder.name, pair.unet.name, request.avatar.manifest.digest),
        *(speech.digest for speech in speeches),
    ]
    return "sha256:" + _sha256(json.dumps(made_of).encode())


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: _sha256(path.read_bytes()) for path in sorted(directory.glob("*.onnx"))}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in fields.items()}
