"""``farm model probe | quantize``.

What they need is imported where it is used: it takes longer to load than other verbs to run.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from farm.progress import print_table, progress_bar

if TYPE_CHECKING:
    from farm.model_quantize import QuantizeReport

HARDLY_QUICKER = 1.1  #: times as quick: not worth what it costs in pixels


def probe(arguments: argparse.Namespace) -> int:
    from farm.cli.probe_report import files_of, rows, to_json
    from workers.probe import pair_verdict, probe

    path: Path = arguments.path
    probes = [probe(file) for file in files_of(path)]
    pair = pair_verdict(path) if path.is_dir() else None
    if arguments.json:
        print(json.dumps({"files": [to_json(each) for each in probes], "pair": pair}, indent=2))
        return 0
    for number, each in enumerate(probes):
        if number:
            print()
        print_table(rows(each))
    if pair is not None:
        print(f"\n{pair}")
    return 0


def quantize(arguments: argparse.Namespace) -> int:
    from farm.cli.avatar import open_avatar
    from farm.model_quantize import QuantizeRequest, quantize_model

    request = QuantizeRequest(
        model=arguments.model,
        avatar=open_avatar(arguments.avatar),
        speeches=tuple(arguments.speech),
        output=arguments.output,
        min_psnr_db=arguments.min_psnr,
        force=arguments.force,
    )
    report = quantize_model(request, partial(progress_bar, unit="steps"))
    return _say(report, as_json=arguments.json)


def _say(report: "QuantizeReport", *, as_json: bool) -> int:
    figures, least_db = report.figures, report.request.min_psnr_db
    if figures.crop_db < least_db:
        print(
            f"farm: note: {figures.crop_db:.1f} dB on frames that it was not calibrated on, which"
            f" is less than the {least_db:g} wanted: calibrate it on more and other speech",
            file=sys.stderr,
        )
    print(json.dumps(report.to_json(), indent=2) if as_json else _summary(report))
    return 0


def _summary(report: "QuantizeReport") -> str:
    figures, output = report.figures, report.request.output
    n_int8 = figures.layers - len(figures.layers_in_float)
    made = f"in {report.elapsed_s:.1f} s" if report.is_new else "nothing to do, it was made before"
    return (
        f"{output}: {n_int8} of {figures.layers} layers in int8, U-Net"
        f" {figures.int8_bytes / 1e6:.1f} MB instead of {figures.float32_bytes / 1e6:.1f}; {made}\n"
        f"pixels: {figures.crop_db:.1f} dB PSNR against float32, {figures.hole_db:.1f} in the hole,"
        f" {figures.worst_frame_db:.1f} in the worst of {figures.measured_frames} frames\n"
        f"speed: {figures.int8_ms:.1f} ms a frame, float32 {figures.float32_ms:.1f}"
        f" (batch {figures.batch}, {figures.provider}): {_verdict(figures.speed_ratio)}\n"
        f"try: farm render speech.wav -o talk.mp4 --model {output}"
    )


def _verdict(speed_ratio: float) -> str:
    if speed_ratio < 1:
        return f"slower than float32 here ({speed_ratio:.2f} times as quick): not worth it"
    if speed_ratio < HARDLY_QUICKER:
        return f"hardly quicker than float32 here ({speed_ratio:.2f} times): not worth it"
    return f"{speed_ratio:.2f} times as quick"
