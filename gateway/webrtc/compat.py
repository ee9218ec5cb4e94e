"""What this package uses of other libraries beyond their documented interface, in one place.

aiortc has no public way to run DTLS without its own ICE and RTP, pylibsrtp none to encrypt in place, and aioice none
for its helpers. tests/gateway/webrtc/test_compat.py names each attribute that is used here, so that a new version of a
library that has changed one fails there, with its name, and not in a viewer.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from aioice.candidate import candidate_foundation
from aioice.ice import get_host_addresses
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceTransport, RTCSctpTransport
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    SRTP_PROFILES,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    SRTPProtectionProfile,
    certificate_digest,
)
from aiortc.rtcsctptransport import HeartbeatAckChunk, HeartbeatChunk, SackChunk, parse_packet
from OpenSSL import SSL
from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

__all__ = [
    "DtlsDatagrams",
    "DtlsTransport",
    "SharedCertificate",
    "candidate_foundation",
    "get_host_addresses",
    "new_bytes",
    "new_length",
    "srtp_context",
    "srtp_protect",
    "view_of",
]

_PROFILES = [profile for profile in (SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80) if profile in SRTP_PROFILES]
"""In order of preference, by CPU: 2.9 µs and 3.6 µs a packet; AES-256-GCM takes 5.3."""

_AUTH_TAG_BYTES = {SRTP_AEAD_AES_128_GCM.openssl_profile: 16, SRTP_AES128_CM_SHA1_80.openssl_profile: 10}


SCTP_MAX_BYTES = 16 * 1024
"""Of one peer: enough for an association and some hundred data channels. It bounds what aiortc keeps of them."""

log = logging.getLogger(__name__)


class DtlsDatagrams(Protocol):
    """Where DTLS datagrams come from and go to. Both methods raise ``ConnectionError`` once that is closed."""

    async def receive_dtls(self) -> bytes:
        """The next DTLS datagram."""
        ...

    def send_dtls(self, data: bytes) -> None:
        """Send one."""
        ...


class SharedCertificate(RTCCertificate):
    """An aiortc certificate with one OpenSSL context for all connections.

    aiortc makes a context for each connection, and loads certificate and key into it each time.
    """

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        contexts: dict[tuple[SRTPProtectionProfile, ...], SSL.Context] = self.__dict__.setdefault("_contexts", {})
        key = tuple(srtp_profiles)
        if key not in contexts:
            contexts[key] = super()._create_ssl_context(srtp_profiles)
        return contexts[key]


class _IceTransportAdapter:
    """What ``RTCDtlsTransport`` calls of its ``RTCIceTransport``."""

    role = "controlled"

    def __init__(self, datagrams: DtlsDatagrams) -> None:
        self._datagrams = datagrams

    async def _recv(self) -> bytes:
        return await self._datagrams.receive_dtls()

    async def _send(self, data: bytes) -> None:
        self._datagrams.send_dtls(data)


class _RtcDtlsTransport(RTCDtlsTransport):
    """aiortc requires that all fingerprints are those of the certificate; RFC 8122 §5: one of them is."""

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        ssl: Any = self._ssl
        certificate = ssl.get_peer_certificate(as_cryptography=True)
        matching = [
            item
            for item in remoteParameters.fingerprints
            if item.value == certificate_digest(certificate, item.algorithm)
        ]
        super()._validate_peer_identity(RTCDtlsParameters(fingerprints=matching or remoteParameters.fingerprints))


class _SctpTransport(RTCSctpTransport):
    """aiortc's SCTP, for a peer that has nothing to say: after ``SCTP_MAX_BYTES`` all but the upkeep is dropped."""

    _received_bytes = 0

    async def _handle_data(self, data: bytes) -> None:
        try:
            chunks = parse_packet(data)[3]
            if not all(isinstance(chunk, HeartbeatChunk | HeartbeatAckChunk | SackChunk) for chunk in chunks):
                self._received_bytes += len(data)
            if self._received_bytes <= SCTP_MAX_BYTES:
                await super()._handle_data(data)
        except ConnectionError:
            raise
        except Exception as error:
            # Invalid input. It must not end the task that receives DTLS.
            log.debug("an SCTP packet of %d bytes was dropped: %r", len(data), error)


class DtlsTransport:
    """aiortc's DTLS over datagrams of our own.

    ``role`` is ours, ``client`` or ``server``. ``on_state`` is called whenever :attr:`state` changes.
    """

    def __init__(
        self, datagrams: DtlsDatagrams, certificate: RTCCertificate, role: str, on_state: Callable[[], None]
    ) -> None:
        self._dtls = _RtcDtlsTransport(cast("RTCIceTransport", _IceTransportAdapter(datagrams)), [certificate])
        self._sctp: RTCSctpTransport | None = None
        self._dtls._srtp_profiles = _PROFILES
        self._dtls._set_role(role)
        self._dtls.on("statechange", on_state)

    @property
    def state(self) -> str:
        """``new``, ``connecting``, ``connected``, ``closed`` or ``failed``."""
        return self._dtls.state

    async def start(self, fingerprints: tuple[tuple[str, str], ...]) -> None:
        """Do the handshake with the peer whose certificate has these fingerprints, pairs of hash name and value.

        The outcome is in :attr:`state`.
        """
        items = [RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=items))

    async def accept_sctp(self, port: int) -> None:
        """Accept the peer's SCTP association and data channels, once connected. Nothing is sent on them.

        Pion ends a connection whose association is refused, and werift one that never begins.
        """
        self._sctp = _SctpTransport(self._dtls, port)
        await self._sctp.start(None, port)

    async def stop(self) -> None:
        """Close the connection; ``on_state`` is not called any more."""
        self._dtls.remove_all_listeners()
        if self._sctp is not None:
            await self._sctp.stop()
        await self._dtls.stop()

    @property
    def outbound_srtp(self) -> Session:
        """Encrypts what is sent, once connected."""
        return self._dtls._tx_srtp

    @property
    def inbound_srtp(self) -> Session:
        """Decrypts what is received, once connected."""
        return self._dtls._rx_srtp

    @property
    def auth_tag_bytes(self) -> int:
        """How many bytes the negotiated SRTP profile adds to an RTP packet, once connected."""
        ssl: Any = self._dtls._ssl
        return _AUTH_TAG_BYTES[ssl.get_selected_srtp_profile()]


srtp_protect: Callable[[Any, Any, Any], int] = lib.srtp_protect
"""``srtp_protect(context, packet, length)`` of libsrtp: encrypts in place, returns 0 on success."""


def srtp_context(session: Session) -> Any:
    """The ``srtp_t`` of a pylibsrtp session. Valid as long as the session."""
    return session._srtp[0]


def new_bytes(size: int) -> Any:
    """A zeroed C array of ``size`` bytes."""
    return ffi.new("unsigned char[]", size)


def new_length() -> Any:
    """A C ``int``, passed by address; index 0 is its value."""
    return ffi.new("int *")


def view_of(array: Any) -> memoryview:
    """The memory of a C array."""
    return memoryview(ffi.buffer(array))
