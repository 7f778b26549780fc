"""What a model file is, and how it would be served here: found by looking, then by trying."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from workers.arrays import F32, U8, Array
from workers.batch_axis import TOLERANCE, Run, Tensors, fixed_batch, in_batches
from workers.errors import ModelError
from workers.families import FAMILIES, Family
from workers.graph import batch_freed, wrapped
from workers.model_file import Contents, contents, self_contained
from workers.pair import ModelPair, UNetBinding, bind_unet, is_encoder_of
from workers.session import Session, TensorSpec, look_at
from workers.unet import ONE_LEVEL, Ends, PlainEnds, WrappedEnds

LARGE_BATCH = 8
WARM_CALLS = 3


@dataclass(frozen=True, slots=True)
class Call:
    """How long calls of so many items took."""

    batch: int
    first_ms: float  #: with what onnxruntime does once for a new size
    warm_ms: float  #: the quickest of some more


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What was seen when it was run."""

    provider: str
    promised_batch: int | None  #: the size in its batch axis; None: none, any may come
    fixed_batch: int | None  #: the only size it takes; None: two give what two of one give
    is_wrapped: bool | None  #: whether its ends become bytes; None: an encoder's do not
    served_plainly: str  #: why not; empty: they do
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """All that is known of a file."""

    path: Path
    n_bytes: int  #: without weights in files beside it
    contents: Contents
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    role: str | None  #: "U-Net" or "audio encoder"; None: fits no family
    families: tuple[Family, ...]  #: whose shapes it has; encoders may be shared
    serving: Serving | None  #: None for what fits no family: that is not run


def probe(path: Path) -> Probe:
    """Raises ModelError for what is no model, or a model of ours that does not run."""
    if not path.is_file():  # a pipe would be waited for
        raise ModelError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    inputs, outputs = look_at(path)
    role: str | None = None
    families: tuple[Family, ...] = ()
    serving: Serving | None = None
    if binding := bind_unet(inputs, outputs):
        role, families, serving = "U-Net", (binding.family,), _unet_serving(path, binding)
    elif owners := [f for f in FAMILIES.values() if is_encoder_of(f, inputs, outputs)]:
        role, families = "audio encoder", tuple(owners)
        serving = _encoder_serving(path, inputs[0], owners[0])
    return Probe(
        path=path,
        n_bytes=path.stat().st_size,
        contents=contents(path),
        inputs=inputs,
        outputs=outputs,
        role=role,
        families=families,
        serving=serving,
    )


def pair_verdict(directory: Path) -> str:
    """Whether the files of a directory make a pair that can be served, in a sentence."""
    try:
        pair = ModelPair.find(directory)
    except ModelError as error:
        return f"no pair: {error}"
    return f"a pair of {pair.family.name}: {pair.encoder.name} hears, {pair.unet.name} paints"


Trial: TypeAlias = Callable[[int], Tensors]
"""Inputs of so many items."""


def _unet_serving(path: Path, binding: UNetBinding) -> Serving:
    family, promised = binding.family, binding.image.shape[0]

    def trial(n: int) -> Tensors:
        rng = np.random.default_rng(0)
        crops: U8 = rng.integers(0, 256, (n, *family.crop_shape), np.uint8)
        audio: F32 = rng.random((n, *family.audio_shape), np.float32)
        return {"crops": crops, "audio": audio}

    def serving(session: Session, ends: Ends) -> Serving:
        return _serving(session, _painting(ends, family), trial, promised, ONE_LEVEL)

    try:
        session = Session(path, content=wrapped(self_contained(path), family, binding.image.name))
        return replace(serving(session, WrappedEnds(session)), is_wrapped=True)
    except ModelError as error:
        session = Session(path)
        with _named(path):
            plainly = serving(session, PlainEnds(session, binding))
        return replace(plainly, is_wrapped=False, served_plainly=str(error))


def _painting(ends: Ends, family: Family) -> Run:
    def run(tensors: Tensors) -> Array:
        painted = np.empty((len(tensors["crops"]), *family.painted_shape), np.uint8)
        ends.paint_into(tensors["crops"], tensors["audio"], painted)
        return painted[..., :3]

    return run


def _encoder_serving(path: Path, window: TensorSpec, family: Family) -> Serving:
    promised = window.shape[0]

    def trial(n: int) -> Tensors:
        windows = np.random.default_rng(0).random((n, *family.encoder_shape), np.float32)
        return {window.name: windows}

    if promised is not None:
        with suppress(ModelError):  # a size inside as well: served in slices of it
            session = Session(path, content=batch_freed(self_contained(path)))
            return _serving(session, session.run, trial, promised)
    session = Session(path)
    with _named(path):
        return _serving(session, session.run, trial, promised)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: does not run ({error})") from error


def _serving(
    session: Session,
    run: Run,
    trial: Trial,
    promised: int | None,
    tolerance: float = TOLERANCE,
) -> Serving:
    size = promised or 1
    first_ms = _ms(run, trial(size))
    fixed = fixed_batch(run, trial(size), tolerance)

    def sliced(tensors: Tensors) -> Array:
        return in_batches(run, tensors, fixed)

    small, large = trial(size), trial(LARGE_BATCH)
    calls = (
        Call(size, first_ms, _warm_ms(sliced, small)),
        Call(LARGE_BATCH, _ms(sliced, large), _warm_ms(sliced, large)),
    )
    return Serving(
        provider=session.provider,
        promised_batch=promised,
        fixed_batch=fixed,
        is_wrapped=None,
        served_plainly="",
        calls=calls,
    )


def _warm_ms(run: Run, inputs: Tensors) -> float:
    return min(_ms(run, inputs) for _ in range(WARM_CALLS))


def _ms(run: Run, inputs: Tensors) -> float:
    begin = time.perf_counter()
    run(inputs)
    return 1e3 * (time.perf_counter() - begin)
