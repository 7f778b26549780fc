"""Words to clients, held back until the promises in them are kept."""

from collections.abc import Sequence

from farm import protocol
from farm.jobs import NOBODY
from workers import wire
from workers.transport import Again, Endpoint, Frame, PeerGone


class Outbox:
    """The broker's voice to its clients.  Never waits."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._unsaid: list[tuple[bytes, object, Sequence[Frame]]] = []

    def tell(self, client: bytes, message: object, payloads: Sequence[Frame] = ()) -> None:
        """Queue a word; to nobody, none."""
        if client != NOBODY:
            self._unsaid.append((client, message, payloads))

    def unsay(self, job_id: str) -> None:
        """Take back what is queued about a job."""
        self._unsaid = [x for x in self._unsaid if getattr(x[1], "job_id", None) != job_id]

    def flush(self) -> set[bytes]:
        """Say what is queued; gives who is gone, or has let its queue run over."""
        unsaid, self._unsaid = self._unsaid, []
        gone: set[bytes] = set()
        for client, message, payloads in unsaid:
            if client not in gone and not self._send(client, message, payloads):
                gone.add(client)
        return gone

    def reaches(self, client: bytes) -> bool:
        """Whether somebody is there: said at once, and promising nothing."""
        return self._send(client, protocol.KeepAlive(), ())

    def _send(self, client: bytes, message: object, payloads: Sequence[Frame]) -> bool:
        header = wire.encode(message, protocol.VERSION)
        try:
            self._endpoint.send([client, header, *payloads])
        except (PeerGone, Again):
            return False
        return True
