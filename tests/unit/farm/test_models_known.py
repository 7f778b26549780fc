"""Models by id, features that are kept, statistics, GPUs that are counted."""

from pathlib import Path

import numpy as np
import pytest

from farm import gpus
from farm.errors import UnknownModel
from farm.feature_cache import FeatureCache, key_of
from farm.gpus import n_usable_gpus
from farm.model_catalog import ModelCatalog
from farm.model_stats import ModelStats
from farm.paths import DEMO_MODEL, Paths
from workers.arrays import F32
from workers.features.spans import Span


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(data=tmp_path / "data", cache=tmp_path / "cache")


def own_model(paths: Paths, name: str, n_bytes: int = 10) -> Path:
    directory = paths.models / name
    directory.mkdir(parents=True)
    (directory / "unet.onnx").write_bytes(bytes(n_bytes))
    (directory / "weights.bin").write_bytes(bytes(5))
    return directory


def test_without_a_configured_one_the_demo_model_is_the_default(paths: Paths) -> None:
    catalog = ModelCatalog(paths)

    assert (catalog.default, catalog.ids()) == ("demo", ["demo"])
    for name in ("", "default", "demo"):
        found = catalog.find(name)
        assert (found.model, found.directory) == ("demo", DEMO_MODEL)


def test_a_configured_model_is_the_default_and_the_demo_stays(paths: Paths, tmp_path: Path) -> None:
    directory = own_model(Paths(data=tmp_path / "else", cache=tmp_path), "x")
    catalog = ModelCatalog(paths, str(directory))

    assert catalog.ids() == ["default", "demo"]
    assert catalog.find("").directory == catalog.find("default").directory == directory
    assert catalog.find("demo").directory == DEMO_MODEL


def test_a_model_that_is_put_there_is_found_at_once(paths: Paths) -> None:
    catalog = ModelCatalog(paths)
    with pytest.raises(UnknownModel):
        catalog.find("anna")

    directory = own_model(paths, "anna")

    found = catalog.find("anna")
    assert (found.directory, found.file_bytes) == (directory, 15)
    assert catalog.ids() == ["demo", "anna"]


@pytest.mark.parametrize("name", ["..", "../models/anna", "/etc", "a/b", "", ".hidden", "x" * 65])
def test_nothing_outside_is_a_model(paths: Paths, name: str) -> None:
    own_model(paths, "anna")
    (paths.models / ".hidden").mkdir()
    catalog = ModelCatalog(paths)

    if name:
        with pytest.raises(UnknownModel, match="no model of that id"):
            catalog.find(name)
    assert catalog.ids() == ["demo", "anna"]


def test_a_directory_without_a_model_is_none(paths: Paths) -> None:
    (paths.models / "empty").mkdir(parents=True)
    catalog = ModelCatalog(paths)

    with pytest.raises(UnknownModel, match=r"no \.onnx file"):
        catalog.find("empty")
    assert "empty" not in catalog.ids()


def span(samples: F32, index: int = 0, first: int = 0, total: int | None = None) -> Span:
    return Span(index, first, samples, total)


def test_features_are_found_by_all_that_they_depend_on(rng: np.random.Generator) -> None:
    samples = rng.random(100, np.float32)
    other = samples.copy()
    other[99] += 1e-6

    same = key_of("m", span(samples.copy()))
    assert same == key_of("m", span(samples))
    others = [
        key_of("n", span(samples)),
        key_of("m", span(other)),
        key_of("m", span(samples[:99])),
        key_of("m", span(samples, index=1)),
        key_of("m", span(samples, first=7)),
        key_of("m", span(samples, total=100)),
    ]
    assert len({same, *others}) == 7


def test_a_cache_of_features_is_bounded_by_bytes(rng: np.random.Generator) -> None:
    features = rng.random((32, 512), np.float32)  # 64 KiB
    cache = FeatureCache(3 * features.nbytes)
    for name in "abcd":
        cache.put((name, b""), features)
        cache.get(("b", b""))

    assert [cache.get((name, b"")) is not None for name in "abcd"] == [False, True, True, True]
    cache.put(("e", b""), features)
    assert cache.get(("b", b"")) is None, "used longest ago"
    assert cache.n_bytes == 3 * features.nbytes


def test_a_cache_of_nothing_keeps_nothing(rng: np.random.Generator) -> None:
    cache = FeatureCache(0)

    cache.put(("a", b""), rng.random((1, 512), np.float32))

    assert (cache.get(("a", b"")), cache.n_bytes) == (None, 0)


def test_features_of_a_model_that_is_loaded_anew_are_forgotten(rng: np.random.Generator) -> None:
    cache = FeatureCache(1 << 20)
    for name in "ab":
        cache.put((name, b"1"), rng.random((1, 512), np.float32))

    cache.forget("a")

    assert [cache.get((name, b"1")) is not None for name in "ab"] == [False, True]
    assert cache.n_bytes == 2048


def test_what_a_model_did_adds_up() -> None:
    stats = ModelStats()
    stats.count_request("m")
    stats.count_load("m", 120.0, "CPUExecutionProvider")
    for n_frames, busy_ms in ((8, 80.0), (8, 80.0), (4, 60.0)):
        stats.count_batch("m", n_frames, busy_ms)

    summary = stats.summary("m")
    assert (summary["requests"], summary["batches"], summary["frames"]) == (1, 3, 20)
    assert summary["frame_ms"] == pytest.approx(11.0)
    assert summary["batch_ms"] == pytest.approx(220 / 3)
    assert 60 < float(summary["batch_p50_ms"]) < 100
    assert stats.summary("n")["frames"] == 0


@pytest.mark.parametrize(
    ("visible", "n"),
    [(None, 3), ("0,1", 2), ("2", 1), ("", 0), ("-1", 0), ("0,-1,1", 1), ("0,1,2,3,4", 3)],
)
def test_gpus_are_those_that_cuda_will_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, n: int
) -> None:
    monkeypatch.setattr(gpus, "distribution", lambda _name: None)
    for k in range(3):
        (tmp_path / f"0000:0{k}:00.0").mkdir()
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert n_usable_gpus(environment, tmp_path) == n


def test_without_a_driver_or_the_gpu_build_there_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert n_usable_gpus({}, tmp_path / "none") == 0

    def is_missing(_name: str) -> None:
        raise gpus.PackageNotFoundError

    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(gpus, "distribution", is_missing)
    assert n_usable_gpus({}, tmp_path) == 0
