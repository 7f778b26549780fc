import re
from dataclasses import fields
from pathlib import Path

import pytest

from farm.config import (
    MAX_SOCKET_PATH_BYTES,
    BadConfig,
    Endpoints,
    FarmConfig,
    endpoints,
    load_config,
    with_overrides,
)
from farm.errors import BadRequest
from workers.kernels.backends import BACKENDS

CONFIGS = Path(__file__).parents[3] / "configs"
LONGEST = "ipc:///" + "x" * (MAX_SOCKET_PATH_BYTES - 1)


def loaded(tmp_path: Path, text: str) -> FarmConfig:
    file = tmp_path / "farm.toml"
    file.write_text(text)
    return load_config(file)


def test_the_documented_file_is_the_default() -> None:
    assert load_config(CONFIGS / "farm.toml") == load_config(None) == FarmConfig()


def test_the_documented_file_has_every_key() -> None:
    text = (CONFIGS / "farm.toml").read_text()
    config = FarmConfig()

    for section in fields(config):
        assert f"[{section.name}]" in text
        for key in fields(getattr(config, section.name)):
            assert re.search(rf"^{key.name} = ", text, re.MULTILINE), key.name


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[inference]\nbatch_size = 25\n[health]\nstart_s = 5")

    assert config.inference.batch_size == 25
    assert isinstance(config.health.start_s, float)
    assert config.inference.ring_blocks == FarmConfig().inference.ring_blocks
    assert config.farm == FarmConfig().farm


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[inference]\nbatch_size = 0", r"inference\.batch_size = 0 in .*farm\.toml: .*1\.\.64"),
        ("[inference]\nbatch_size = 65", r"batch_size = 65 in .*: must be .*1\.\.64"),
        ("[inference]\nbatch_size = true", r"batch_size = True in .*: must be a whole number"),
        ("[inference]\nbatch_size = 8.0", r"batch_size = 8\.0 in .*: must be a whole number"),
        ("[inference]\nbatch_size = '8'", r"batch_size = '8' in .*: must be a whole number"),
        ("[inference]\ndevices = []", r"devices = \[\] in .*: must be a list of devices"),
        ("[inference]\ndevices = ['gpu']", r"devices = .*: must be devices: cpu, cuda:N"),
        ("[inference]\ndevices = ['auto', 'cpu']", r"devices = .*: must be devices"),
        ("[inference]\ndevices = 'cpu'", r"devices = 'cpu' in .*: must be a list"),
        ("[inference]\nprecision = 'int8'", r"precision = 'int8' in .*: must be one of fp32"),
        ("[inference]\nprovider_options = {a = 1}", r"provider_options = .* names and words"),
        ("[audio]\ndevice = 'auto'", r"audio\.device = 'auto' in .*: must be devices"),
        ("[models]\npinned = ['../x']", r"models\.pinned = .*: must be a list of ids"),
        ("[models]\neviction = 'fifo'", r"eviction = 'fifo' in .*: must be one of lru, lfu"),
        ("[models]\ndevices = {a = 'cpu'}", r"models\.devices = .*: must be a list of devices"),
        ("[models]\ndevices = {'a/b' = ['cpu']}", r"models\.devices = .*: must be a table"),
        ("[health]\nheartbeat_s = nan", r"heartbeat_s = nan in .*: must be .*0\.05\.\.60"),
        ("[health]\ndrain_s = inf", r"drain_s = inf in .*: must be .*0\.\.86400"),
        ("[health]\ndrain_s = true", r"drain_s = True in .*: must be a number of seconds"),
        (
            "[compositors]\nlog_compositing_times = 1",
            r"log_compositing_times = 1 in .*: must be true or false",
        ),
        ("[inference]\nbatch = 8", r"inference\.batch in .*: no such key.*batch_size, ring_blocks"),
        ("[inferense]\nbatch_size = 8", r"inferense in .*: no such section.*farm, model"),
        ("limits = 3", r"limits = 3 in .*: must be a section, \[limits\]"),
        ("[[limits]]\nmax_jobs = 3", r"limits = \[\{.* in .*: must be a section"),
        ("[farm]\nrun_dir = 'here'", r"farm\.run_dir = 'here' in .*: must be an absolute path"),
        ("[farm]\nrun_dir = 1", r"farm\.run_dir = 1 in .*: must be an absolute path"),
        ('[model]\ndirectory = "a\\u0000b"', r"model\.directory = .* in .*: must be a path"),
        ("[farm]\nendpoint = 5", r"farm\.endpoint = 5 in .*: must be a URL"),
        ("[farm]\nendpoint = '://a'", r"must be a URL"),
        ("[farm]\nendpoint = 'udp://127.0.0.1:5'", r"must be a URL"),
        ("[farm]\nendpoint = 'ipc://*'", r"must be ipc:// and the absolute path"),
        ("[farm]\nendpoint = 'ipc://@name'", r"must be ipc:// and the absolute path"),
        ("[farm]\nendpoint = 'ipc:///a/'", r"must be ipc:// and the absolute path"),
        (f"[farm]\nendpoint = '{LONGEST}x'", r"path of 108 bytes: must be at most 107"),
        ("[farm]\nendpoint = 'tcp://127.0.0.1'", r"must end in a port, 1\.\.65535"),
        ("[farm]\nendpoint = 'tcp://127.0.0.1:0'", r"must end in a port, 1\.\.65535"),
        ("[farm]\nendpoint = 'tcp://127.0.0.1:65536'", r"must end in a port, 1\.\.65535"),
        ("[farm]\nendpoint = 'tcp://0.0.0.0:5555'", r"must be on 127\.0\.0\.1.*unencrypted"),
        ("[farm]\nendpoint = 'tcp://*:5555'", r"must be on 127\.0\.0\.1.*unencrypted"),
        ("[farm]\nendpoint = 'tcp://localhost:5555'", r"must be on 127\.0\.0\.1"),
        ("[farm", r"farm\.toml is no TOML file: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadConfig, match=says) as caught:
        loaded(tmp_path, text)

    assert isinstance(caught.value, BadRequest)
    assert "\n" not in str(caught.value)


def test_a_huge_value_is_not_quoted_in_full(tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        loaded(tmp_path, f"[inference]\nbatch_size = {list(range(10_000))}")

    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "farm.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(BadConfig, match=re.escape(str(file))):
        load_config(file)


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=re.escape(str(tmp_path))):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "url", ["", "ipc:///run/a b/c.sock", LONGEST, "tcp://127.0.0.1:5555", "tcp://127.9.9.9:1"]
)
def test_an_endpoint_on_this_machine_is_taken(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, f"[farm]\nendpoint = '{url}'").farm.endpoint == url


