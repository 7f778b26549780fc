import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from farm import systemd

UNIT = Path(__file__).parents[3] / "configs" / "farm.service"


def listening(address: str) -> socket.socket:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.settimeout(10)
    receiver.bind(address)
    return receiver


def test_states_arrive_in_one_datagram(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")

    with listening(address) as receiver:
        was_sent = systemd.notify(
            {"NOTIFY_SOCKET": address}, systemd.READY, systemd.status("two\nlines")
        )

        assert was_sent
        assert receiver.recv(1024) == b"READY=1\nSTATUS=two lines"


def test_an_at_sign_means_an_abstract_socket(tmp_path: Path) -> None:
    name = str(tmp_path / "abstract")

    with listening(f"\0{name}") as receiver:
        assert systemd.notify({"NOTIFY_SOCKET": f"@{name}"}, systemd.STOPPING)
        assert receiver.recv(1024) == b"STOPPING=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_nothing_is_done(environment: dict[str, str]) -> None:
    assert not systemd.notify(environment, systemd.READY)


def test_a_socket_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, systemd.READY)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "lipfarm.service"
    # It also checks that the program is there, which is so on the machine it is meant for.
    unit.write_text(UNIT.read_text().replace("/opt/lipfarm/bin/farm", sys.executable))

    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60
    )

    assert (verified.returncode, verified.stderr) == (0, "")
