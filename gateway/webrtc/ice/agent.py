"""ICE-lite (RFC 8445 §2.5) for all viewers behind one port.

Theory of operation. Each viewer has an :class:`IceAgent` with its own user fragment and password. A STUN binding
request names the agent by its user fragment and is authenticated with the password. Only then is the source address
bound to the agent, and only then are DTLS and SRTP datagrams from that address accepted. A lite agent sends no checks:
it answers them, and uses the pair that the browser nominates (USE-CANDIDATE). The browser's candidates are not needed:
its source address counts, also with mDNS names and symmetric NATs.

Rules:

1. A datagram that is not authenticated gets no answer, leaves no state and is counted (no amplification, no
   reflection).
2. An address can be bound to an agent, or moved to another one, only with that agent's password.
3. Every queue and table is bounded: addresses per agent, DTLS datagrams waiting.
"""

import asyncio
import logging
import secrets
import struct
from collections import Counter, deque
from collections.abc import Callable

from aioice import stun

from gateway.clock import Clock
from gateway.webrtc.transport import Address, PeerTransport

log = logging.getLogger(__name__)

TRANSPORTS_MAX = 8
"""Addresses of one viewer at a time: a machine's interfaces, with and without NAT. The oldest is dropped first."""

DTLS_QUEUE_MAX = 32
"""Datagrams; a handshake has fewer."""

REFUSALS = {
    "unknown_address": "not STUN, from an address that is bound to no viewer",
    "invalid_stun": "a STUN message that is malformed or names no viewer",
    "wrong_password": "a connectivity check with a wrong password",
    "malformed": "too long, empty, or not a frame of RFC 4571",
    "error": "an internal error; see the log",
}
"""Why datagrams are refused."""

_BINDING_REQUEST = b"\x00\x01"
_COOKIE = b"\x21\x12\xa4\x42"
_USERNAME = 0x0006
_ICE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def ice_string(length: int) -> str:
    """Random ice-chars (RFC 8839 §5.4), six bits each."""
    return "".join(secrets.choice(_ICE_ALPHABET) for _ in range(length))


def username_of(data: bytes) -> str | None:
    """The local user fragment in a binding request; ``None`` for any other datagram. Never raises, cheap."""
    if len(data) < 28 or data[:2] != _BINDING_REQUEST or data[4:8] != _COOKIE:
        return None
    if int.from_bytes(data[2:4], "big") != len(data) - 20:
        return None
    at = 20
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        if kind == _USERNAME:
            local, colon, _ = data[at + 4 : at + 4 + length].partition(b":")
            return local.decode("ascii", "replace") if colon else None
        at += 4 + length + (-length % 4)
    return None


class IceAgent:
    """The local ICE agent of one viewer.

    ``on_transport`` is called when a transport is selected and on each change, ``on_srtp`` with each SRTP or SRTCP
    datagram.
    """

    def __init__(
        self,
        clock: Clock,
        on_transport: Callable[[PeerTransport], None],
        on_srtp: Callable[[bytes], None],
    ) -> None:
        self.username = ice_string(8)
        self.password = ice_string(24)
        self.previous: tuple[str, str] | None = None
        """User fragment and password from before an ICE restart, valid until the new ones are used."""
        self._clock = clock
        self._on_transport = on_transport
        self._on_srtp = on_srtp
        self.transport: PeerTransport | None = None
        """The one to send on; ``None`` before the first check, and after the last connection was closed."""
        self.transport_lost_s = 0.0
        """When :attr:`transport` became ``None`` again."""
        self.last_consent_s = clock.monotonic()
        """When the last authenticated datagram came: consent (RFC 7675)."""
        self.transports: deque[PeerTransport] = deque()
        self.closed = False
        self._dtls: deque[bytes] = deque()
        self._wakeup = asyncio.Event()
        self.dtls_dropped = 0

    def on_authenticated_packet(self) -> None:
        """The peer sent an authenticated packet: its consent is renewed."""
        self.last_consent_s = self._clock.monotonic()

    def select(self, transport: PeerTransport) -> None:
        """Send on this transport from now on."""
        if transport is not self.transport:
            self.transport = transport
            self._on_transport(transport)

    def lose(self, transport: PeerTransport) -> None:
        """The other end closed a transport. The newest other one is selected; without any, the next that is checked."""
        if transport in self.transports:
            self.transports.remove(transport)
        if transport is not self.transport:
            return
        if self.transports:
            self.select(self.transports[-1])
        else:
            self.transport = None
            self.transport_lost_s = self._clock.monotonic()

    def receive(self, data: bytes) -> None:
        """A datagram other than STUN from a transport of this agent (RFC 7983 tells them apart)."""
        first = data[0]
        if 128 <= first < 192:
            self._on_srtp(data)
        elif 20 <= first < 64:
            if len(self._dtls) >= DTLS_QUEUE_MAX:
                self.dtls_dropped += 1
                return
            self._dtls.append(data)
            self._wakeup.set()

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
        """Send a DTLS datagram. Raises ``ConnectionError`` without a transport."""
        if self.closed or self.transport is None:
            raise ConnectionError("the ICE agent has no transport")
        self.transport.send(data, len(data))


