"""The broker's line to the supervisor: one JSON object a line, both ways."""

import json
import socket
from typing import Any

from farm.errors import FarmError


class SupervisorGone(FarmError):
    """The other end is closed: nothing is left to do."""


class Control:
    """The broker's end.  Never waits."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._unfinished = b""

    def send(self, message: dict[str, Any]) -> None:
        """The supervisor reads all the time: a full line would mean that it is stuck."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """Every message that has arrived whole.  Raises SupervisorGone."""
        while True:
            try:
                piece = self._socket.recv(65_536)
            except BlockingIOError:
                break
            if not piece:
                raise SupervisorGone
            self._unfinished += piece
        *lines, self._unfinished = self._unfinished.split(b"\n")
        return [json.loads(line) for line in lines]
