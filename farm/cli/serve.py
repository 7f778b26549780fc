"""``farm serve``: run a farm until it is told to end."""

import argparse
import logging
import subprocess
import sys

from farm import daemon
from farm.config import Endpoints, load_config, with_overrides
from farm.paths import user_paths
from farm.profiling import Profiling

#: What a log record has by itself; anything else was said about the event.
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class _Fields(logging.Formatter):
    """``farm: child started child=audio-0 pid=71``: a constant message, then what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in record.__dict__.items() if k not in _PLAIN}
        said = " ".join(f"{key}={value}" for key, value in fields.items())
        return f"farm: {record.getMessage()} {said}".rstrip()


def main(arguments: argparse.Namespace) -> int:
    _log_to_stderr()
    config = with_overrides(
        load_config(arguments.config),
        {
            "farm.endpoint": arguments.endpoint,
            "compositors.count": arguments.compositors,
            "inference.batch_size": arguments.batch_size,
            "inference.devices": arguments.device,
        },
        source="the command line",
    )
    profiling = Profiling.of(arguments.profile, arguments.profile_dir)
    _draw_demo()
    return daemon.run(config, user_paths(), on_ready=_say_ready, profiling=profiling)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Fields())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _draw_demo() -> None:
    """Make sure that the demo avatar is there, in a process of its own: this one stays small."""
    command = [sys.executable, "-P", "-m", "farm.entry", "avatar", "info", "demo"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        logging.getLogger(__name__).warning("the demo avatar is not offered")


def _say_ready(urls: Endpoints) -> None:
    print(f"farm: ready at {urls.client}", file=sys.stderr, flush=True)
