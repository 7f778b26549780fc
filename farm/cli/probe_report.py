"""What ``farm model probe`` says of a file: a table for people, JSON for programs."""

from pathlib import Path
from typing import Any

from workers.errors import ModelError
from workers.families import FAMILIES, Family
from workers.features.windows import FPS
from workers.probe import Call, Probe, Serving
from workers.session import TensorSpec


def files_of(path: Path) -> list[Path]:
    """The file itself, or the .onnx files of a directory.  Raises ModelError for an empty one."""
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.onnx"))
    if not files:
        raise ModelError(f"{path}: holds no .onnx file")
    return files


def rows(probe: Probe) -> list[tuple[str, str]]:
    """A table's rows."""
    inside = probe.contents
    numbers = ", ".join(f"{n:,} {dtype}" for dtype, n in inside.n_numbers.items()) or "none"
    by = f" by {inside.producer}" if inside.producer else ""
    known = [
        ("file", f"{probe.path}, {probe.n_bytes / 1e6:.2f} MB"),
        ("is", _identity(probe)),
        ("inputs", ", ".join(map(str, probe.inputs))),
        ("outputs", ", ".join(map(str, probe.outputs))),
        ("graph", f"{inside.n_nodes} nodes of opset {inside.opset}{by}"),
        ("numbers", numbers),
    ]
    return [*known, *_served(probe.serving)] if probe.serving else known


def _identity(probe: Probe) -> str:
    if probe.role is None:
        return f"of no known family ({', '.join(FAMILIES)})"
    return f"{probe.role} of {', '.join(map(_described, probe.families))}"


def _described(family: Family) -> str:
    hole = family.blackout
    return (
        f"{family.name}: {FPS} frames/s, canvas {family.canvas_px}, inner square"
        f" {family.inner_px}, hole {hole.width}x{hole.height} at {hole.x0},{hole.y0}"
    )


def _served(serving: Serving) -> list[tuple[str, str]]:
    ends = f"stay float: {serving.served_plainly}" if serving.served_plainly else "become bytes"
    calls = "; ".join(
        f"{call.warm_ms:.1f} ms for {call.batch}, the first {call.first_ms:.1f}"
        for call in serving.calls
    )
    return [
        ("batch", _batch(serving)),
        *([("ends", ends)] if serving.is_wrapped is not None else []),
        ("runs on", serving.provider),
        ("calls", calls),
    ]


def _batch(serving: Serving) -> str:
    promised, fixed = serving.promised_batch, serving.fixed_batch
    if fixed is not None:
        return f"{fixed} alone: a batch of {2 * fixed} does not give what two of {fixed} do"
    proof = "two give what two of one give"
    if promised is None:
        return f"any: {proof}"
    proof = f"{2 * promised} give what two of {promised} give"
    return f"frozen at {promised} in the file, and freed: {proof}"


def to_json(probe: Probe) -> dict[str, Any]:
    inside, serving = probe.contents, probe.serving
    return {
        "file": str(probe.path),
        "bytes": probe.n_bytes,
        "role": probe.role,
        "families": [_family(family) for family in probe.families],
        "known_families": list(FAMILIES),
        "inputs": [_tensor(spec) for spec in probe.inputs],
        "outputs": [_tensor(spec) for spec in probe.outputs],
        "opset": inside.opset,
        "producer": inside.producer,
        "nodes": inside.n_nodes,
        "numbers": inside.n_numbers,
        "serving": None if serving is None else _serving(serving),
    }


def _serving(serving: Serving) -> dict[str, Any]:
    return {
        "provider": serving.provider,
        "promised_batch": serving.promised_batch,
        "fixed_batch": serving.fixed_batch,
        "is_wrapped": serving.is_wrapped,
        "served_plainly": serving.served_plainly,
        "calls": [_call(call) for call in serving.calls],
    }


def _call(call: Call) -> dict[str, Any]:
    return {
        "batch": call.batch,
        "first_ms": round(call.first_ms, 2),
        "warm_ms": round(call.warm_ms, 2),
    }


def _family(family: Family) -> dict[str, Any]:
    hole = family.blackout
    return {
        "name": family.name,
        "fps": FPS,
        "canvas_px": family.canvas_px,
        "inner_px": family.inner_px,
        "hole": [hole.x0, hole.y0, hole.width, hole.height],
        "image_shape": family.image_shape,
        "audio_shape": family.audio_shape,
        "encoder_shape": family.encoder_shape,
        "feature_size": family.feature_size,
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}
