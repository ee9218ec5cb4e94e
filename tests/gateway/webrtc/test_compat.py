"""What gateway/webrtc/compat.py uses of other libraries is still there, and does what it is used for.

A failure here names the attribute that a new version of the library has lost or changed.
"""

import asyncio
import inspect
import ipaddress

import aioice.candidate
import aioice.ice
import pylibsrtp
import pylibsrtp._binding
import pytest
from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
    rtcdtlstransport,
)
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from gateway.webrtc import compat
from gateway.webrtc.compat import DtlsTransport, SharedCertificate
from tests.support.eventually import eventually

KEY = bytes(range(28))


class Pipe:
    """The datagrams of one end; ``other`` is the other end."""

    def __init__(self) -> None:
        self.other: Pipe
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def receive_dtls(self) -> bytes:
        data = await self._queue.get()
        if data is None:
            raise ConnectionError("closed")
        return data

    def send_dtls(self, data: bytes) -> None:
        self.other._queue.put_nowait(data)

    def close(self) -> None:
        self._queue.put_nowait(None)


def missing(holder: object, library: str, *names: str) -> list[str]:
    return [f"{library} no longer has {name}" for name in names if not hasattr(holder, name)]


def test_aiortc_has_the_private_names_that_dtls_uses() -> None:
    certificate = RTCCertificate.generateCertificate()
    transport = RTCDtlsTransport(compat._IceTransportAdapter(Pipe()), [certificate])  # type: ignore[arg-type]
    names = (
        "_srtp_profiles",
        "_set_role",
        "_ssl",
        "_tx_srtp",
        "_rx_srtp",
        "remove_all_listeners",
        "_validate_peer_identity",
    )
    assert missing(transport, "aiortc.RTCDtlsTransport", *names) == []
    assert missing(certificate, "aiortc.RTCCertificate", "_create_ssl_context") == []
    profiles = ("SRTP_PROFILES", "SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80")
    assert missing(rtcdtlstransport, "aiortc.rtcdtlstransport", *profiles) == []
    assert list(inspect.signature(RTCCertificate._create_ssl_context).parameters) == ["self", "srtp_profiles"]


def test_aiortc_receives_and_sends_by_the_two_methods_of_our_adapter() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    for name in ("self.transport._recv()", "self.transport._send("):
        assert name in source, f"aiortc.RTCDtlsTransport no longer calls {name}"


def test_pylibsrtp_gives_the_c_functions_and_the_session_pointer() -> None:
    assert missing(pylibsrtp._binding, "pylibsrtp._binding", "ffi", "lib") == []
    assert missing(pylibsrtp._binding.lib, "pylibsrtp._binding.lib", "srtp_protect") == []
    assert missing(Session(), "pylibsrtp.Session", "_srtp") == []


