"""The gate's figures: verdicts boiled down to numbers, and the bounds that they must keep."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo_training.judging import Verdict, column
from demo_training.measuring import Reading, best_lag, correlation
from demo_training.visemes import OPEN, ROUNDING

F64 = NDArray[np.float64]

CLOSED_PX = 2.0
"""Readings up to this are a closed mouth: what drawings of shut lips read at most."""
WRONGLY_OPEN_PX = 4.0  #: seen, where the truth is closed
CLEARLY_OPEN_PX = 8.0  #: the truth, where ``CLOSED_PX`` at most is seen

AT_LEAST, AT_MOST = ">=", "<="


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must keep."""

    sense: str
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.sense == AT_LEAST else value <= self.limit


SPEECH_BOUNDS: dict[str, Bound] = {
    "worst_utterance_r": Bound(AT_LEAST, 0.75),
    "lag_0_share": Bound(AT_LEAST, 0.95),
    "other_audio_r": Bound(AT_MOST, 0.35),
    "opening_r_speech_frames": Bound(AT_LEAST, 0.87),
    "width_r": Bound(AT_LEAST, 0.88),
    "rounding_r": Bound(AT_LEAST, 0.88),
    "silence_closed": Bound(AT_LEAST, 0.99),
    "pbm_closed": Bound(AT_LEAST, 0.96),
    "wrongly_open": Bound(AT_MOST, 0.02),
    "wrongly_closed": Bound(AT_MOST, 0.01),
    "psnr_db": Bound(AT_LEAST, 30.0),
    "psnr_over_copy_db": Bound(AT_LEAST, 8.0),
    "ssim": Bound(AT_LEAST, 0.94),
    "outside_levels": Bound(AT_MOST, 0.1),
}
OPENING_BOUNDS = {
    "held_sentence": Bound(AT_LEAST, 0.93),
    "held_voice": Bound(AT_LEAST, 0.92),
}
PERSON_BOUNDS: dict[str, Bound] = {
    name: SPEECH_BOUNDS[name] for name in ("psnr_over_copy_db", "ssim", "outside_levels")
}
"""Of the other people, for whose colours the ruler is not made."""
PEOPLE = ("amara", "leo", "kenji", "ines")
COST_BOUNDS: dict[str, Bound] = {
    "cost_ratio": Bound(AT_MOST, 0.17),
    "torch_difference": Bound(AT_MOST, 1e-4),
    "batch_difference": Bound(AT_MOST, 0.0),
    "bytes": Bound(AT_MOST, 8e6),
}


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A bound that the shipped model does not keep: how far it may fall short, and why it does."""

    limit: float
    why: str


SHORTFALLS: dict[tuple[str, str], Shortfall] = {
    ("held_voice", "wrongly_open"): Shortfall(
        0.025, "lips that part or meet one frame early or late, at words' ends most of all"
    ),
    ("leo", "ssim"): Shortfall(0.92, "the grain of his stubble is painted smooth"),
}


def bounds_of(part: str) -> dict[str, Bound]:
    """What the figures of a part must keep: "cost", a split, or a person's name."""
    if part == "cost":
        return COST_BOUNDS
    if part in OPENING_BOUNDS:
        return {"opening_r": OPENING_BOUNDS[part], **SPEECH_BOUNDS}
    return PERSON_BOUNDS if part in PEOPLE else {}


def is_broken(part: str, name: str, value: float) -> bool:
    """Whether a figure keeps neither its bound nor what is known of its falling short."""
    bound, known = bounds_of(part)[name], SHORTFALLS.get((part, name))
    return not bound.holds(value) and not (known and Bound(bound.sense, known.limit).holds(value))