def test_a_switch_is_taken(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[compositors]\nlog_compositing_times = true")

    assert config.compositors.log_compositing_times is True


def test_options_override_a_file_under_the_same_rules() -> None:
    config = with_overrides(
        FarmConfig(), {"inference.batch_size": 25, "compositors.count": None}, source="the options"
    )

    assert config.inference.batch_size == 25
    assert config.compositors == FarmConfig().compositors
    with pytest.raises(BadConfig, match="batch_size = 0 in the options"):
        with_overrides(config, {"inference.batch_size": 0}, source="the options")


def test_sockets_are_in_the_run_directory_unless_the_endpoint_says_otherwise() -> None:
    given = with_overrides(FarmConfig(), {"farm.endpoint": "tcp://127.0.0.1:5"}, source="options")

    here = endpoints(FarmConfig(), Path("/run/farm"))
    there = endpoints(given, Path("/run/farm"))

    assert here == Endpoints("ipc:///run/farm/client.sock", "ipc:///run/farm/worker.sock")
    assert here.socket_files == [Path("/run/farm/client.sock"), Path("/run/farm/worker.sock")]
    assert there == Endpoints("tcp://127.0.0.1:5", "ipc:///run/farm/worker.sock")
    assert there.socket_files == [Path("/run/farm/worker.sock")]


def test_a_run_directory_too_deep_for_sockets_is_refused() -> None:
    fits = Path("/" + "é" * 47)  # two bytes each

    endpoints(FarmConfig(), fits)
    with pytest.raises(BadConfig, match="109 bytes, must be at most 107"):
        endpoints(FarmConfig(), Path(f"{fits}é"))


def test_the_kernels_are_those_that_compositors_have() -> None:
    """Written twice: the daemon, which reads the configuration, does without NumPy."""
    for backend in BACKENDS:
        keys = {"compositors.kernels": backend}
        assert (
            with_overrides(FarmConfig(), keys, source="the options").compositors.kernels == backend
        )
    with pytest.raises(BadConfig, match=f"must be one of {', '.join(BACKENDS)}"):
        with_overrides(FarmConfig(), {"compositors.kernels": "cuda"}, source="the options")
