"""Train the demo model from nothing: about an hour on two cores.

Needs the extra ``train`` (any torch: its CPU build is the smallest), Debian's espeak-ng, 4 GB of
memory and 1.6 GB of disk:

    scripts/venv train && .venv/bin/python scripts/train_demo.py

Stages, each of which goes on where it was interrupted; to begin anew, delete build/demo-model:

    corpus    speak every sentence, take down its mel spectrogram and its mouths
    listen    train the audio encoder to hear what the mouth does
    targets   draw the mouths that are heard
    paint     train the painter to draw them too
    export    write audio_encoder.onnx and unet.onnx

``scripts/gate_demo.py`` measures the result.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from demo_training.corpus import SPLITS, read_corpus, write_corpus
from demo_training.export import export
from demo_training.listening import correlations, load_listener, train_listener
from demo_training.painting import load_painter, train_painter, validation_psnr_db
from demo_training.targets import read_targets, write_targets

ROOT = Path(__file__).resolve().parent.parent


class Workshop:
    """The files that the stages hand on."""

    def __init__(self, work: Path, out: Path, threads: int) -> None:
        self.work, self.out, self.threads = work, out, threads
        self.listener, self.painter = work / "listener.pt", work / "painter.pt"
        self.targets = work / "targets.npz"

    def corpus_of(self, split: str) -> Path:
        return self.work / f"{split}.npz"

    def corpus(self) -> None:
        for split in SPLITS:
            if not self.corpus_of(split).exists():
                write_corpus(self.corpus_of(split), split, self.threads)

    def listen(self) -> None:
        lips = train_listener(self.corpus_of("train"), self.listener)
        for split in SPLITS[1:]:
            print(f"{split}: r {correlations(lips, read_corpus(self.corpus_of(split)))}")

    def draw(self) -> None:
        if not self.targets.exists():
            clips = read_corpus(self.corpus_of("train"))
            write_targets(self.targets, load_listener(self.listener), clips, self.threads)

    def paint(self) -> None:
        painter = train_painter(self.targets, load_listener(self.listener), self.painter)
        psnr_db = validation_psnr_db(painter, read_targets(self.targets))
        print(f"painter: {psnr_db:.1f} dB on unseen windows")

    def export(self) -> None:
        encoder = load_listener(self.listener).encoder
        away = export(encoder, load_painter(self.painter), self.out)
        print(f"{self.out}: onnxruntime within {away:.1e} of torch")

    @property
    def stages(self) -> dict[str, Callable[[], None]]:
        return {
            "corpus": self.corpus,
            "listen": self.listen,
            "targets": self.draw,
            "paint": self.paint,
            "export": self.export,
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", help="all of them when none is named")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "demo-model")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo-model" / "onnx")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(arguments.work, arguments.out, arguments.threads)
    stages = workshop.stages
    unknown = [name for name in arguments.stages if name not in stages]
    if unknown:
        parser.error(f"no stage {unknown[0]!r}; there are {', '.join(stages)}")
    torch.set_num_threads(arguments.threads)
    for name in arguments.stages or stages:
        stages[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