def test_srtp_protect_encrypts_in_place_as_pylibsrtp_does() -> None:
    policy = Policy(KEY, Policy.SSRC_ANY_OUTBOUND, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
    packet = bytes.fromhex("80600001000000010000cafe") + b"payload"
    expected = Session(policy).protect(packet)
    session, memory, length = Session(policy), compat.new_bytes(100), compat.new_length()
    view = compat.view_of(memory)
    view[: len(packet)] = packet
    length[0] = len(packet)
    assert compat.srtp_protect(compat.srtp_context(session), memory, length) == 0
    assert bytes(view[: length[0]]) == expected


def test_aioice_has_the_helpers_for_host_candidates() -> None:
    assert missing(aioice.candidate, "aioice.candidate", "candidate_foundation") == []
    assert missing(aioice.ice, "aioice.ice", "get_host_addresses") == []
    one, other = (compat.candidate_foundation("host", "udp", f"192.0.2.{number}") for number in (1, 2))
    assert one != other
    assert one.isalnum()
    for address in compat.get_host_addresses(True, True):
        ipaddress.ip_address(address)


def test_a_certificate_has_one_openssl_context() -> None:
    certificate = SharedCertificate.generateCertificate()
    profiles = list(rtcdtlstransport.SRTP_PROFILES)
    context = certificate._create_ssl_context(profiles)
    assert isinstance(context, SSL.Context)
    assert certificate._create_ssl_context(profiles) is context
    assert certificate._create_ssl_context(profiles[-1:]) is not context


def fingerprints(certificate: RTCCertificate) -> tuple[tuple[str, str], ...]:
    return tuple((item.algorithm, item.value) for item in certificate.getFingerprints())


async def test_two_dtls_transports_connect_and_their_srtp_fits() -> None:
    here, there = Pipe(), Pipe()
    here.other, there.other = there, here
    certificates = SharedCertificate.generateCertificate(), SharedCertificate.generateCertificate()
    states: list[str] = []
    server = DtlsTransport(here, certificates[0], "server", lambda: states.append(server.state))
    client = DtlsTransport(there, certificates[1], "client", lambda: None)
    async with asyncio.timeout(60):
        await asyncio.gather(server.start(fingerprints(certificates[1])), client.start(fingerprints(certificates[0])))
    assert (server.state, client.state) == ("connected", "connected")
    assert states == ["connecting", "connected"]
    packet = bytes.fromhex("80600001000000010000cafe") + b"payload"
    sealed = server.outbound_srtp.protect(packet)
    assert len(sealed) - len(packet) == server.auth_tag_bytes == 16
    assert client.inbound_srtp.unprotect(sealed) == packet
    await server.stop()
    assert states == ["connecting", "connected"]
    here.close()
    there.close()
    await client.stop()


async def test_one_of_several_fingerprints_is_that_of_the_certificate() -> None:
    here, there = Pipe(), Pipe()
    here.other, there.other = there, here
    certificate, other = SharedCertificate.generateCertificate(), SharedCertificate.generateCertificate()
    server = DtlsTransport(here, certificate, "server", lambda: None)
    client = DtlsTransport(there, other, "client", lambda: None)
    both = (*fingerprints(certificate)[:1], *fingerprints(other)[:1])
    async with asyncio.timeout(60):
        await asyncio.gather(server.start(both), client.start(both))
    assert (server.state, client.state) == ("connected", "connected")
    for end in (server, client):
        await end.stop()
    here.close()
    there.close()


async def test_a_data_channel_opens_and_what_comes_on_it_is_bounded() -> None:
    here, there = Pipe(), Pipe()
    here.other, there.other = there, here
    certificates = SharedCertificate.generateCertificate(), SharedCertificate.generateCertificate()
    server = DtlsTransport(here, certificates[0], "server", lambda: None)
    client = DtlsTransport(there, certificates[1], "client", lambda: None)
    async with asyncio.timeout(60):
        await asyncio.gather(server.start(fingerprints(certificates[1])), client.start(fingerprints(certificates[0])))
    await server.accept_sctp(5000)
    sctp = RTCSctpTransport(client._dtls)
    await sctp.start(RTCSctpCapabilities(maxMessageSize=65_536), 5000)
    channel = RTCDataChannel(sctp, RTCDataChannelParameters(label="x"))
    await eventually(lambda: channel.readyState == "open", "the channel is open")
    await client._dtls._send_data(b"no SCTP")
    for _ in range(100):
        channel.send(bytes(1000))
    accepted = server._sctp
    assert isinstance(accepted, compat._SctpTransport)
    await eventually(lambda: accepted._received_bytes > compat.SCTP_MAX_BYTES, "the limit is reached")
    assert accepted._advertised_rwnd > 1024 * 1024 - compat.SCTP_MAX_BYTES
    assert (server.state, client.state) == ("connected", "connected")
    await sctp.stop()
    for end in (server, client):
        await end.stop()
    here.close()
    there.close()


async def test_another_certificate_than_announced_fails() -> None:
    here, there = Pipe(), Pipe()
    here.other, there.other = there, here
    certificate, other = SharedCertificate.generateCertificate(), SharedCertificate.generateCertificate()
    server = DtlsTransport(here, certificate, "server", lambda: None)
    client = DtlsTransport(there, certificate, "client", lambda: None)
    async with asyncio.timeout(60):
        await asyncio.gather(server.start(fingerprints(other)), client.start(fingerprints(certificate)))
    assert server.state == "failed"
    for end in (server, client):
        await end.stop()
    here.close()
    there.close()


@pytest.mark.parametrize("module", ["aiortc", "pylibsrtp", "aioice"])
def test_private_names_are_used_in_compat_alone(module: str) -> None:
    from tests.test_structure import modules

    for name, path in modules().items():
        if name.startswith("gateway.webrtc") and name != "gateway.webrtc.compat":
            text = path.read_text()
            assert f"{module}._" not in text, f"{name} uses a private module of {module}"
            assert "._dtls._" not in text
            assert "._srtp[" not in text
