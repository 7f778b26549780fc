"""Kernels as numexpr expressions.  The one file that knows numexpr.

numexpr works in blocks that fit a cache, on threads of its own: as many as there are cores, in the
farm's processes one.  That wins where arrays are large; on one thread, at the size of a crop, it
lost everything that was tried (`scripts/bench.py kernels`).
"""

import numexpr

from workers.arrays import F32, F64, I64, U8, U32

_MIX = "old * (255 - share) + new * share + 128"


def to_levels(output: F32, levels: U8) -> None:
    """See `workers.kernels.backends.Kernels`."""
    numexpr.evaluate("output * 255", {"output": output}, out=levels, casting="unsafe")


def to_pixels(levels: U8, pixels: U32) -> None:
    """See `workers.kernels.backends.Kernels`."""
    blue, green, red = levels
    planes = {"blue": blue, "green": green, "red": red}
    numexpr.evaluate("blue * 65536 + green * 256 + red", planes, out=pixels, casting="unsafe")


def mix(old: U8, new: U8, share: U8) -> U8:
    """See `workers.kernels.backends.Kernels`."""
    mixed = numexpr.evaluate(
        f"((({_MIX}) >> 8) + {_MIX}) >> 8", {"old": old, "new": new, "share": share}
    )
    levels: U8 = mixed.astype("u1")
    return levels


def weighted_taps(lines: U8 | F64, taps: I64, weights: F64) -> F64:
    """The sums of `workers.kernels.crop.resize_cubic`: ``lines`` along their first axis.

    Parameters
    ----------
    lines : shape (n, m, 3).
    taps, weights : shape (n_out, 4); which lines make an output line, and their shares.
    """
    parts = {name: lines[taps[:, k]] for k, name in enumerate("abcd")}
    shares = {f"w{name}": weights[:, k, None, None] for k, name in enumerate("abcd")}
    sums: F64 = numexpr.evaluate("a * wa + b * wb + c * wc + d * wd", parts | shares)
    return sums
