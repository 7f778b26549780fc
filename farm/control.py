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
        self._unsent = b""

    def send(self, message: dict[str, Any]) -> None:
        """Say it now, or later if the supervisor does not read: it may be stopped."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        try:
            n = self._socket.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError) as error:
            raise SupervisorGone from error
        self._unsent = self._unsent[n:]

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