class IceRegistry:
    """All agents, found by user fragment and then by address."""

    def __init__(self) -> None:
        self._by_username: dict[str, IceAgent] = {}
        self._by_address: dict[Address, tuple[IceAgent, PeerTransport]] = {}
        self.refused: Counter[str] = Counter()
        """Refused datagrams, by the keys of ``REFUSALS``."""

    def __len__(self) -> int:
        return len(self._by_username)

    @property
    def addresses(self) -> int:
        """How many UDP addresses are bound to agents."""
        return len(self._by_address)

    def add(self, agent: IceAgent) -> None:
        """Make an agent reachable."""
        self._by_username[agent.username] = agent

    def remove(self, agent: IceAgent) -> None:
        """Remove an agent and its addresses. May be called twice."""
        self._by_username.pop(agent.username, None)
        if agent.previous is not None:
            self._by_username.pop(agent.previous[0], None)
        for transport in agent.transports:
            self._forget(agent, transport)
            transport.close()
        agent.transports.clear()

    def restart(self, agent: IceAgent) -> None:
        """Give an agent a new user fragment and password (RFC 8445 §9); the present ones stay valid until those are
        used."""
        if agent.previous is not None:
            self._by_username.pop(agent.previous[0], None)
        agent.previous = (agent.username, agent.password)
        agent.username, agent.password = ice_string(8), ice_string(24)
        self.add(agent)

    def transport_to(self, address: Address) -> PeerTransport | None:
        """The transport that is bound to this UDP address."""
        known = self._by_address.get(address)
        return known[1] if known else None

    def receive(self, data: bytes, address: Address) -> None:
        """A UDP datagram other than STUN."""
        known = self._by_address.get(address)
        if known is None:
            self.refused["unknown_address"] += 1
        else:
            known[0].receive(data)

    def check(
        self, data: bytes, remote: Address, transport: Callable[[], PeerTransport]
    ) -> tuple[bytes, IceAgent | None] | None:
        """Answer a binding request. Returns the answer, and the agent if the request is authenticated; ``None``: no
        answer.

        ``transport`` makes (or finds) the transport to the sender. It is called for authenticated requests only.
        """
        username = username_of(data)
        agent = self._by_username.get(username) if username is not None else None
        if agent is None:
            self.refused["invalid_stun"] += 1
            return None
        is_previous = agent.previous is not None and username == agent.previous[0]
        password = agent.previous[1] if is_previous and agent.previous is not None else agent.password
        key = password.encode()
        try:
            request = stun.parse_message(data)
            genuine = request.check_message_integrity(key)
        except (ValueError, struct.error, KeyError, IndexError):
            self.refused["invalid_stun"] += 1
            return None
        if not genuine:
            self.refused["wrong_password"] += 1
            return None
        if "ICE-CONTROLLED" in request.attributes:
            # A lite agent is always controlled, so the other side must be controlling (RFC 8445 §7.3.1.1).
            return _error(request, 487, "Role Conflict", key), None
        agent.on_authenticated_packet()
        if not is_previous and agent.previous is not None:
            self._by_username.pop(agent.previous[0], None)
            agent.previous = None
        sender = transport()
        self._bind(agent, sender)
        if agent.transport is None or "USE-CANDIDATE" in request.attributes:
            agent.select(sender)
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = remote
        answer.add_message_integrity(key)
        return bytes(answer), agent

    def _bind(self, agent: IceAgent, transport: PeerTransport) -> None:
        if transport.protocol == "udp":
            known = self._by_address.get(transport.remote)
            if known is not None and known[0] is not agent and transport in known[0].transports:
                known[0].transports.remove(transport)
            self._by_address[transport.remote] = (agent, transport)
        if transport not in agent.transports:
            agent.transports.append(transport)
            if len(agent.transports) > TRANSPORTS_MAX:
                oldest = next(candidate for candidate in agent.transports if candidate is not agent.transport)
                agent.transports.remove(oldest)
                self._forget(agent, oldest)
                oldest.close()

    def _forget(self, agent: IceAgent, transport: PeerTransport) -> None:
        known = self._by_address.get(transport.remote)
        if known is not None and known[0] is agent and known[1] is transport:
            del self._by_address[transport.remote]


def _error(request: stun.Message, code: int, reason: str, key: bytes) -> bytes:
    answer = stun.Message(request.message_method, stun.Class.ERROR, request.transaction_id)
    answer.attributes["ERROR-CODE"] = (code, reason)
    answer.add_message_integrity(key)
    return bytes(answer)
