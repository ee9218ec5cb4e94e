"""CaptureClients: who started the capture of a camera by command, and with what metadata. Sans-IO.

Rules:

1. There are at most :data:`CLIENTS_MAX` clients of a camera, and :data:`CLIENTS_PER_OWNER` of one *owner*: the sender
   of the command, as limits count it. An owner ``None`` has only the first limit.
2. At a limit, the client whose last start is oldest gives way, if that was :data:`EXPIRES_S` ago and it *expires*: a
   client over HTTP or of the EMS can forget to stop. One with a connection of its own ends with that, and stays. At the
   first limit, the owner with the most makes room for one that has fewer at once, so that nobody can keep others out.
3. If none gives way, :class:`~gateway.errors.UnavailableError` says when to try again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import UnavailableError

CLIENTS_MAX = 512
CLIENTS_PER_OWNER = 128

EXPIRES_S = 60.0


@dataclass(frozen=True, slots=True)
class _Client:
    metadata: Mapping[str, Any]
    owner: str | None
    expires: bool
    started_s: float


class CaptureClients(Mapping[str, Mapping[str, Any]]):
    """See the module. A mapping of client ids to metadata."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        """The one whose last start is oldest first."""
        self.refused = 0
        """Starts refused by rule 3."""
        self.expired = 0
        """Clients that gave way (rule 2)."""

    def __getitem__(self, client_id: str) -> Mapping[str, Any]:
        return self._clients[client_id].metadata

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def add(
        self,
        client_id: str,
        metadata: Mapping[str, Any],
        now_s: float,
        *,
        owner: str | None = None,
        expires: bool = True,
    ) -> None:
        """Add a client, or replace its metadata. ``now_s`` is monotonic. Raises ``UnavailableError`` (rule 3)."""
        if client_id not in self._clients:
            of_owner = [each for each, client in self._clients.items() if client.owner == owner]
            if owner is not None and len(of_owner) >= CLIENTS_PER_OWNER:
                self._make_room(of_owner, now_s)
            elif len(self._clients) >= CLIENTS_MAX and not self._displace(len(of_owner)):
                self._make_room(list(self._clients), now_s)
        self._clients.pop(client_id, None)
        self._clients[client_id] = _Client(dict(metadata), owner, expires, now_s)

    def started_s(self, client_id: str) -> float:
        """When a client has last started the capture, monotonic."""
        return self._clients[client_id].started_s

    def remove(self, client_id: str) -> bool:
        """Remove a client. Returns whether there was one."""
        return self._clients.pop(client_id, None) is not None

    def clear(self) -> None:
        """Remove all clients."""
        self._clients.clear()

    def _displace(self, own: int) -> bool:
        """Remove the oldest client of the owner with the most, for one that has ``own``. ``False``: it has no more."""
        owners = Counter(client.owner for client in self._clients.values() if client.expires and client.owner)
        owner, count = owners.most_common(1)[0] if owners else ("", 0)
        if count <= own + 1:
            return False
        del self._clients[
            next(each for each, client in self._clients.items() if client.owner == owner and client.expires)
        ]
        self.expired += 1
        return True

    def _make_room(self, client_ids: list[str], now_s: float) -> None:
        """Rule 2, among these clients, the oldest first."""
        oldest = next((each for each in client_ids if self._clients[each].expires), None)
        if oldest is None or now_s - self._clients[oldest].started_s < EXPIRES_S:
            self.refused += 1
            wait_s = EXPIRES_S if oldest is None else EXPIRES_S - (now_s - self._clients[oldest].started_s)
            raise UnavailableError(
                f"{len(client_ids)} clients have started this capture, the limit; stop some, or start again later",
                retry_after_s=max(1, round(wait_s)),
            )
        del self._clients[oldest]
        self.expired += 1
