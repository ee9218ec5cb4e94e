"""MediaTransport: ICE and DTLS of one or several media sections of a viewer, up to keys for SRTP.

    start ──ICE and DTLS──▶ connected ──▶ ended
      └── nothing within CONNECT_TIMEOUT_S, DTLS failed ──▶ ended

A viewer has one for its video and all that is bundled with it. Where its offer does not bundle the sound, or inactive
sections, those have their own.

Rules:

1. It ends by the viewer's action (DTLS closed, silence) or an error; it calls its owner once, with the reason, which
   closes it.
2. Silence is ``CONSENT_TIMEOUT_S`` without an authenticated datagram, neither a consent check nor RTCP. If its last TCP
   connection was closed, the viewer has ``RECONNECT_MAX_S`` to reconnect. Media needs consent for its path
   (:mod:`gateway.webrtc.ice.path`).
3. Closing releases everything, even if a part of it fails, and may be requested twice.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from aiortc import RTCCertificate
from pylibsrtp import Session

from gateway.clock import Clock
from gateway.webrtc.compat import DtlsTransport
from gateway.webrtc.ice.agent import IceAgent
from gateway.webrtc.ice.path import CONSENT_S
from gateway.webrtc.ice.registry import IceRegistry
from gateway.webrtc.rtp.srtp import OutboundSrtp, SrtpBuffer
from gateway.webrtc.sdp.answer import SCTP_PORT
from gateway.webrtc.sdp.negotiation import NegotiatedTransport
from gateway.webrtc.transport import PeerTransport

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
"""From the answer to the end of the DTLS handshake. A client has repeated its first message three times by then (RFC
6347 §4.2.4.1: after 1, 3 and 7 s)."""

CONSENT_TIMEOUT_S = 15.0
"""A network that is away for 10 s, as in a lift, ends no viewer: browsers check consent every 2.5 to 5 s (RFC 7675
§5.1). Consent itself would last 30 s."""

RECONNECT_MAX_S = 3.0
"""How long a viewer whose TCP connection was closed may take to reconnect. Chromium does so with its next check, and
checks a good connection every 2.5 s."""


@dataclass(slots=True, eq=False)
class SrtpConnection:
    """What media needs of a connected transport. ``transport`` is the present path, and may change."""

    outbound: OutboundSrtp
    inbound: Session
    auth_tag_bytes: int
    """How many bytes SRTP adds to an RTP packet."""
    transport: PeerTransport


class TransportOwner(Protocol):
    """What a transport tells its viewer."""

    def on_connected(self, transport: "MediaTransport", connection: SrtpConnection) -> None:
        """Media may be sent."""

    def on_path(self, transport: "MediaTransport", path: PeerTransport) -> None:
        """Datagrams go over this path from now on."""

    def on_srtp(self, transport: "MediaTransport", data: bytes) -> None:
        """An SRTP or SRTCP datagram came."""

    def on_ended(self, transport: "MediaTransport", reason: str) -> None:
        """It has ended; close it."""


class MediaTransport:
    """See the module. ``name`` is for the log, and for the names of its tasks."""

    def __init__(
        self,
        name: str,
        owner: TransportOwner,
        *,
        certificate: RTCCertificate,
        srtp_buffer: SrtpBuffer,
        registry: IceRegistry,
        clock: Clock,
    ) -> None:
        self.agent = IceAgent(
            clock, ("", ""), lambda path: owner.on_path(self, path), lambda data: owner.on_srtp(self, data)
        )
        self.is_connected = False
        self.negotiated: NegotiatedTransport | None = None
        """``None`` until :meth:`start`."""
        self._name = name
        self._owner = owner
        self._certificate = certificate
        self._srtp_buffer = srtp_buffer
        self._registry = registry
        self._clock = clock
        self._started_s = clock.monotonic()
        self._dtls: DtlsTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def dtls_state(self) -> str:
        """``new``, ``connecting``, ``connected``, ``closed`` or ``failed``."""
        return "new" if self._dtls is None else self._dtls.state

    @property
    def is_closing(self) -> bool:
        """Whether it has been closed, or is being closed."""
        return self._closing is not None

    def start(self, negotiated: NegotiatedTransport) -> None:
        """Wait for the viewer to connect."""
        self.negotiated = negotiated
        self.agent.remote = (negotiated.remote_username, negotiated.remote_password)
        self._registry.add(self.agent)
        self._started_s = self._clock.monotonic()
        self._dtls = DtlsTransport(self.agent, self._certificate, negotiated.dtls_role, self._on_dtls_state)
        self._connecting = asyncio.create_task(self._connect(negotiated, self._dtls), name=self._name)

    def restart_ice(self, remote: tuple[str, str]) -> None:
        """Begin a new ICE session with the viewer's new credentials. Media continues meanwhile (RFC 8445 §9)."""
        self._registry.restart(self.agent, remote)

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long: that time counts for no timeout."""
        self._started_s += stalled_s
        self.agent.resume(stalled_s)

    def tick(self, now: float) -> None:
        """Called once a second: keep the consent, and end it if the viewer is silent. ``now`` is monotonic seconds."""
        agent = self.agent
        if self.is_closing:
            return
        if not self.is_connected:
            if now - self._started_s > CONNECT_TIMEOUT_S:
                result = "nothing came from it" if agent.transport is None else "its DTLS handshake did not end"
                self._end(f"not connected after {CONNECT_TIMEOUT_S:.0f} s: {result}")
            return
        agent.tick(now)
        if now - agent.last_consent_s > CONSENT_TIMEOUT_S:
            self._end(f"silent for {CONSENT_TIMEOUT_S:.0f} s")
        elif agent.transport is None and now - agent.transport_lost_s > RECONNECT_MAX_S:
            self._end("its connection was closed, and it did not come back")
        elif agent.transport is not None and not agent.has_consent:
            self._end(f"its address has not answered connectivity checks for {CONSENT_S:.0f} s")

    def close_soon(self) -> None:
        """Close it without waiting."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"{self._name}-close")

    async def close(self) -> None:
        """Close it; returns when that is done."""
        self.close_soon()
        assert self._closing is not None
        await asyncio.wait([self._closing])

    async def _connect(self, negotiated: NegotiatedTransport, dtls: DtlsTransport) -> None:
        try:
            if negotiated.dtls_role == "client":
                # There is nowhere to send the ClientHello before the first check.
                await self.agent.selected.wait()
            await dtls.start(negotiated.fingerprints)
            if dtls.state == "connected":
                self.agent.prove_by_dtls()
                await self.agent.proven.wait()
                self._connected(dtls)
                if negotiated.has_data_channels:
                    await dtls.accept_sctp(SCTP_PORT)
        except Exception as error:
            log.exception("%s could not be connected", self._name)
            self._end(f"could not be connected: {error}")

    def _connected(self, dtls: DtlsTransport) -> None:
        path = self.agent.transport
        if self._closing is not None or path is None:
            return
        self.is_connected = True
        outbound = OutboundSrtp(dtls.outbound_srtp, self._srtp_buffer)
        self._owner.on_connected(self, SrtpConnection(outbound, dtls.inbound_srtp, dtls.auth_tag_bytes, path))

    def _on_dtls_state(self) -> None:
        if self.dtls_state in ("closed", "failed"):
            self._end("it closed the connection" if self.dtls_state == "closed" else "its DTLS handshake failed")

    def _end(self, reason: str) -> None:
        if self._closing is None:
            self._owner.on_ended(self, reason)

    async def _close(self) -> None:
        try:
            if self._connecting is not None:
                if not self._connecting.done():
                    # asyncio.wait_for before Python 3.12 loses a cancellation that coincides with a datagram. Closing
                    # the agent ends it in any case.
                    self.agent.close()
                self._connecting.cancel()
                await asyncio.wait([self._connecting])
            if self._dtls is not None:
                await self._dtls.stop()
        except Exception:
            log.exception("%s could not be closed cleanly", self._name)
        finally:
            self.agent.close()
            self._registry.remove(self.agent)
