"""ICE-lite: cases of RFC 8445 and 8489, and datagrams from unknown senders."""

import struct

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from gateway.webrtc.ice.agent import SESSIONS_MAX, IceAgent
from gateway.webrtc.ice.registry import TRANSPORTS_MAX, IceRegistry, username_of
from gateway.webrtc.transport import Address
from tests.gateway.webrtc.wire import CapturingTransport
from tests.support.manual_clock import ManualClock

HERE: Address = ("192.0.2.1", 1234)
THERE: Address = ("198.51.100.7", 4321)
REMOTE = ("them", "p" * 24)


class IceHarness:
    """A registry, and transports to any address."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = IceRegistry()
        self.transports: dict[Address, CapturingTransport] = {}
        self.chosen: list[Address] = []
        self.media: list[bytes] = []

    def agent(self) -> IceAgent:
        agent = IceAgent(self.clock, REMOTE, lambda transport: self.chosen.append(transport.remote), self.media.append)
        self.registry.add(agent)
        return agent

    def transport(self, address: Address) -> CapturingTransport:
        known = self.registry.transport_to(address)
        if isinstance(known, CapturingTransport):
            return known
        transport = self.transports[address] = CapturingTransport()
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
def ice() -> IceHarness:
    return IceHarness()


@pytest.mark.parametrize("address", [HERE, ("2001:db8::7", 5000)], ids=["IPv4", "IPv6"])
def test_a_check_is_answered_with_its_source_address(ice: IceHarness, address: Address) -> None:
    agent = ice.agent()
    request = check(agent)
    answer = ice.send(request, address)
    assert answer is not None
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.transaction_id == request[8:20]
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == address
    assert answer.check_message_integrity(agent.password.encode())
    assert "FINGERPRINT" in answer.attributes
    assert agent.transport is not None
    assert agent.transport.remote == address


def test_a_check_with_a_wrong_password_gets_no_answer_and_leaves_no_state(ice: IceHarness) -> None:
    agent = ice.agent()
    assert ice.send(check(agent, "x" * 24)) is None
    assert agent.transport is None
    assert ice.registry.addresses == 0
    assert ice.registry.refused["wrong_password"] == 1


def test_a_check_without_integrity_or_with_a_wrong_fingerprint_gets_no_answer(ice: IceHarness) -> None:
    agent = ice.agent()
    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    bare.attributes["USERNAME"] = f"{agent.username}:them"
    assert ice.send(bytes(bare)) is None
    broken = bytearray(check(agent))
    broken[-1] ^= 1
    assert ice.send(bytes(broken)) is None
    assert ice.registry.addresses == 0


def test_a_check_for_an_unknown_user_fragment_gets_no_answer(ice: IceHarness) -> None:
    assert ice.send(check(IceAgent(ice.clock, REMOTE, lambda _: None, lambda _: None))) is None
    assert ice.registry.refused["invalid_stun"] == 1


def test_the_controlling_side_selects_the_transport(ice: IceHarness) -> None:
    agent = ice.agent()
    ice.send(check(agent))
    ice.send(check(agent), THERE)
    assert agent.transport is not None
    assert agent.transport.remote == HERE, "the first one that works, until one is nominated"
    ice.send(check(agent, USE_CANDIDATE=None), THERE)
    assert agent.transport.remote == THERE
    ice.send(check(agent, USE_CANDIDATE=None), THERE)
    assert ice.chosen == [HERE, THERE]


def test_a_controlled_peer_gets_a_role_conflict(ice: IceHarness) -> None:
    agent = ice.agent()
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{agent.username}:them"
    message.attributes["ICE-CONTROLLED"] = 7
    message.add_message_integrity(agent.password.encode())
    answer = ice.send(bytes(message))
    assert answer is not None
    assert answer.error_code == 487
    assert agent.transport is None


def test_media_is_accepted_only_from_an_authenticated_address(ice: IceHarness) -> None:
    agent = ice.agent()
    ice.registry.receive(b"\x80\xc8media", HERE)
    assert ice.media == []
    ice.send(check(agent))
    ice.registry.receive(b"\x80\xc8media", HERE)
    ice.registry.receive(b"\x80\xc8other", THERE)
    assert ice.media == [b"\x80\xc8media"]
    assert ice.registry.refused["unknown_address"] == 2


def test_an_address_cannot_be_taken_over_without_the_password(ice: IceHarness) -> None:
    victim, thief = ice.agent(), ice.agent()
    ice.send(check(victim))
    assert ice.send(check(victim, thief.password), THERE) is None
    assert victim.transport is not None
    assert victim.transport.remote == HERE
    ice.registry.receive(b"\x80\xc8media", THERE)
    assert ice.media == []


def test_an_address_belongs_to_the_agent_that_was_authenticated_there_last(ice: IceHarness) -> None:
    old, new = ice.agent(), ice.agent()
    ice.send(check(old))
    ice.send(check(new))
    ice.registry.remove(old)
    ice.registry.receive(b"\x80\xc8media", HERE)
    assert ice.media == [b"\x80\xc8media"]
    ice.registry.remove(new)
    assert ice.registry.addresses == 0


def test_the_addresses_of_an_agent_are_bounded_and_the_selected_one_stays(ice: IceHarness) -> None:
    agent = ice.agent()
    ice.send(check(agent))
    for port in range(100):
        ice.send(check(agent), ("203.0.113.9", 1000 + port))
    assert ice.registry.addresses == TRANSPORTS_MAX == len(agent.paths)
    ice.registry.receive(b"\x80\xc8media", HERE)
    assert ice.media == [b"\x80\xc8media"]
    ice.registry.remove(agent)
    assert ice.registry.addresses == len(ice.registry) == 0


def test_restarts_whose_answers_are_lost_end_nothing(ice: IceHarness) -> None:
    agent = ice.agent()
    used = check(agent)
    for number in range(10):
        ice.registry.restart(agent, (f"other{number}", "q" * 24))
        assert ice.send(used) is not None, "the session in use stays valid"
    assert len(agent.sessions) == len(ice.registry) == SESSIONS_MAX
    assert ice.send(check(agent)) is not None
    assert ice.send(used) is None
    assert len(agent.sessions) == len(ice.registry) == 1


def test_after_an_ice_restart_the_old_credentials_are_valid_until_the_new_ones_are_used(ice: IceHarness) -> None:
    agent = ice.agent()
    before, password = check(agent), agent.password
    ice.send(before)
    ice.registry.restart(agent, ("other", "q" * 24))
    assert ice.send(before) is not None, "consent goes on during the restart"
    assert agent.password != password
    assert ice.send(check(agent, USE_CANDIDATE=None), THERE) is not None
    assert agent.transport is not None
    assert agent.transport.remote == THERE
    assert ice.send(before) is None, "the old session is over"
    ice.registry.remove(agent)
    assert len(ice.registry) == 0


def test_a_check_counts_as_consent(ice: IceHarness) -> None:
    agent = ice.agent()
    ice.clock.now = 7.0
    ice.send(check(agent, "x" * 24))
    assert agent.last_consent_s == 0.0
    ice.send(check(agent))
    assert agent.last_consent_s == 7.0


async def test_the_dtls_queue_is_bounded_and_closing_ends_the_wait(ice: IceHarness) -> None:
    agent = ice.agent()
    for _ in range(100):
        agent.receive(b"\x16dtls", CapturingTransport())
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
def test_random_bytes_are_not_a_check(data: bytes) -> None:
    ice = IceHarness()
    ice.agent()
    assert ice.send(data) is None
    assert ice.registry.addresses == 0


@given(st.data())
def test_a_check_with_random_attributes_never_raises(data: st.DataObject) -> None:
    ice = IceHarness()
    agent = ice.agent()
    username = f"{agent.username}:x".encode()
    body = struct.pack("!HH", 6, len(username)) + username + bytes(-len(username) % 4)
    for _ in range(data.draw(st.integers(0, 4))):
        kind = data.draw(st.sampled_from([entry[0] for entry in stun.ATTRIBUTES] + [0x7FFF, 0xC057]))
        value = data.draw(st.binary(max_size=24))
        body += struct.pack("!HH", kind, data.draw(st.sampled_from([len(value), 60_000]))) + value
        body += bytes(-len(value) % 4)
    whole = struct.pack("!HHI12s", 1, len(body), stun.COOKIE, bytes(12)) + body
    assert username_of(whole) == agent.username
    assert ice.send(whole) is None
    assert ice.registry.addresses == 0


@given(st.integers(0, 120), st.integers(0, 255))
def test_a_check_with_one_changed_byte_is_refused(place: int, value: int) -> None:
    ice = IceHarness()
    agent = ice.agent()
    request = bytearray(check(agent))
    place %= len(request) - 8
    if request[place] == value:
        return
    request[place] = value
    answer = ice.send(bytes(request))
    assert answer is None
    assert agent.transport is None
