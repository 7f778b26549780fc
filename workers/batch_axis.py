"""How many items a model takes in one call, and calls of so many.

A batch axis can be called dynamic and be frozen inside: only trying shows.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from workers.arrays import Array
from workers.errors import ModelError

TOLERANCE = 1e-3  #: a GPU may pick other kernels for other batch sizes

Tensors: TypeAlias = Mapping[str, Array]  #: by name, all of as many items
Run: TypeAlias = Callable[[Tensors], Array]  #: gives as many


def fixed_batch(run: Run, trial: Tensors, tolerance: float = TOLERANCE) -> int | None:
    """The only batch size that a model takes, which is that of ``trial``; None: it takes any.

    Twice as many must give what two calls of so many give.  Raises ModelError when not even
    ``trial`` runs.
    """
    size = _n_items(trial)
    turned = {name: tensor[..., ::-1].copy() for name, tensor in trial.items()}
    single = run(trial)
    try:
        pair = run({name: np.concatenate([trial[name], turned[name]]) for name in trial})
    except ModelError:
        return size
    apart = np.concatenate([single, run(turned)])
    is_same = pair.shape == apart.shape and np.allclose(
        pair, apart, rtol=0, atol=tolerance, equal_nan=True
    )
    return None if is_same else size


def in_batches(run: Run, inputs: Tensors, batch: int | None) -> Array:
    """Run items through a model that takes ``batch`` of them.

    The last ones are padded with zeros, and what comes of those is cut off.
    """
    if batch is None:
        return run(inputs)
    n = _n_items(inputs)
    outputs = []
    for begin in range(0, n, batch):
        slices = {name: tensor[begin : begin + batch] for name, tensor in inputs.items()}
        outputs.append(run({name: padded(tensor, batch) for name, tensor in slices.items()}))
    return np.concatenate(outputs)[:n]


def _n_items(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))


def padded(tensor: Array, n: int) -> Array:
    """The items, and zeros behind them up to ``n``."""
    missing = np.zeros((n - len(tensor), *tensor.shape[1:]), tensor.dtype)
    return np.concatenate([tensor, missing])
