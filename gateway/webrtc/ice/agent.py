"""IceAgent: ICE-lite (RFC 8445 §2.5) for one viewer.

Theory of operation. Each viewer has an agent with its own user fragment and password. A STUN binding request is
authenticated with the password (:mod:`gateway.webrtc.ice.registry`). The browser's candidates are not needed: its
source address counts, also with mDNS names and symmetric NATs.

A lite agent gathers nothing, and looks for no pair. It answers checks, and uses the pair that the browser nominates
(USE-CANDIDATE). But a check says where it claims to come from, not who wants data there. So each check is also answered
with one of our own, as a full agent does (RFC 8445 §7.3.1.4), and a path is used when that has been answered; see
:mod:`gateway.webrtc.ice.path`.

Rules:

1. Once a path is proven, only proven paths are selected. Before, DTLS may use an unproven one within its credit.
2. A nomination is carried out when its path is proven. Without nomination, the agent moves when the selected path has
   left checks unanswered (``UNANSWERED_MAX``), and the peer was heard on another, proven one since.
3. Every queue is bounded: DTLS datagrams that came, and those that wait for a path's credit.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.clock import Clock
from gateway.webrtc.ice.path import Credentials, Path
from gateway.webrtc.transport import PeerTransport

DTLS_QUEUE_MAX = 32
"""Datagrams; a handshake has fewer."""

DTLS_WAITING_MAX = 8
"""Datagrams that wait for an unproven path's credit; more are dropped, and DTLS sends them again."""

NOMINATION_S = 5.0
"""How long a nomination waits for the proof of its path. A peer repeats its nomination with each check."""

UNANSWERED_MAX = 2
"""Checks that the selected path may leave unanswered while the peer is heard elsewhere."""

_ICE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def ice_string(length: int) -> str:
    """Random ice-chars (RFC 8839 §5.4), six bits each."""
    return "".join(secrets.choice(_ICE_ALPHABET) for _ in range(length))


SESSIONS_MAX = 4
"""Of one viewer: the answers of two restarts may be lost."""


@dataclass(frozen=True, slots=True)
class IceSession:
    """User fragment and password, ours and the peer's (``remote``)."""

    username: str
    password: str
    remote: tuple[str, str]


