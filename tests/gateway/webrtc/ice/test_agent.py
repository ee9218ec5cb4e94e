"""ICE-lite: RFC 8445 and 8489 cases, and datagrams from nobody."""

import struct

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from gateway.webrtc.ice.agent import TRANSPORTS_MAX, IceAgent, IceRegistry, username_of
from gateway.webrtc.transport import Address
from tests.gateway.webrtc.wire import Wire

HERE: Address = ("192.0.2.1", 1234)
THERE: Address = ("198.51.100.7", 4321)


class ManualClock:
    """A clock in the hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_90k(self) -> int:
        return round(self.now * 90_000)


class Net:
    """A registry, and transports to wherever."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = IceRegistry()
        self.transports: dict[Address, Wire] = {}
        self.chosen: list[Address] = []
        self.media: list[bytes] = []

    def agent(self) -> IceAgent:
        agent = IceAgent(self.clock, lambda transport: self.chosen.append(transport.remote), self.media.append)
        self.registry.add(agent)
        return agent

    def transport(self, address: Address) -> Wire:
        known = self.registry.transport_to(address)
        if isinstance(known, Wire):
            return known
        transport = self.transports[address] = Wire()
        transport.remote = address
        return transport

    def send(self, data: bytes, address: Address = HERE) -> stun.Message | None:
        """A datagram arrives; returns the answer, if any."""
        result = self.registry.check(data, address, lambda: self.transport(address))
        return stun.parse_message(result[0]) if result else None


