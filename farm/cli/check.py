"""``farm check``: what this installation has, and what it lacks."""

import argparse
import importlib.metadata
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import PIL
import PIL._imaging

import farm
import shm
import workers
from farm import espeak
from farm.avatars import avatar_ids
from farm.errors import EspeakMissing
from farm.paths import DEMO_MODEL, Paths, user_paths
from farm.progress import print_table
from workers.errors import ModelError
from workers.model import Model
from workers.session import best_device, providers_built_in

MIN_OPEN_FILES = 1024
MIN_SHM_BYTES = 1 << 30


class Verdict(Enum):
    OK = "ok"
    SLOW = "slow"  #: works, but slower than it could
    ABSENT = "absent"  #: one feature lacks it, and nothing else
    BROKEN = "broken"  #: does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    value: str
    verdict: Verdict = Verdict.OK


def main(_arguments: argparse.Namespace) -> int:
    report = findings(user_paths())
    print_table([(f.verdict.value, f.subject, f.value) for f in report])
    return 1 if any(f.verdict is Verdict.BROKEN for f in report) else 0


def findings(paths: Paths) -> list[Finding]:
    """Everything worth knowing before the first job."""
    return [
        Finding("lipfarm", importlib.metadata.version("lipfarm")),
        Finding("python", f"{platform.python_version()}, {platform.machine()} {sys.platform}"),
        package_roots([farm.__file__, workers.__file__, shm.__file__]),
        _pillow(),
        Finding("pyav", importlib.metadata.version("av")),
        _espeak(),
        _providers(),
        _model(),
        _open_files(),
        _shared_memory(),
        directory("data", paths.data),
        directory("cache", paths.cache),
        Finding("avatars", ", ".join(avatar_ids(paths))),
    ]


def package_roots(package_files: Iterable[str | None]) -> Finding:
    """The packages' names are generic: another ``farm`` on the path would be a strange mix."""
    roots = sorted({str(Path(file).parent.parent) for file in package_files if file})
    if len(roots) == 1:
        return Finding("packages", roots[0])
    return Finding("packages", f"from different places: {', '.join(roots)}", Verdict.BROKEN)


def directory(subject: str, path: Path) -> Finding:
    """A directory that need not exist yet, but must be possible."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding(subject, str(path))
    return Finding(subject, f"{path}: cannot be written", Verdict.BROKEN)


def _pillow() -> Finding:
    version = PIL.__version__
    if ".post" not in version:
        expected = platform.machine() == "x86_64"
        advice = "; reinstall pillow-simd" if expected else ""
        return Finding("pillow", f"{version}, without SIMD{advice}", Verdict.SLOW)
    level = simd_level(Path(PIL._imaging.__file__).read_bytes())
    verdict = Verdict.OK if level == "AVX2" else Verdict.SLOW
    return Finding("pillow-simd", f"{version}, {level}", verdict)


def simd_level(machine_code: bytes) -> str:
    """What Pillow-SIMD was compiled for; it does not say so itself.

    Its resize widens bytes to words, by VPMOVZXBW on 256-bit registers (C4 E2 7D 30) when compiled
    for AVX2, else by PMOVZXBW (66 0F 38 30).  Either stands there hundreds of times or never.
    """
    if b"\xc4\xe2\x7d\x30" in machine_code:
        return "AVX2"
    return "SSE4" if b"\x66\x0f\x38\x30" in machine_code else "no SIMD"


def _espeak() -> Finding:
    try:
        return Finding(espeak.PROGRAM, espeak.version())
    except EspeakMissing as error:
        return Finding(espeak.PROGRAM, str(error), Verdict.ABSENT)


def _providers() -> Finding:
    device = best_device()
    value = f"{device} (built in: {', '.join(providers_built_in())})"
    return Finding("onnxruntime", value, Verdict.SLOW if device.is_cpu else Verdict.OK)


def _model() -> Finding:
    try:
        model = Model.load(DEMO_MODEL)
    except ModelError as error:
        return Finding("model", str(error), Verdict.BROKEN)
    return Finding("model", f"{DEMO_MODEL.name} ({model.family.name}) loads on {model.provider}")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    verdict = Verdict.OK if soft >= MIN_OPEN_FILES else Verdict.BROKEN
    return Finding("open files", f"{soft} (hard limit {hard}, needs {MIN_OPEN_FILES})", verdict)


def _shared_memory() -> Finding:
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError as error:
        return Finding("/dev/shm", f"{error.strerror}", Verdict.BROKEN)
    verdict = Verdict.OK if free >= MIN_SHM_BYTES else Verdict.SLOW
    return Finding("/dev/shm", f"{free / 2**30:.1f} GiB free", verdict)