def figures(verdicts: Sequence[Verdict], mix: F64) -> dict[str, float]:
    """All that is said of one split.  ``mix`` : of ``measuring.rounding_mix``."""
    truth, seen = ([r for v in verdicts for r in of(v)] for of in (_truth, _seen))
    mouths = np.concatenate([v.mouths for v in verdicts])
    rest = np.concatenate([v.is_rest for v in verdicts])
    pressed = np.concatenate([v.is_pressed for v in verdicts])
    true_px, seen_px = column(truth, "opening_px"), column(seen, "opening_px")
    each_r = [correlation(_opening(v.truth), _opening(v.seen)) for v in verdicts]
    lags = [best_lag(_opening(v.truth), _opening(v.seen)) for v in verdicts]
    psnr, copied = _all(verdicts, "psnr_db")[~rest], _all(verdicts, "copy_psnr_db")[~rest]
    return {
        "utterances": len(verdicts),
        "frames": len(true_px),
        "opening_r": correlation(true_px, seen_px),
        "opening_r_speech_frames": correlation(true_px[~rest], seen_px[~rest]),
        "opening_r_to_rule": correlation(mouths[:, OPEN].astype(float), seen_px),
        "ruler_opening_r_to_rule": correlation(mouths[:, OPEN].astype(float), true_px),
        "median_utterance_r": float(np.median(each_r)),
        "worst_utterance_r": min(each_r),
        "lag_0_share": float(np.mean(np.array(lags) == 0)),
        "other_audio_r": _other_audio_r(verdicts),
        "width_r": correlation(column(truth, "width_px"), column(seen, "width_px")),
        "rounding_r": correlation(mouths[:, ROUNDING].astype(float), _rounding(seen, mix)),
        "ruler_rounding_r": correlation(mouths[:, ROUNDING].astype(float), _rounding(truth, mix)),
        "silence_frames": int(rest.sum()),
        "silence_closed": float((seen_px[rest] <= CLOSED_PX).mean()),
        "pbm_frames": int(pressed.sum()),
        "pbm_closed": float((seen_px[pressed] <= CLOSED_PX).mean()),
        "wrongly_open": float((seen_px[true_px <= CLOSED_PX] > WRONGLY_OPEN_PX).mean()),
        "wrongly_open_in_speech": float(
            (seen_px[(true_px <= CLOSED_PX) & ~rest] > WRONGLY_OPEN_PX).mean()
        ),
        "wrongly_closed": float((seen_px[true_px > CLEARLY_OPEN_PX] <= CLOSED_PX).mean()),
        "opening_px_true_mean": float(true_px.mean()),
        "opening_px_seen_mean": float(seen_px.mean()),
        "opening_px_std_ratio": float(seen_px.std() / true_px.std()),
        "psnr_db": float(np.median(psnr)),
        "psnr_db_mean": float(psnr.mean()),
        "psnr_db_p10": float(np.percentile(psnr, 10)),
        "psnr_over_copy_db": float(np.median(psnr) - np.median(copied)),
        "ssim": float(_all(verdicts, "ssim")[~rest].mean()),
        "copy_ssim": float(_all(verdicts, "copy_ssim")[~rest].mean()),
        "outside_levels": float(_all(verdicts, "outside").mean()),
        "outside_window_levels": float(_all(verdicts, "outside_window").mean()),
    }


def _truth(verdict: Verdict) -> list[Reading]:
    return verdict.truth


def _seen(verdict: Verdict) -> list[Reading]:
    return verdict.seen


def _opening(readings: Sequence[Reading]) -> F64:
    return column(readings, "opening_px")


def _rounding(readings: Sequence[Reading], mix: F64) -> F64:
    return np.array([reading.shape() for reading in readings]) @ mix


def _all(verdicts: Sequence[Verdict], name: str) -> F64:
    return np.concatenate([getattr(v, name) for v in verdicts])


def _other_audio_r(verdicts: Sequence[Verdict]) -> float:
    """The control: how well a mouth follows speech that it did not hear."""
    pairs = []
    half = len(verdicts) // 2  # neighbours say the same sentence
    for verdict, other in zip(verdicts, [*verdicts[half:], *verdicts[:half]], strict=True):
        n = min(len(verdict.seen), len(other.truth))
        pairs.append((_opening(other.truth)[:n], _opening(verdict.seen)[:n]))
    truth, seen = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return correlation(truth, seen)