class IceAgent:
    """The local ICE agent of one viewer.

    ``remote`` is the peer's user fragment and password. ``on_transport`` is called when a transport is selected and on
    each change, ``on_srtp`` with each SRTP or SRTCP datagram.
    """

    def __init__(
        self,
        clock: Clock,
        remote: tuple[str, str],
        on_transport: Callable[[PeerTransport], None],
        on_srtp: Callable[[bytes], None],
    ) -> None:
        self.sessions = [IceSession(ice_string(8), ice_string(24), remote)]
        """The ICE sessions that the peer may use: the one that it uses, and those of restarts since."""
        self._clock = clock
        self._on_transport = on_transport
        self._on_srtp = on_srtp
        self.paths: dict[PeerTransport, Path] = {}
        """In the order in which they were found."""
        self.transport_lost_s = 0.0
        """When :attr:`transport` became ``None`` again."""
        self.last_consent_s = clock.monotonic()
        """When the last authenticated datagram came, on any path."""
        self.proven = asyncio.Event()
        """Set when a proven path has been selected."""
        self.selected = asyncio.Event()
        """Set when a path has been selected."""
        self.closed = False
        self.dtls_dropped = 0
        self._path: Path | None = None
        self._receiving: Path | None = None
        self._handshake_paths: set[Path] = set()
        self._dtls: deque[bytes] = deque()
        self._dtls_waiting: deque[bytes] = deque()
        self._wakeup = asyncio.Event()

    @property
    def username(self) -> str:
        """Ours, of the newest ICE session."""
        return self.sessions[-1].username

    @property
    def password(self) -> str:
        """Ours, of the newest ICE session."""
        return self.sessions[-1].password

    @property
    def remote(self) -> tuple[str, str]:
        """The peer's user fragment and password, of the newest ICE session."""
        return self.sessions[-1].remote

    @remote.setter
    def remote(self, remote: tuple[str, str]) -> None:
        self.sessions[-1] = replace(self.sessions[-1], remote=remote)

    @property
    def transport(self) -> PeerTransport | None:
        """The one to send on; ``None`` before the first check, and after the last connection was closed."""
        return None if self._path is None else self._path.transport

    @property
    def has_consent(self) -> bool:
        """Whether media may be sent on the selected path."""
        return self._path is not None and self._path.is_proven(self._clock.monotonic())

    def on_authenticated_packet(self) -> None:
        """The datagram that is being received is authentic: the peer is alive on its path."""
        self.last_consent_s = self._clock.monotonic()
        if self._receiving is not None:
            self._receiving.heard_s = self.last_consent_s

    def on_check(self, path: Path, credentials: Credentials, *, nominates: bool) -> None:
        """An authentic check came on a path."""
        now = self.last_consent_s = path.heard_s = self._clock.monotonic()
        path.credentials = credentials
        if nominates:
            path.nominated_s = now
        path.check(now)
        if path.is_proven(now):
            self._use_proven(path, now)
        elif not self.proven.is_set() and (self._path is None or nominates):
            self._select(path, now)

    def on_answer(self, data: bytes, path: Path) -> bool:
        """A binding success response came on a path. Whether it answers a check of ours."""
        now = self._clock.monotonic()
        if not path.take_answer(data, now):
            return False
        self.last_consent_s = now
        self._use_proven(path, now)
        return True

    def tick(self, now: float) -> None:
        """Called once a second: keep the consent, and leave a path that the peer has left."""
        selected = self._path
        if selected is None:
            return
        others = [path for path in self.paths.values() if path is not selected and path.heard_s > selected.heard_s]
        selected.check(now, at_once=bool(others))
        if selected.unanswered > UNANSWERED_MAX or not selected.is_proven(now):
            proven = [path for path in others if path.is_proven(now)]
            if proven:
                self._select(max(proven, key=lambda path: path.heard_s), now)

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long, as if that time had not passed."""
        self.last_consent_s += stalled_s
        self.transport_lost_s += stalled_s
        for path in self.paths.values():
            path.resume(stalled_s)

    def prove_by_dtls(self) -> None:
        """The DTLS handshake has ended; see rule 3 of :mod:`gateway.webrtc.ice.path`."""
        if len(self._handshake_paths) == 1:
            path = next(iter(self._handshake_paths))
            path.prove_by_dtls()
            if path is self._path:
                self._select(path, self._clock.monotonic())
        self._handshake_paths.clear()

    def has_proven(self, transport: PeerTransport) -> bool:
        """Whether this is a proven path of the agent."""
        path = self.paths.get(transport)
        return path is not None and path.is_proven(self._clock.monotonic())

    def lose(self, transport: PeerTransport) -> None:
        """The other end closed a transport, or its address belongs to another agent.

        The newest other proven one is selected; without any, the next one.
        """
        path = self.paths.pop(transport, None)
        if path is None or path is not self._path:
            return
        now = self._clock.monotonic()
        proven = [other for other in self.paths.values() if other.is_proven(now)]
        if proven:
            self._select(proven[-1], now)
        else:
            self._path = None
            self.transport_lost_s = now

    def receive(self, data: bytes, transport: PeerTransport) -> None:
        """A datagram other than STUN from a transport of this agent (RFC 7983 tells them apart)."""
        self._receiving = self.paths.get(transport)
        if self._receiving is not None:
            self._receiving.received_bytes += len(data)
        first = data[0]
        if 128 <= first < 192:
            self._on_srtp(data)
        elif 20 <= first < 64:
            if len(self._dtls) >= DTLS_QUEUE_MAX:
                self.dtls_dropped += 1
                return
            self._dtls.append(data)
            self._wakeup.set()
            self._send_waiting(self._clock.monotonic())

    def close(self) -> None:
        """Stop receiving and sending. A pending ``receive_dtls`` raises. May be called twice."""
        self.closed = True
        self._wakeup.set()

    async def receive_dtls(self) -> bytes:
        """The next DTLS datagram. Raises ``ConnectionError`` when the agent is closed."""
        while not self._dtls:
            if self.closed:
                raise ConnectionError("the ICE agent is closed")
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._dtls.popleft()

    def send_dtls(self, data: bytes) -> None:
        """Send a DTLS datagram, or keep it until the path has credit. Raises ``ConnectionError`` without a path."""
        if self.closed or self._path is None:
            raise ConnectionError("the ICE agent has no transport")
        if len(self._dtls_waiting) >= DTLS_WAITING_MAX:
            self.dtls_dropped += 1
            return
        self._dtls_waiting.append(data)
        self._send_waiting(self._clock.monotonic())

    def _send_waiting(self, now: float) -> None:
        path = self._path
        while path is not None and self._dtls_waiting:
            data = self._dtls_waiting[0]
            if not path.is_proven(now) and not path.may_send(len(data)):
                return
            self._dtls_waiting.popleft()
            path.sent_bytes += len(data)
            self._handshake_paths.add(path)
            path.transport.send(data, len(data))

    def _use_proven(self, path: Path, now: float) -> None:
        is_nominated = path.nominated_s is not None and now - path.nominated_s <= NOMINATION_S
        current = self._path
        if is_nominated or current is None or current is path or not current.is_proven(now):
            path.nominated_s = None
            self._select(path, now)
        else:
            current.check(now, at_once=True)

    def _select(self, path: Path, now: float) -> None:
        """Send on this path from now on."""
        is_new = path is not self._path
        self._path = path
        self.selected.set()
        if path.is_proven(now):
            self.proven.set()
        if is_new:
            self._on_transport(path.transport)
        self._send_waiting(now)
