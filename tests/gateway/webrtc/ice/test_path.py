"""Consent: media goes only where somebody has answered a check, and little goes anywhere else."""

import pytest
from aioice import stun

from gateway.webrtc.ice.agent import DTLS_WAITING_MAX, IceAgent
from gateway.webrtc.ice.path import AMPLIFICATION_MAX, CHECK_INTERVAL_S, CONSENT_S
from gateway.webrtc.ice.registry import TRANSPORTS_MAX
from gateway.webrtc.transport import Address
from tests.gateway.webrtc.ice.test_agent import HERE, REMOTE, THERE, IceHarness, check

FLIGHT = b"\x16" + bytes(1100)
"""As long as a server's first DTLS flight."""


class Peer:
    """A full ICE agent: it checks, and answers the gateway's checks where they arrive."""

    def __init__(self, ice: IceHarness, agent: IceAgent | None = None) -> None:
        self.ice = ice
        self.agent = agent or ice.agent()
        self.remote = REMOTE

    def check(self, address: Address = HERE, *, nominates: bool = False) -> None:
        request = check(self.agent, USE_CANDIDATE=None) if nominates else check(self.agent)
        assert self.ice.send(request, address) is not None

    def requests(self, address: Address) -> list[stun.Message]:
        """The gateway's checks that arrived at an address since the last call."""
        transport = self.ice.transports.get(address)
        if transport is None:
            return []
        datagrams, transport.datagrams = transport.datagrams, []
        return [stun.parse_message(data) for data in datagrams if data[:2] == b"\x00\x01"]

    def reply(self, address: Address = HERE, password: str | None = None, source: Address | None = None) -> int:
        """Answer all checks that arrived at ``address``, from ``source``. Returns their number."""
        requests = self.requests(address)
        for request in requests:
            assert request.attributes["USERNAME"] == f"{self.remote[0]}:{self.agent.username}"
            assert request.check_message_integrity(self.remote[1].encode())
            assert "ICE-CONTROLLED" in request.attributes
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.250", 8189)
            answer.add_message_integrity((password or self.remote[1]).encode())
            self.ice.registry.receive_answer(bytes(answer), source or address)
        return len(requests)

    def connect(self, address: Address = HERE) -> None:
        self.check(address, nominates=True)
        assert self.reply(address) == 1

    @property
    def at(self) -> Address | None:
        """Where media goes."""
        transport = self.agent.transport
        return transport.remote if transport is not None and self.agent.has_consent else None


@pytest.fixture
def ice() -> IceHarness:
    return IceHarness()


@pytest.fixture
def peer(ice: IceHarness) -> Peer:
    return Peer(ice)


def test_a_path_is_proven_by_the_answer_to_our_check(peer: Peer) -> None:
    peer.check(nominates=True)
    assert peer.at is None
    assert not peer.agent.proven.is_set()
    assert peer.reply() == 1
    assert peer.at == HERE
    assert peer.agent.proven.is_set()


@pytest.mark.parametrize("nominates", [False, True])
def test_a_check_with_a_forged_source_does_not_move_the_stream(peer: Peer, nominates: bool) -> None:
    peer.connect()
    for second in range(60):
        peer.ice.clock.now = float(second)
        peer.check(THERE, nominates=nominates)
        peer.check()
        peer.agent.tick(peer.ice.clock.now)
        peer.reply()
        assert peer.at == HERE
    assert peer.ice.chosen == [HERE]


def test_a_nomination_is_carried_out_when_its_address_answers(peer: Peer) -> None:
    peer.connect()
    peer.check(THERE, nominates=True)
    assert peer.at == HERE
    peer.reply(THERE)
    assert peer.at == THERE
    assert peer.ice.chosen == [HERE, THERE]


def test_an_answer_counts_only_from_the_address_that_was_checked(peer: Peer) -> None:
    peer.connect()
    peer.check(THERE, nominates=True)
    assert peer.reply(THERE, source=HERE) == 1
    assert peer.at == HERE
    assert peer.ice.registry.refused["invalid_stun"] == 1


def test_an_answer_with_a_wrong_password_or_transaction_is_no_proof(peer: Peer) -> None:
    peer.check(nominates=True)
    assert peer.reply(password="x" * 24) == 1
    answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
    answer.add_message_integrity(REMOTE[1].encode())
    peer.ice.registry.receive_answer(bytes(answer), HERE)
    peer.ice.registry.receive_answer(bytes(answer)[:24], HERE)
    assert peer.at is None
    assert peer.ice.registry.refused["invalid_stun"] == 3


def test_an_answer_counts_once(peer: Peer) -> None:
    peer.connect()
    peer.check(THERE, nominates=True)
    (request,) = peer.requests(THERE)
    answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
    answer.add_message_integrity(REMOTE[1].encode())
    peer.ice.registry.receive_answer(bytes(answer), THERE)
    assert peer.at == THERE
    peer.ice.clock.now = CONSENT_S + 1
    peer.ice.registry.receive_answer(bytes(answer), THERE)
    assert peer.at is None


def test_an_unproven_path_gets_no_more_than_its_credit(peer: Peer) -> None:
    for moment in range(100):
        peer.ice.clock.now = moment / 50
        request = check(peer.agent, USE_CANDIDATE=None)
        response = peer.ice.registry.check(request, HERE, lambda: peer.ice.transport(HERE))
        assert response is not None
        peer.ice.transports[HERE].datagrams.append(response[0])
        peer.agent.send_dtls(FLIGHT)
        sent = sum(map(len, peer.ice.transports[HERE].datagrams))
        assert sent <= AMPLIFICATION_MAX * len(request) * (moment + 1)
    assert peer.agent.dtls_dropped > 0


