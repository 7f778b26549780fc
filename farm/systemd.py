"""Telling systemd how the service is: sd_notify(3) in a few lines.

The one file that knows the protocol.  Without NOTIFY_SOCKET nobody asked, and nothing is done.
"""

import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def status(text: str) -> str:
    """What ``systemctl status`` shows: one line."""
    return f"STATUS={' '.join(text.split())}"


def notify(environment: Mapping[str, str], *states: str) -> bool:
    """Send the states in one datagram; whether there was anybody to send them to.

    Raises OSError when the socket is there and does not take it.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):  # systemd may also ask for vsock, in virtual machines
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket: unix(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.sendall("\n".join(states).encode())
    return True
