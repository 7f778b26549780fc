"""Measure lipfarm on this machine.

usage: bench.py BENCHMARK [--json] ...

    pipeline  the farm, stage by stage, against the sequential renderer
    inference the farm against a bare onnxruntime loop
    audio     the audio encoder, many windows a call against one
    gpu       both of these on a GPU, and whether its pixels are right
    pixels    a finished frame, against the same work with OpenCV
    kernels   every step's back ends
    bundle    an avatar of 500 frames: size, opening, a compositor's memory
    seam      how visible the edge of the mouth is
    int8      a quantised U-Net, against float32

``--json`` prints a list of rows, one measurement each: keys that name it, ``value``, ``unit``.
Machines are noisy: believe the ratios, not the milliseconds.
"""

import argparse
import json
import sys

import bench_audio
import bench_bundle
import bench_gpu
import bench_inference
import bench_int8
import bench_kernels
import bench_pipeline
import bench_pixels
import bench_seam

from farm.errors import FarmError
from workers.errors import CallerFault

BENCHMARKS = {
    "pipeline": bench_pipeline,
    "inference": bench_inference,
    "audio": bench_audio,
    "gpu": bench_gpu,
    "pixels": bench_pixels,
    "kernels": bench_kernels,
    "bundle": bench_bundle,
    "seam": bench_seam,
    "int8": bench_int8,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subparsers = parser.add_subparsers(required=True, metavar="BENCHMARK")
    for name, benchmark in BENCHMARKS.items():
        subparser = subparsers.add_parser(name, help=benchmark.__doc__.splitlines()[0])
        subparser.add_argument("--json", action="store_true", help="rows of one measurement each")
        benchmark.add_arguments(subparser)
        subparser.set_defaults(benchmark=benchmark)
    arguments = parser.parse_args()
    try:
        rows = arguments.benchmark.run(arguments)
    except (CallerFault, FarmError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(rows, indent=1) if arguments.json else arguments.benchmark.shown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