def test_dtls_waits_for_the_proof_and_leaves_at_once_then(peer: Peer) -> None:
    peer.check(nominates=True)
    peer.agent.send_dtls(FLIGHT)
    peer.agent.send_dtls(FLIGHT)
    transport = peer.ice.transports[HERE]
    assert FLIGHT not in transport.datagrams
    peer.reply()
    assert transport.datagrams == [FLIGHT, FLIGHT]
    for _ in range(2 * DTLS_WAITING_MAX):
        peer.agent.send_dtls(FLIGHT)
    assert len(transport.datagrams) == 2 + 2 * DTLS_WAITING_MAX
    assert peer.agent.dtls_dropped == 0


def test_the_queue_of_waiting_dtls_is_bounded(peer: Peer) -> None:
    peer.check(nominates=True)
    for _ in range(DTLS_WAITING_MAX + 3):
        peer.agent.send_dtls(FLIGHT)
    assert peer.agent.dtls_dropped == 3


def test_a_handshake_over_one_path_proves_it_for_a_client_that_answers_no_checks(peer: Peer) -> None:
    peer.check(nominates=True)
    transport = peer.ice.transports[HERE]
    for _ in range(4):
        peer.agent.receive(FLIGHT, transport)
    peer.agent.send_dtls(FLIGHT)
    peer.agent.prove_by_dtls()
    assert peer.at == HERE
    peer.ice.clock.now = CONSENT_S
    peer.check()
    peer.ice.clock.now = 2 * CONSENT_S
    assert peer.at == HERE, "it is heard from there"
    peer.check(THERE, nominates=True)
    assert peer.at == HERE
    peer.ice.clock.now = 2 * CONSENT_S + 1
    assert peer.at is None


def test_a_handshake_over_two_paths_proves_neither(peer: Peer) -> None:
    for address in (HERE, THERE):
        peer.check(address, nominates=True)
        for _ in range(4):
            peer.agent.receive(FLIGHT, peer.ice.transports[address])
        peer.agent.send_dtls(FLIGHT)
    peer.agent.prove_by_dtls()
    assert peer.at is None
    peer.reply(THERE)
    assert peer.at == THERE


def test_consent_is_asked_for_again_and_ends_without_an_answer(peer: Peer) -> None:
    peer.connect()
    asked = 0
    for tick in range(1, 1 + round(CONSENT_S)):
        peer.ice.clock.now = float(tick)
        peer.check()
        peer.agent.tick(float(tick))
        asked += len(peer.requests(HERE))
        assert peer.at == HERE
    assert asked >= CONSENT_S / (CHECK_INTERVAL_S + 1)
    peer.ice.clock.now = CONSENT_S + 1
    peer.check()
    assert peer.at is None, "checks from a forged source do not renew the consent"
    peer.reply()
    assert peer.at == HERE


def test_without_nomination_the_stream_moves_when_the_old_address_does_not_answer(peer: Peer) -> None:
    peer.connect()
    peer.ice.clock.now = 4.0
    peer.check(THERE)
    peer.reply(THERE)
    assert peer.at == HERE, "both may work"
    for second in (5.0, 6.0, 7.0):
        peer.ice.clock.now = second
        peer.agent.tick(second)
    assert peer.at == THERE


def test_without_nomination_the_stream_stays_where_checks_are_answered(peer: Peer) -> None:
    peer.connect()
    for second in range(1, 60):
        peer.ice.clock.now = float(second)
        peer.check(THERE)
        peer.agent.tick(float(second))
        peer.reply(THERE)
        peer.reply()
    assert peer.ice.chosen == [HERE]


def test_after_an_ice_restart_the_new_password_is_asked_for(peer: Peer) -> None:
    peer.connect()
    peer.remote = ("other", "q" * 24)
    peer.ice.registry.restart(peer.agent, peer.remote)
    peer.check(THERE, nominates=True)
    assert peer.at == HERE
    peer.reply(THERE)
    assert peer.at == THERE


def test_another_viewers_address_is_taken_only_with_proof(ice: IceHarness) -> None:
    victim, thief = Peer(ice), Peer(ice)
    victim.connect(HERE)
    thief.check(HERE, nominates=True)
    ice.registry.receive(b"\x80\xc8media", HERE)
    assert victim.at == HERE
    assert thief.at is None
    assert ice.registry.addresses == 1
    assert thief.reply(HERE) == 1
    assert thief.at == HERE, "the same machine, with a new viewer on an old port"
    assert victim.at is None
    ice.registry.remove(victim.agent)
    ice.registry.remove(thief.agent)
    assert ice.registry.addresses == 0


def test_contenders_for_an_address_are_forgotten_with_their_viewer(ice: IceHarness) -> None:
    owner = Peer(ice)
    owner.connect(HERE)
    for _ in range(20):
        thief = Peer(ice)
        thief.check(HERE)
        ice.registry.remove(thief.agent)
    assert not ice.registry._contenders
    assert owner.at == HERE


def test_forged_sources_do_not_push_the_selected_path_out(peer: Peer) -> None:
    peer.connect()
    for port in range(5 * TRANSPORTS_MAX):
        peer.check(("203.0.113.9", 1000 + port), nominates=True)
    assert peer.at == HERE
    assert peer.ice.registry.addresses == TRANSPORTS_MAX
