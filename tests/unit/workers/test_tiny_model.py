import importlib.util
from pathlib import Path

from farm.paths import TINY_MODEL

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_tiny_model.py"


def test_the_committed_pair_is_what_its_script_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_tiny_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    script.write(tmp_path)

    for name in ("audio_encoder.onnx", "unet.onnx"):
        assert (tmp_path / name).read_bytes() == (TINY_MODEL / name).read_bytes()


def test_the_pair_is_small() -> None:
    assert sum(path.stat().st_size for path in TINY_MODEL.iterdir()) < 1_000_000
