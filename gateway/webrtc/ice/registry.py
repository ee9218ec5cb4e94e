"""IceRegistry: all ICE agents behind one port, found by user fragment and then by address.

Theory of operation. A STUN binding request names an agent by its user fragment and is authenticated with the agent's
password. Only then is the source address bound to the agent, and only then are DTLS and SRTP datagrams from that
address accepted.

Rules:

1. A datagram that is not authenticated gets no answer, leaves no state and is counted (no amplification, no
   reflection).
2. An address can be bound to an agent only with that agent's password. It is taken from another agent that has proven
   it only by the agent that proves it too.
3. Every table is bounded: ``TRANSPORTS_MAX`` addresses per agent.
"""

import struct
from collections import Counter
from collections.abc import Callable

from aioice import stun

from gateway.webrtc.ice.agent import SESSIONS_MAX, IceAgent, IceSession, ice_string
from gateway.webrtc.ice.path import Credentials, Path
from gateway.webrtc.transport import Address, PeerTransport

TRANSPORTS_MAX = 8
"""Addresses of one viewer at a time: a machine's interfaces, with and without NAT. The oldest is dropped first."""

REFUSALS = {
    "unknown_address": "not STUN, from an address that is bound to no viewer",
    "invalid_stun": "a STUN message that is malformed, names no viewer, or answers no check",
    "wrong_password": "a connectivity check with a wrong password",
    "malformed": "too long, empty, or not a frame of RFC 4571",
    "error": "an internal error; see the log",
}
"""Why datagrams are refused."""

_BINDING_REQUEST = b"\x00\x01"
_BINDING_RESPONSE = b"\x01\x01"
_COOKIE = b"\x21\x12\xa4\x42"
_USERNAME = 0x0006


def is_binding_response(data: bytes) -> bool:
    """Whether a STUN message is a success response to a binding request. Cheap."""
    return len(data) >= 20 and data[:2] == _BINDING_RESPONSE and data[4:8] == _COOKIE


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


class IceRegistry:
    """All agents, found by user fragment and then by address."""

    def __init__(self) -> None:
        self._by_username: dict[str, IceAgent] = {}
        self._by_address: dict[Address, tuple[IceAgent, PeerTransport]] = {}
        self._contenders: dict[Address, tuple[IceAgent, PeerTransport]] = {}
        """Agents that were authenticated at an address of another one, and have not proven it."""
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
        for session in agent.sessions:
            self._by_username.pop(session.username, None)
        for transport in agent.paths:
            self._forget(agent, transport)
            transport.close()
        agent.paths.clear()

    def restart(self, agent: IceAgent, remote: tuple[str, str]) -> None:
        """Give an agent a new user fragment and password (RFC 8445 §9), and the peer's new ones.

        The present ones stay valid until those are used: the answer to a restart may be lost. Of several restarts that
        were not used, the oldest are forgotten first.
        """
        if len(agent.sessions) == SESSIONS_MAX:
            self._by_username.pop(agent.sessions.pop(1).username, None)
        agent.sessions.append(IceSession(ice_string(8), ice_string(24), remote))
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
            known[0].receive(data, known[1])

    def receive_answer(self, data: bytes, address: Address) -> None:
        """A UDP datagram that is a binding success response."""
        for agent, transport in filter(None, (self._by_address.get(address), self._contenders.get(address))):
            path = agent.paths.get(transport)
            if path is not None and agent.on_answer(data, path):
                self._take_over(agent, transport)
                return
        self.refused["invalid_stun"] += 1

    def check(
        self, data: bytes, remote_address: Address, transport: Callable[[], PeerTransport]
    ) -> tuple[bytes, IceAgent | None] | None:
        """Answer a binding request. Returns the answer, and the agent if the request is authenticated; ``None``: no
        answer.

        ``transport`` makes (or finds) the transport to the sender. It is called for authenticated requests only.
        """
        username = username_of(data)
        agent = self._by_username.get(username) if username is not None else None
        if agent is None or username is None:
            self.refused["invalid_stun"] += 1
            return None
        session = next(each for each in agent.sessions if each.username == username)
        key = session.password.encode()
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
        while agent.sessions[0] is not session:
            self._by_username.pop(agent.sessions.pop(0).username, None)
        path = self._bind(agent, transport())
        path.received_bytes += len(data)
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = remote_address
        answer.add_message_integrity(key)
        response = bytes(answer)
        path.sent_bytes += len(response)
        agent.on_check(path, Credentials(username, *session.remote), nominates="USE-CANDIDATE" in request.attributes)
        return response, agent

    def _bind(self, agent: IceAgent, transport: PeerTransport) -> Path:
        if transport.protocol == "udp":
            owner, _ = self._by_address.get(transport.remote, (agent, None))
            if owner is not agent and owner.has_proven(transport):
                self._contenders[transport.remote] = agent, transport
            else:
                self._take_over(agent, transport)
        path = agent.paths.get(transport)
        if path is None:
            path = agent.paths[transport] = Path(transport, agent.last_consent_s)
            if len(agent.paths) > TRANSPORTS_MAX:
                oldest = next(other for other in agent.paths if other not in (agent.transport, transport))
                del agent.paths[oldest]
                self._forget(agent, oldest)
                oldest.close()
        return path

    def _take_over(self, agent: IceAgent, transport: PeerTransport) -> None:
        """An address belongs to this agent from now on."""
        address = transport.remote
        owner, other = self._by_address.get(address, (agent, transport))
        if owner is not agent and other is not None:
            owner.lose(other)
        self._by_address[address] = agent, transport
        self._contenders.pop(address, None)

    def _forget(self, agent: IceAgent, transport: PeerTransport) -> None:
        for table in (self._by_address, self._contenders):
            known = table.get(transport.remote)
            if known is not None and known[0] is agent and known[1] is transport:
                del table[transport.remote]


def _error(request: stun.Message, code: int, reason: str, key: bytes) -> bytes:
    answer = stun.Message(request.message_method, stun.Class.ERROR, request.transaction_id)
    answer.attributes["ERROR-CODE"] = (code, reason)
    answer.add_message_integrity(key)
    return bytes(answer)
