"""Stage 2: from sound and a face to the face that says it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from demo_training.networks import Lips
from demo_training.painter import Painter
from demo_training.steps import Schedule, train
from demo_training.targets import MOUTHS_A_GROUP, Targets, read_targets

TARGETS_A_STEP = 12
SCHEDULE = Schedule(n_steps=5500, peak_rate=3e-3, warm_up_steps=100)
STEADY_SHARE = 0.2  #: of the steps, the last ones, with batch norms as they will be used
N_VALIDATION = 40 * MOUTHS_A_GROUP  #: targets, whole groups, that no step sees
_LISTENER_SHARE = 0.1  #: of the learning rate: it has learnt already
_SEED = 31


def train_painter(targets: Path, lips: Lips, checkpoint: Path) -> Painter:
    """Train, or go on training, and give the result."""
    material = read_targets(targets)
    torch.manual_seed(_SEED)
    painter = Painter()
    painter.listener.load_state_dict(lips.listener.state_dict())
    painter.to(memory_format=torch.channels_last)
    groups = [
        {"params": painter.window.parameters(), "share": 1.0},
        {"params": painter.listener.parameters(), "share": _LISTENER_SHARE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
    n_train = len(material) - N_VALIDATION
    steady_from = int(SCHEDULE.n_steps * (1 - STEADY_SHARE))

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([_SEED, step])
        if step >= steady_from:
            _freeze_norms(painter)
        chosen = rng.choice(n_train, TARGETS_A_STEP, replace=False)
        audio, reference, target = _batch(material, chosen)
        reference, target = _tinted(reference, target)
        code = painter.code(audio)
        with torch.autocast("cpu", torch.bfloat16):
            painted, alpha = painter.window(_channels_last(reference), code)
        return _loss(painted, alpha, reference, target)

    train("painting", painter, optimizer, loss, SCHEDULE, checkpoint, max_norm=0.5)
    return painter.eval()


def load_painter(checkpoint: Path) -> Painter:
    painter = Painter()
    painter.load_state_dict(torch.load(checkpoint)["network"])
    return painter.eval()


@torch.no_grad()
def validation_psnr_db(painter: Painter, material: Targets) -> float:
    """Mean PSNR of the windows that no step saw, against what was drawn for them."""
    first = len(material) - N_VALIDATION
    every = []
    for begin in range(first, len(material), MOUTHS_A_GROUP):
        audio, reference, target = _batch(material, np.arange(begin, begin + MOUTHS_A_GROUP))
        painted, _ = painter.window(reference, painter.code(audio))
        every.append(-10 * (painted - target).square().mean((1, 2, 3)).log10())
    return float(torch.cat(every).mean())


def _batch(material: Targets, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Audio (n, 32, 16, 16), reference and target windows (n, 3, 160, 192) in 0..1."""
    audio = torch.from_numpy(material.rows[chosen].astype(np.float32)).reshape(-1, 32, 16, 16)
    reference = material.references[material.reference_of[chosen]]
    planes = (reference, material.windows[chosen])
    return audio, *(torch.from_numpy(p).permute(0, 3, 1, 2).float() / 255 for p in planes)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _tinted(reference: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in another light: skin has more colours than we draw."""
    n = len(target)
    gain = 1 + 0.2 * (torch.rand(n, 3, 1, 1) - 0.5)
    lift = 0.08 * (torch.rand(n, 1, 1, 1) - 0.5)
    return (reference * gain + lift).clamp(0, 1), (target * gain + lift).clamp(0, 1)


def _loss(painted: Tensor, alpha: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """Absolute error and that of the gradients, most where target and reference differ."""
    change = functional.max_pool2d((target - reference).abs().mean(1, keepdim=True), 9, 1, 4)
    weight = 0.4 + 5 * (change * 10).clamp(0, 1)
    away = ((painted - target).abs() * weight).mean()
    edges = sum(
        (
            (painted.diff(dim=d) - target.diff(dim=d)).abs()
            * weight.narrow(d, 1, weight.shape[d] - 1)
        ).mean()
        for d in (2, 3)
    )
    idle = (alpha * (change < 0.01)).mean()
    return away + 0.7 * edges + 0.01 * idle


def _freeze_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
