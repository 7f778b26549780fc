"""Sockets with the farm's settings.  The one file that makes ZeroMQ sockets.

Messages are lists of frames; a ROUTER's begin with the peer's identity.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import zmq

Frame: TypeAlias = "bytes | bytearray | memoryview"

ZERO_COPY_BYTES = 65_536  #: below this a copy is cheaper than keeping track of the buffer
FUSE_MESSAGES = 100_000  #: credits bound every queue far below; a queue this long is a bug

Again = zmq.Again
POLLIN = zmq.POLLIN

RECONNECT_MS = 50  #: between attempts: a broker that was restarted is found at once


class PeerGone(Exception):
    """A ROUTER has no such peer any more."""


class Endpoint:
    """A ROUTER or DEALER; also its own context, so that closing it closes everything."""

    def __init__(
        self, kind: int, *, max_frame_bytes: int = -1, receive_queue: int = FUSE_MESSAGES
    ) -> None:
        self._context = zmq.Context(io_threads=1)
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, FUSE_MESSAGES)
        self.socket.setsockopt(zmq.RCVHWM, receive_queue)
        self.socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
        self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self.monitor: zmq.Socket[bytes] | None = None
        self._n_connections = 0
        if kind == zmq.ROUTER:
            # Without it a message to a dead peer vanishes without a word.
            self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)

    def send(self, frames: Sequence[Frame]) -> None:
        """Queue a message; never waits.

        Raises PeerGone, and Again when the fuse has blown.
        """
        large = any(len(frame) >= ZERO_COPY_BYTES for frame in frames)
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT, copy=not large)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise PeerGone from error
            raise

    def receive(self) -> list[bytes] | None:
        """The next message, None when there is none."""
        try:
            return self.socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return None

    def watch(self) -> None:
        """Let `Waiter` wake for connections too, and `has_reconnected` count them."""
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED
        self.monitor = self.socket.get_monitor_socket(events)

    def has_reconnected(self) -> bool:
        """Whether the line was cut and another one stands, since this was asked last."""
        n_new = 0
        while self.monitor is not None:
            try:
                self.monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            n_new += 1
        before, self._n_connections = self._n_connections, self._n_connections + n_new
        return n_new > 0 and self._n_connections > max(before, 1)

    def close(self, linger_s: float = 0.0) -> None:
        """``linger_s`` : how long queued messages may still go out."""
        if self.monitor is not None:
            self.socket.disable_monitor()
            self.monitor.close(linger=0)
            self.monitor = None
        self.socket.close(linger=int(linger_s * 1000))
        self._context.term()


def router(url: str, *, max_frame_bytes: int = -1, receive_queue: int = FUSE_MESSAGES) -> Endpoint:
    """Bind.  Raises OSError when the address cannot be had.

    ``receive_queue`` : messages of one peer that wait here; the rest waits with the peer.
    """
    endpoint = Endpoint(zmq.ROUTER, max_frame_bytes=max_frame_bytes, receive_queue=receive_queue)
    try:
        endpoint.socket.bind(url)
    except zmq.ZMQError as error:
        endpoint.close()
        raise OSError(error.errno, f"{url}: {error.strerror}") from error
    return endpoint


def dealer(url: str) -> Endpoint:
    """Connect; that nobody listens there shows only in the silence."""
    endpoint = Endpoint(zmq.DEALER)
    endpoint.watch()
    try:
        endpoint.socket.connect(url)
    except zmq.ZMQError as error:
        endpoint.close()
        raise OSError(error.errno, f"{url}: {error.strerror}") from error
    return endpoint


class Waiter:
    """Wait for sockets and plain file descriptors at once."""

    def __init__(self, *sources: "Endpoint | int") -> None:
        self._poller = zmq.Poller()
        for source in sources:
            what = source.socket if isinstance(source, Endpoint) else source
            self._poller.register(what, zmq.POLLIN)
            if isinstance(source, Endpoint) and source.monitor is not None:
                self._poller.register(source.monitor, zmq.POLLIN)

    def wait(self, timeout_s: float) -> set[object]:
        """Whatever has something to read: the endpoints' sockets and the descriptors."""
        return {what for what, _ in self._poller.poll(max(0, math.ceil(timeout_s * 1000)))}
