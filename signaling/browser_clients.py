"""The clients of the gateway's own Socket.IO server, and how many there may be.

Rules:

1. There are at most :data:`CLIENTS_MAX` clients, and :data:`CLIENTS_PER_ADDRESS_MAX` of one credential or address
   (``counted_as`` of :mod:`signaling.access`).
2. At the first limit, the one with the most loses its newest client to one that has fewer, so that nobody can keep
   others out.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from gateway.errors import UnavailableError
from signaling.access import ClientAccess, Unsubscribe
from signaling.frames import VIDEO_FRAME, FrameStreams
from signaling.socket_server import SocketServer

QUEUE_MAX = 512
"""Packets that may wait for one client: minutes of status messages. No client that reads has so many."""

CLIENTS_MAX = 1024
CLIENTS_PER_ADDRESS_MAX = 256
"""An office behind one address has this many people, an attack more."""


class BrowserClient:
    """One connection, and the frames that are sent on it."""

    def __init__(self, sio: SocketServer, sid: str, address: str, access: ClientAccess, counted_as: str) -> None:
        self.sid = sid
        self.eio_sid: str | None = None
        self.address = address
        self.access = access
        self.counted_as = counted_as
        self.unsubscribe: Unsubscribe = lambda: None
        self.is_revoked = False
        self.is_disconnected = False
        self.client_ids: set[str] = set()
        """For :class:`~signaling.client_ids.ClientIds`."""
        self.frames = FrameStreams(self._send_frame, address)
        self._sio = sio

    @property
    def is_too_slow(self) -> bool:
        """Whether it does not read what it is sent."""
        return self._sio.queue_size(self.sid) > QUEUE_MAX

    async def _send_frame(self, data: dict[str, Any], arrived: Callable[[], None]) -> None:
        """Send one frame. Its acknowledgement permits the next one."""
        await self._sio.emit(VIDEO_FRAME, data, to=self.sid, callback=lambda *_: arrived())


class BrowserClients:
    """See the module. The clients that are connected, by their session id, the oldest first."""

    def __init__(self) -> None:
        self.refused = 0
        """Clients that were refused."""
        self.displaced = 0
        """Clients that were disconnected for others (rule 2)."""
        self._clients: dict[str, BrowserClient] = {}
        self._frames_sent = self._frames_skipped = 0
        """Sums over the clients that have disconnected."""

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, sid: str) -> bool:
        return sid in self._clients

    def __iter__(self) -> Iterator[BrowserClient]:
        """Those of this moment: they may change meanwhile."""
        return iter(tuple(self._clients.values()))

    def get(self, sid: str) -> BrowserClient | None:
        """A client, while it is connected."""
        return self._clients.get(sid)

    @property
    def frames_sent(self) -> int:
        return self._frames_sent + sum(client.frames.frames_sent for client in self._clients.values())

    @property
    def frames_skipped(self) -> int:
        return self._frames_skipped + sum(client.frames.frames_skipped for client in self._clients.values())

    def make_room(self, counted_as: str) -> BrowserClient | None:
        """Room for a new client of ``counted_as``. Returns the client to disconnect for it, if one has to go.

        Raises ``UnavailableError`` where there is no room.
        """
        of_client = sum(client.counted_as == counted_as for client in self._clients.values())
        is_full = len(self._clients) >= CLIENTS_MAX
        displaced = self._newest_of_the_largest(of_client) if is_full else None
        if of_client >= CLIENTS_PER_ADDRESS_MAX or (is_full and displaced is None):
            self.refused += 1
            raise UnavailableError("too many Socket.IO clients are connected; try again later")
        self.displaced += displaced is not None
        return displaced

    def _newest_of_the_largest(self, own: int) -> BrowserClient | None:
        """Rule 2, for one that has ``own`` clients."""
        limited = [client for client in self._clients.values() if client.access.is_limited]
        shares = Counter(client.counted_as for client in limited)
        largest, count = shares.most_common(1)[0] if shares else ("", 0)
        if count <= own + 1:
            return None
        return [client for client in limited if client.counted_as == largest][-1]

    def add(self, client: BrowserClient) -> None:
        self._clients[client.sid] = client

    def remove(self, sid: str) -> BrowserClient | None:
        """The client, which is not connected any more; ``None`` if it was not."""
        return self._clients.pop(sid, None)

    async def end_frames(self, client: BrowserClient) -> None:
        """Stop the frames of a removed client."""
        await client.frames.close()
        self._frames_sent += client.frames.frames_sent
        self._frames_skipped += client.frames.frames_skipped
