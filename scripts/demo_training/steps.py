"""Training in counted steps that can be stopped and taken up again.

What a step draws depends on its number alone, so a run that was interrupted goes on with the
steps it would have made.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from demo_training.files import whole_file
from farm.progress import progress_bar

STEPS_A_CHECKPOINT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long, and how fast: a linear warm-up, then a cosine to almost nothing."""

    n_steps: int
    peak_rate: float
    warm_up_steps: int

    def rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / self.warm_up_steps)
        return self.peak_rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / self.n_steps)) + 2e-5


def train(
    what: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    schedule: Schedule,
    checkpoint: Path,
    *,
    max_norm: float = 1.0,
) -> None:
    """Take the steps that ``checkpoint`` has not seen; it holds the result in the end.

    A parameter group may have ``share``, which its rate is multiplied with.
    """
    first, elapsed_s = _resumed(network, optimizer, checkpoint)
    began = time.monotonic() - elapsed_s
    recent = None
    with progress_bar(what, schedule.n_steps) as advance:
        for _ in range(first):
            advance()
        for step in range(first, schedule.n_steps):
            torch.manual_seed(step)
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step) * group.get("share", 1.0)
            network.train()
            value = loss(step)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), max_norm)
            optimizer.step()
            recent = value.item() if recent is None else 0.98 * recent + 0.02 * value.item()
            advance()
            done = step + 1
            if done % STEPS_A_CHECKPOINT == 0 or done == schedule.n_steps:
                elapsed_s = time.monotonic() - began
                _keep(network, optimizer, checkpoint, done, elapsed_s)
                print(
                    f"{what}: step {done}, loss {recent:.4f}, {elapsed_s / 60:.1f} min", flush=True
                )


def _resumed(
    network: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path
) -> tuple[int, float]:
    if not checkpoint.exists():
        return 0, 0.0
    kept = torch.load(checkpoint)
    network.load_state_dict(kept["network"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["step"], kept["elapsed_s"]


def _keep(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    checkpoint: Path,
    step: int,
    elapsed_s: float,
) -> None:
    kept = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "elapsed_s": elapsed_s,
    }
    with whole_file(checkpoint) as file:
        torch.save(kept, file)