def check(agent: IceAgent, password: str | None = None, **attributes: object) -> bytes:
    """A binding request for an agent."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{agent.username}:them"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 7
    for name, value in attributes.items():
        message.attributes[name.replace("_", "-")] = value
    message.add_message_integrity((password or agent.password).encode())
    return bytes(message)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.mark.parametrize("address", [HERE, ("2001:db8::7", 5000)], ids=["IPv4", "IPv6"])
def test_a_check_is_answered_with_the_address_that_it_came_from(net: Net, address: Address) -> None:
    agent = net.agent()
    request = check(agent)
    answer = net.send(request, address)
    assert answer is not None
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.transaction_id == request[8:20]
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == address
    assert answer.check_message_integrity(agent.password.encode())
    assert "FINGERPRINT" in answer.attributes
    assert agent.transport is not None
    assert agent.transport.remote == address


def test_a_wrong_password_is_answered_nothing_and_ties_nothing(net: Net) -> None:
    agent = net.agent()
    assert net.send(check(agent, "x" * 24)) is None
    assert agent.transport is None
    assert net.registry.addresses == 0
    assert net.registry.refused["wrong_password"] == 1


def test_a_request_without_integrity_or_with_another_fingerprint_is_nothing(net: Net) -> None:
    agent = net.agent()
    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    bare.attributes["USERNAME"] = f"{agent.username}:them"
    assert net.send(bytes(bare)) is None
    broken = bytearray(check(agent))
    broken[-1] ^= 1
    assert net.send(bytes(broken)) is None
    assert net.registry.addresses == 0


def test_an_unknown_user_fragment_is_nothing(net: Net) -> None:
    assert net.send(check(IceAgent(net.clock, lambda _: None, lambda _: None))) is None
    assert net.registry.refused["invalid_stun"] == 1


def test_the_controlling_side_chooses_the_path(net: Net) -> None:
    agent = net.agent()
    net.send(check(agent))
    net.send(check(agent), THERE)
    assert agent.transport is not None
    assert agent.transport.remote == HERE, "the first one that works, until one is nominated"
    net.send(check(agent, USE_CANDIDATE=None), THERE)
    assert agent.transport.remote == THERE
    net.send(check(agent, USE_CANDIDATE=None), THERE)
    assert net.chosen == [HERE, THERE]


def test_who_thinks_that_we_control_is_told_of_the_conflict(net: Net) -> None:
    agent = net.agent()
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{agent.username}:them"
    message.attributes["ICE-CONTROLLED"] = 7
    message.add_message_integrity(agent.password.encode())
    answer = net.send(bytes(message))
    assert answer is not None
    assert answer.error_code == 487
    assert agent.transport is None


def test_media_reaches_an_agent_only_from_an_address_that_proved_itself(net: Net) -> None:
    agent = net.agent()
    net.registry.receive(b"\x80\xc8media", HERE)
    assert net.media == []
    net.send(check(agent))
    net.registry.receive(b"\x80\xc8media", HERE)
    net.registry.receive(b"\x80\xc8other", THERE)
    assert net.media == [b"\x80\xc8media"]
    assert net.registry.refused["unknown_address"] == 2


def test_an_address_cannot_be_taken_over_without_the_password(net: Net) -> None:
    victim, thief = net.agent(), net.agent()
    net.send(check(victim))
    assert net.send(check(victim, thief.password), THERE) is None
    assert victim.transport is not None
    assert victim.transport.remote == HERE
    net.registry.receive(b"\x80\xc8media", THERE)
    assert net.media == []


def test_an_address_goes_to_the_agent_that_proves_itself_there_last(net: Net) -> None:
    old, new = net.agent(), net.agent()
    net.send(check(old))
    net.send(check(new))
    net.registry.remove(old)
    net.registry.receive(b"\x80\xc8media", HERE)
    assert net.media == [b"\x80\xc8media"]
    net.registry.remove(new)
    assert net.registry.addresses == 0


def test_the_addresses_of_an_agent_are_bounded_and_the_chosen_one_stays(net: Net) -> None:
    agent = net.agent()
    net.send(check(agent))
    for port in range(100):
        net.send(check(agent), ("203.0.113.9", 1000 + port))
    assert net.registry.addresses == TRANSPORTS_MAX == len(agent.transports)
    net.registry.receive(b"\x80\xc8media", HERE)
    assert net.media == [b"\x80\xc8media"]
    net.registry.remove(agent)
    assert net.registry.addresses == len(net.registry) == 0


def test_an_ice_restart_takes_new_credentials_and_keeps_the_old_until_they_are_used(net: Net) -> None:
    agent = net.agent()
    before, password = check(agent), agent.password
    net.send(before)
    net.registry.restart(agent)
    assert net.send(before) is not None, "consent goes on during the restart"
    assert agent.password != password
    assert net.send(check(agent, USE_CANDIDATE=None), THERE) is not None
    assert agent.transport is not None
    assert agent.transport.remote == THERE
    assert net.send(before) is None, "the old session is over"
    net.registry.remove(agent)
    assert len(net.registry) == 0


def test_a_check_counts_as_consent(net: Net) -> None:
    agent = net.agent()
    net.clock.now = 7.0
    net.send(check(agent, "x" * 24))
    assert agent.last_consent_s == 0.0
    net.send(check(agent))
    assert agent.last_consent_s == 7.0


async def test_dtls_waits_in_a_bounded_queue_and_closing_tells_who_waits(net: Net) -> None:
    agent = net.agent()
    for _ in range(100):
        agent.receive(b"\x16dtls")
    assert agent.dtls_dropped == 68
    assert await agent.receive_dtls() == b"\x16dtls"
    agent.close()
    for _ in range(31):
        await agent.receive_dtls()
    with pytest.raises(ConnectionError):
        await agent.receive_dtls()
    with pytest.raises(ConnectionError):
        agent.send_dtls(b"\x16dtls")


@given(st.binary(max_size=200))
def test_wild_bytes_are_no_check(data: bytes) -> None:
    net = Net()
    net.agent()
    assert net.send(data) is None
    assert net.registry.addresses == 0


@given(st.data())
def test_a_genuine_check_with_wild_attributes_never_raises(data: st.DataObject) -> None:
    net = Net()
    agent = net.agent()
    username = f"{agent.username}:x".encode()
    body = struct.pack("!HH", 6, len(username)) + username + bytes(-len(username) % 4)
    for _ in range(data.draw(st.integers(0, 4))):
        kind = data.draw(st.sampled_from([entry[0] for entry in stun.ATTRIBUTES] + [0x7FFF, 0xC057]))
        value = data.draw(st.binary(max_size=24))
        body += struct.pack("!HH", kind, data.draw(st.sampled_from([len(value), 60_000]))) + value
        body += bytes(-len(value) % 4)
    whole = struct.pack("!HHI12s", 1, len(body), stun.COOKIE, bytes(12)) + body
    assert username_of(whole) == agent.username
    assert net.send(whole) is None
    assert net.registry.addresses == 0


@given(st.integers(0, 120), st.integers(0, 255))
def test_one_wrong_byte_in_what_the_password_covers_is_refused(place: int, value: int) -> None:
    net = Net()
    agent = net.agent()
    request = bytearray(check(agent))
    place %= len(request) - 8
    if request[place] == value:
        return
    request[place] = value
    answer = net.send(bytes(request))
    assert answer is None
    assert agent.transport is None
