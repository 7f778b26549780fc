import shutil
import subprocess
from pathlib import Path

import pytest

from farm.cli.check import Verdict, findings, package_roots, simd_level
from farm.paths import Paths


def test_this_installation_is_not_broken(user_paths: Paths) -> None:
    broken = [f for f in findings(user_paths) if f.verdict is Verdict.BROKEN]

    assert broken == []


def test_the_data_directory_is_named(user_paths: Paths) -> None:
    report = {finding.subject: finding.value for finding in findings(user_paths)}

    assert report["data"] == str(user_paths.data)
    assert report["avatars"].startswith("demo")


def test_packages_from_two_places_are_called_broken() -> None:
    finding = package_roots(["/a/farm/__init__.py", "/b/workers/__init__.py"])

    assert finding.verdict is Verdict.BROKEN


def test_a_missing_espeak_is_said_and_breaks_nothing(
    user_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    (found,) = [f for f in findings(user_paths) if f.subject == "espeak-ng"]

    assert found.verdict is Verdict.ABSENT
    assert "apt install espeak-ng" in found.value


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(("flag", "level"), [("-mavx2", "AVX2"), ("-msse4", "SSE4")])
def test_the_simd_level_is_read_from_the_machine_code(
    tmp_path: Path, flag: str, level: str
) -> None:
    source = tmp_path / "widen.c"
    source.write_text(
        "#include <immintrin.h>\n"
        "#ifdef __AVX2__\n"
        "__m256i widen(__m128i *b) { return _mm256_cvtepu8_epi16(b[0]); }\n"
        "#else\n"
        "__m128i widen(__m128i *b) { return _mm_cvtepu8_epi16(b[0]); }\n"
        "#endif\n"
    )
    subprocess.run(["cc", "-O2", flag, "-c", source, "-o", tmp_path / "widen.o"], check=True)

    assert simd_level((tmp_path / "widen.o").read_bytes()) == level
