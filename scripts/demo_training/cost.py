"""What a model costs, and whether its files do what they were exported to do."""

import tempfile
import time
from pathlib import Path

import make_full_model
import numpy as np

from workers.devices import ONE_THREAD
from workers.session import Session

N_TIMINGS = 20


def cost(model: Path) -> dict[str, float]:
    """One thread, one frame at a time, both models in turn."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        make_full_model.write(Path(scratch))
        sessions = {
            "demo": Session(model / "unet.onnx", ONE_THREAD),
            "full": Session(Path(scratch) / "unet.onnx", ONE_THREAD),
        }
    took_s: dict[str, list[float]] = {name: [] for name in sessions}
    visual = rng.uniform(0, 1, (1, 6, 320, 320)).astype(np.float32)
    audio = rng.uniform(0, 1, (1, 32, 16, 16)).astype(np.float32)
    for _ in range(N_TIMINGS):
        for name, session in sessions.items():
            feed = dict(zip(_names(session), (visual, audio), strict=True))
            began = time.perf_counter()
            session.run(feed)
            took_s[name].append(time.perf_counter() - began)
    ms = {name: 1e3 * float(np.median(times)) for name, times in took_s.items()}
    return {
        "demo_ms": ms["demo"],
        "full_ms": ms["full"],
        "cost_ratio": ms["demo"] / ms["full"],
    }


def _names(session: Session) -> list[str]:
    """Its inputs, the picture first."""
    return [spec.name for spec in sorted(session.inputs, key=lambda spec: spec.shape[1] != 6)]


def batch_difference(model: Path) -> float:
    """The largest difference between a batch and its items one by one, of both files."""
    rng, n, away = np.random.default_rng(0), 5, []
    for path in sorted(model.glob("*.onnx")):
        session = Session(path, ONE_THREAD)
        feed = {
            spec.name: rng.uniform(0, 1, (n, *spec.shape[1:])).astype(np.float32)
            for spec in session.inputs
        }
        whole = session.run(feed)
        single = [session.run({k: v[i : i + 1] for k, v in feed.items()})[0] for i in range(n)]
        away.append(float(np.abs(whole - np.stack(single)).max()))
    return max(away)


def torch_difference(model: Path, work: Path) -> dict[str, float]:
    """Against the trained networks, where they are."""
    if not (work / "painter.pt").exists():
        return {}
    import torch

    from demo_training.listening import load_listener
    from demo_training.painting import load_painter

    rng = np.random.default_rng(1)
    mel = rng.uniform(-4, 4, (4, 1, 80, 16)).astype(np.float32)
    visual = rng.uniform(0, 1, (4, 6, 320, 320)).astype(np.float32)
    audio = rng.uniform(0, 1, (4, 32, 16, 16)).astype(np.float32)
    with torch.no_grad():
        features = load_listener(work / "listener.pt").encoder(torch.from_numpy(mel)).numpy()
        painted = load_painter(work / "painter.pt")(
            torch.from_numpy(visual), torch.from_numpy(audio)
        ).numpy()
    encoder, unet = (Session(model / f"{n}.onnx", ONE_THREAD) for n in ("audio_encoder", "unet"))
    away = (
        np.abs(encoder.run({encoder.inputs[0].name: mel}) - features).max(),
        np.abs(unet.run(dict(zip(_names(unet), (visual, audio), strict=True))) - painted).max(),
    )
    return {"torch_difference": float(max(away))}
