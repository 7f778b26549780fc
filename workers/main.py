"""``python -m workers.main``: one worker process.  Started by the supervisor, never by hand."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from shm.errors import ShmError
from shm.fail_points import fail_point
from shm.layout import RingLayout
from shm.ring import RingWriter
from shm.segment import attach
from workers.audio import AudioWorker
from workers.compositor import CompositorWorker
from workers.cuda import pin
from workers.devices import PRECISIONS, Device, Execution
from workers.errors import WorkerError
from workers.families import FAMILIES
from workers.inference import InferenceWorker
from workers.kernels.backends import BACKENDS, DEFAULT
from workers.model import Hears, Paints, load_hearing, load_painting
from workers.process import WorkerProcess

LOAD_S = 300.0  #: reading a large model from a slow disk


def main(argv: list[str] | None = None) -> None:
    """Serve until the parent is gone; what cannot be served is said in one line, exit code 1."""
    arguments = _parser().parse_args(argv)
    try:
        _serve(arguments)
    except (WorkerError, ShmError) as error:
        print(f"farm: {arguments.name}: {error}", file=sys.stderr)
        sys.exit(1)


def _serve(arguments: argparse.Namespace) -> None:
    process = WorkerProcess(
        broker=arguments.broker,
        role=arguments.role,
        name=arguments.name,
        life_fd=arguments.life_fd,
        heartbeat_s=arguments.heartbeat_s,
        silent_s=arguments.silent_s,
    )
    match arguments.role:
        case "audio":
            fail_point("audio.loading")
            process.announce("loading", LOAD_S)
            AudioWorker(process, partial(_hearing, arguments)).start(_preload(arguments))
        case "inference":
            fail_point("inference.loading")
            device = arguments.device
            worker = InferenceWorker(
                process, partial(_painting, arguments), _ring(arguments), device
            )
            worker.start(_preload(arguments))
        case "compositor":
            fail_point("compositor.starting")
            log_times = partial(_log_times, arguments.name) if arguments.log_times else _keep_silent
            family = FAMILIES[arguments.family]
            CompositorWorker(process, family, arguments.kernels, log_times).start()


def _preload(arguments: argparse.Namespace) -> dict[str, Path]:
    """The directories of models by id."""
    return {model: Path(directory) for model, directory in json.loads(arguments.preload).items()}


def _hearing(arguments: argparse.Namespace, directory: Path) -> Hears:
    # One call at a time of a small model: more threads would only take turns.
    execution = Execution(device=arguments.device, threads=1)
    return load_hearing(directory, execution, arguments.cache)


def _painting(arguments: argparse.Namespace, directory: Path) -> Paints:
    execution = Execution(
        device=arguments.device,
        threads=arguments.threads,
        is_spinning=bool(arguments.spinning),
        precision=arguments.precision,
        may_fall_back=bool(arguments.may_fall_back),
        provider_options={**_kept_engines(arguments), **json.loads(arguments.provider_options)},
    )
    painting = load_painting(directory, execution, arguments.cache)
    if painting.served_plainly:
        reason = f"its graph cannot be changed: {painting.served_plainly}"
        print(f"farm: {arguments.name}: {directory}: {reason}", file=sys.stderr)
    fail_point("inference.loaded")
    return painting


def _kept_engines(arguments: argparse.Namespace) -> dict[str, str]:
    """TensorRT takes minutes to build what it runs: once for each model and size is enough."""
    if arguments.device.kind != "tensorrt" or arguments.cache is None:
        return {}
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(arguments.cache)}


def _log_times(name: str, line: str) -> None:
    """To the farm's log, which is the standard error of all its processes."""
    print(f"farm: compositing times in ms, mean/p90 child={name} {line}", file=sys.stderr)


def _keep_silent(_line: str) -> None:
    """Nobody asked."""


def _ring(arguments: argparse.Namespace) -> RingWriter:
    """The ring the supervisor made for this process and will unlink after it."""
    layout = RingLayout(
        n_blocks=arguments.ring_blocks,
        slots_per_block=arguments.batch_size,
        slot_bytes=FAMILIES[arguments.family].slot_bytes,
    )
    segment = attach(arguments.ring)
    fail_point("inference.ring_attached")
    if not arguments.device.is_cpu:
        pin(segment.view)
    return RingWriter(segment, layout, epoch=arguments.epoch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workers.main")
    parser.add_argument("--role", required=True, choices=("audio", "inference", "compositor"))
    parser.add_argument("--broker", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--life-fd", required=True, type=int)
    parser.add_argument("--heartbeat-s", type=float, default=1.0)
    parser.add_argument("--silent-s", type=float, default=10.0)
    parser.add_argument("--preload", default="{}", help="a JSON map of ids and directories")
    parser.add_argument("--device", type=Device.named, default=Device("cpu"))
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--may-fall-back", type=int, default=0, help="1: to the CPU")
    parser.add_argument("--provider-options", default="{}", help="a JSON map of words")
    parser.add_argument("--cache", type=Path, help="directory for what is made of models")
    parser.add_argument("--family", default="synctalk-328-ave")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--spinning", type=int, default=0, help="1: threads wait awake")
    parser.add_argument("--kernels", choices=BACKENDS, default=DEFAULT)
    parser.add_argument("--ring")
    parser.add_argument("--ring-blocks", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--epoch", type=int, default=1)
    parser.add_argument("--log-times", type=int, default=0, help="1: a compositor's, every second")
    return parser


if __name__ == "__main__":
    main()
