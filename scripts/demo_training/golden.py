"""Two held-out utterances with their mouths, so that tests can measure without espeak-ng."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demo_training.corpus import Utterance, clip
from demo_training.figures import figures
from demo_training.judging import judge
from farm.avatars import DRAWN
from farm.demo.avatar import Portrait
from workers.avatar import Bundle
from workers.model import Model

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "demo_speech.npz"


def golden_figures(model: Model, bundle: Bundle) -> dict[str, float]:
    """What the tests measure again: a voice and a language of each kind."""
    verdicts = []
    with np.load(GOLDEN) as kept:
        mix = kept["mix"]
        for k in range(int(kept["n"])):
            speech = kept[f"speech{k}"].astype(np.float32) / 32768
            verdicts.append(
                judge(
                    str(kept[f"text{k}"]),
                    str(kept[f"voice{k}"]),
                    speech,
                    kept[f"mouths{k}"],
                    model=model,
                    bundle=bundle,
                    who=Portrait(DRAWN["demo"]),
                )
            )
    return figures(verdicts, mix)


def write_golden(mix: np.ndarray, first: Utterance, held_out: Sequence[Utterance]) -> None:
    """Keep ``first`` and the first German one of ``held_out``."""
    chosen = (first, _german(held_out))
    kept: dict[str, object] = {"n": len(chosen), "mix": mix}
    for k, utterance in enumerate(chosen):
        kept[f"speech{k}"] = np.round(utterance.speech * 32767).astype(np.int16)
        kept[f"mouths{k}"] = clip(utterance).mouths
        kept[f"text{k}"], kept[f"voice{k}"] = utterance.text, utterance.voice
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **kept)


def _german(said: Sequence[Utterance]) -> Utterance:
    return next(utterance for utterance in said if utterance.voice.startswith("de+"))
