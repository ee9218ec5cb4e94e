"""Viewer: one WebRTC viewer, from its offer to its end.

    NEW ──ICE and DTLS──▶ CONNECTED ──close──▶ CLOSED
     ├─── nothing within CONNECT_TIMEOUT_S, DTLS failed ────────▶ CLOSED
     └─── no answer to a counter-offer within COUNTER_OFFER_S ──▶ CLOSED

Rules:

1. A viewer ends by its own action (DTLS closed, BYE, silence), by a command (DELETE, a limit, the server closing), or
   because the camera sends a codec that was not negotiated. It never ends because a camera is disconnected.
2. Silence is ``CONSENT_TIMEOUT_S`` without an authenticated datagram, neither a consent check nor RTCP. A viewer whose
   last TCP connection was closed has ``RECONNECT_MAX_S`` to reconnect. Media needs consent for its path
   (:mod:`gateway.webrtc.ice.path`).
3. Closing releases everything, even if a part of it fails, and may be requested twice.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

from aiortc import RTCCertificate

from gateway.clock import Clock
from gateway.errors import BadRequestError, ConflictError
from gateway.webrtc.compat import DtlsTransport
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.ice.agent import IceAgent
from gateway.webrtc.ice.path import CONSENT_S
from gateway.webrtc.rendition_switch import RenditionSwitch
from gateway.webrtc.rtp.rtcp import RemoteInboundStats
from gateway.webrtc.rtp.srtp import OutboundSrtp, SrtpBuffer
from gateway.webrtc.sdp.answer import SCTP_PORT
from gateway.webrtc.sdp.fragment import check_candidate, parse_fragment, write_fragment
from gateway.webrtc.sdp.negotiation import NegotiatedSession
from gateway.webrtc.session import LocalSsrcs, MediaSession, RtcpResult
from gateway.webrtc.stats import ViewerState, ViewerStats
from gateway.webrtc.transport import PeerTransport

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
"""From the answer to the end of the DTLS handshake. A client has repeated its first message three times by then (RFC
6347 §4.2.4.1: after 1, 3 and 7 s)."""

COUNTER_OFFER_S = 30.0
"""How long a counter-offer is valid (draft-ietf-wish-whep)."""

CONSENT_TIMEOUT_S = 10.0
"""Browsers check consent every 2.5 to 5 s (RFC 7675 §5.1): two checks may be lost."""

CHOOSE_INTERVAL_S = 0.2
"""A viewer sends feedback up to twenty times a second; so often the choice of its rendition need not be made."""

RECONNECT_MAX_S = 3.0
"""How long a viewer whose TCP connection was closed may take to reconnect. Chromium does so with its next check, and
checks a good connection every 2.5 s."""


class Viewer:
    """One viewer; created by :meth:`~gateway.webrtc.server.WebRtcServer.join`."""

    def __init__(
        self,
        *,
        camera_id: str,
        client_address: str,
        certificate: RTCCertificate,
        srtp_buffer: SrtpBuffer,
        clock: Clock,
        on_restart: Callable[["Viewer", tuple[str, str]], tuple[str, ...]],
        on_closed: Callable[["Viewer"], None],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.camera_id = camera_id
        self.client_address = client_address
        self.negotiated: NegotiatedSession | None = None
        """``None`` until the viewer has answered a counter-offer."""
        self.state = ViewerState.NEW
        self.reason: str | None = None
        """Why it ended."""
        self.answer_sdp = ""
        self.counter_offer_sdp = ""
        """What it must answer; empty if its offer was accepted."""
        self.agent = IceAgent(clock, ("", ""), self._on_transport, self._on_srtp)
        self.ssrcs = LocalSsrcs.random()
        self.srtp_rejected = 0
        """SRTP and SRTCP datagrams that were not authentic."""
        self.rendition: RenditionSwitch | None = None
        """Which rendition it gets. Set before it is started, and closed with it."""
        self._srtp_buffer = srtp_buffer
        self._clock = clock
        self._on_restart = on_restart
        self._on_closed = on_closed
        self._certificate = certificate
        self._created_s = clock.monotonic()
        self._session: MediaSession | None = None
        self._chosen_s = 0.0
        """When the rendition was last chosen, in monotonic seconds."""
        self._dtls: DtlsTransport | None = None
        self._logged_reason: str | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.close_callbacks: list[Callable[[], None]] = []
        """Called once, when the viewer has ended."""
        self.on_first_frame: Callable[[], None] | None = None
        """Called when the first frame has been sent."""
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def created_s(self) -> float:
        """When it was made, in monotonic seconds."""
        return self._created_s

    @property
    def etag(self) -> str:
        """The ICE session's tag (RFC 9725 §4.3.1), without quotes: it changes with an ICE restart."""
        return self.agent.username

    @property
    def dtls_state(self) -> str:
        return "new" if self._dtls is None else self._dtls.state

    def move(self, fanout: CameraFanout) -> None:
        """Send this fan-out's video from now on."""
        if self._session is not None:
            self._session.switch(fanout)

    def update_rendition(self) -> None:
        """Choose the rendition again."""
        if self.rendition is not None and self._closing is None:
            self._chosen_s = self._clock.monotonic()
            self.rendition.update(self._session.estimate_bps if self._session is not None else None)
            if self._session is not None:
                self._session.bandwidth.set_wanted(self.rendition.wanted_bps)

    def start(self, negotiated: NegotiatedSession) -> None:
        """Wait for the viewer to connect."""
        self.negotiated = negotiated
        if self.rendition is not None:
            self.rendition.can_decode = negotiated.can_decode
        self.agent.remote = (negotiated.remote_username, negotiated.remote_password)
        self._created_s = self._clock.monotonic()
        self._dtls = DtlsTransport(self.agent, self._certificate, negotiated.dtls_role, self._on_dtls_state)
        self._connecting = asyncio.create_task(self._connect(negotiated, self._dtls), name=f"webrtc-{self.id}")

    def add_remote_candidate(self, candidate: str) -> None:
        """Take the value of a candidate attribute, with or without ``candidate:`` before it; empty ends them.

        A lite agent needs none: only its syntax is checked. Raises :class:`~gateway.errors.BadRequestError`.
        """
        value = candidate.strip().removeprefix("a=").removeprefix("candidate:")
        if value:
            check_candidate(value)

    def patch(self, fragment: str) -> str | None:
        """Handle an SDP fragment. Returns ``None`` for candidates, our own fragment for an ICE restart.

        Raises :class:`~gateway.errors.BadRequestError`, and ``ConflictError`` before it has answered a counter-offer.
        """
        parsed = parse_fragment(fragment)
        if self.negotiated is None:
            raise ConflictError("there is no ICE session yet; send the SDP answer to the counter-offer first")
        if parsed.username is None or parsed.username == self.agent.remote[0]:
            return None
        return self.restart_ice(fragment)

    def restart_ice(self, fragment: str) -> str:
        """Begin a new ICE session with the viewer's new credentials. Media continues meanwhile (RFC 8445 §9).

        Returns our fragment. Raises :class:`~gateway.errors.BadRequestError`.
        """
        parsed = parse_fragment(fragment)
        if parsed.username is None or parsed.password is None:
            raise BadRequestError("an ICE restart needs both ice-ufrag and ice-pwd")
        candidates = self._on_restart(self, (parsed.username, parsed.password))
        assert self.negotiated is not None
        section = self.negotiated.tagged
        media_line = f"m={section.kind} 9 {section.protocol} {section.formats[0]}"
        bundle = self.negotiated.bundle
        return write_fragment(self.agent.username, self.agent.password, media_line, section.mid, bundle, candidates)

    async def close(self, reason: str = "closed") -> None:
        """End it and release everything; returns when that is done. May be called twice."""
        self.close_soon(reason)
        await self.closed.wait()

    def close_soon(self, reason: str) -> None:
        """End it without waiting."""
        if self._closing is None:
            self.reason = reason
            self._closing = asyncio.create_task(self._close(), name=f"webrtc-close-{self.id}")

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long: that time counts for no timeout."""
        self._created_s += stalled_s
        self.agent.resume(stalled_s)

    def tick(self, now: float, wall_90k: int) -> None:
        """Called once a second: send reports, and end a silent viewer. ``now`` is monotonic seconds."""
        if self._closing is not None:
            return
        if self.negotiated is None:
            if now - self._created_s > COUNTER_OFFER_S:
                self.close_soon(f"it did not answer the counter-offer within {COUNTER_OFFER_S:.0f} s")
            return
        if self.state is ViewerState.NEW:
            if now - self._created_s > CONNECT_TIMEOUT_S:
                result = "nothing came from it" if self.agent.transport is None else "its DTLS handshake did not end"
                self.close_soon(f"not connected after {CONNECT_TIMEOUT_S:.0f} s: {result}")
            return
        self.agent.tick(now)
        if now - self.agent.last_consent_s > CONSENT_TIMEOUT_S:
            self.close_soon(f"silent for {CONSENT_TIMEOUT_S:.0f} s")
        elif self.agent.transport is None and now - self.agent.transport_lost_s > RECONNECT_MAX_S:
            self.close_soon("its connection was closed, and it did not come back")
        elif self.agent.transport is not None and not self.agent.has_consent:
            self.close_soon(f"its address has not answered connectivity checks for {CONSENT_S:.0f} s")
        elif self._session is not None:
            self._session.report(wall_90k)
            self.update_rendition()

    def rtp_timestamp(self, wall_90k: int) -> int | None:
        """The RTP timestamp of video captured at ``wall_90k``; ``None`` before the first frame."""
        return None if self._session is None else self._session.rtp_timestamp(wall_90k)

    @property
    def degraded(self) -> str | None:
        """Why it gets fewer frames than the camera sends, or broken ones; ``None`` while its network is good."""
        return None if self._session is None else self._session.bandwidth.reason

    def stats(self) -> ViewerStats:
        """Counters since the start, and what the viewer last reported."""
        transport, session = self.agent.transport, self._session
        video, remote_inbound = (
            (session.video, session.remote_inbound) if session is not None else (None, RemoteInboundStats())
        )
        return ViewerStats(
            viewer_id=self.id,
            camera_id=self.camera_id,
            state=self.state,
            client_address=self.client_address,
            transport=transport.protocol if transport else None,
            packets_sent=video.packets_sent if video else 0,
            bytes_sent=video.payload_bytes_sent if video else 0,
            frames_dropped=video.frames_dropped if video else 0,
            replays=video.replays if video else 0,
            retransmitted=video.retransmitted if video else 0,
            retransmissions_refused=video.retransmissions_refused if video else 0,
            fraction_lost=remote_inbound.fraction_lost,
            packets_lost=remote_inbound.packets_lost,
            jitter_s=remote_inbound.jitter_s,
            round_trip_s=remote_inbound.round_trip_s,
            limits=session.bandwidth.limits if session else 0,
            audio_packets_dropped=session.audio.packets_dropped if session and session.audio else 0,
            srtp_rejected=self.srtp_rejected,
            dtls_dropped=self.agent.dtls_dropped,
            limit_bps=8 * session.bandwidth.limit_bytes_per_s
            if session and session.bandwidth.limit_bytes_per_s
            else None,
            estimate_bps=round(session.estimate_bps) if session and session.estimate_bps is not None else None,
            bandwidth_method=session.bandwidth.method if session else None,
            probe_bytes=video.probe_bytes if video else 0,
            sends_forgotten=session.bandwidth.sent.entries_dropped if session and session.bandwidth.sent else 0,
            degraded=self.degraded,
            rendition=self.rendition.current.name if self.rendition is not None else None,
            codec=self.rendition.codec if self.rendition is not None else None,
            pinned=self.rendition is not None and self.rendition.request.pinned is not None,
            rendition_reason=self.rendition.reason if self.rendition is not None else None,
            rendition_switches=self.rendition.switches if self.rendition is not None else 0,
        )

    async def _connect(self, negotiated: NegotiatedSession, dtls: DtlsTransport) -> None:
        try:
            if negotiated.dtls_role == "client":
                # There is nowhere to send the ClientHello before the first check.
                await self.agent.selected.wait()
            await dtls.start(negotiated.fingerprints)
            if dtls.state == "connected":
                self.agent.prove_by_dtls()
                await self.agent.proven.wait()
                self._begin(negotiated, dtls)
                if negotiated.has_data_channels:
                    await dtls.accept_sctp(SCTP_PORT)
        except Exception as error:
            log.exception(
                "camera %s: viewer %s could not be connected",
                self.camera_id,
                self.id,
                extra={"camera": self.camera_id, "viewer": self.id},
            )
            self.close_soon(f"could not be connected: {error}")

    def _begin(self, negotiated: NegotiatedSession, dtls: DtlsTransport) -> None:
        transport = self.agent.transport
        if self._closing is not None or transport is None:
            return
        assert self.rendition is not None
        self._session = MediaSession(
            negotiated,
            self.ssrcs,
            self.camera_id,
            outbound=OutboundSrtp(dtls.outbound_srtp, self._srtp_buffer),
            inbound=dtls.inbound_srtp,
            auth_tag_bytes=dtls.auth_tag_bytes,
            transport=transport,
            fanout=self.rendition.fanout,
            clock=self._clock,
        )
        self.state = ViewerState.CONNECTED
        self.connected.set()
        self._session.begin(lambda error: self.close_soon(f"sending failed: {error}"))
        if self.on_first_frame is not None:
            self.on_first_frame()
        self.update_rendition()
        log.info(
            "camera %s: viewer %s is connected over %s",
            self.camera_id,
            self.id,
            transport.protocol,
            extra={"camera": self.camera_id, "viewer": self.id},
        )

    async def _close(self) -> None:
        try:
            if self._session is not None:
                self._session.end()
            if self.rendition is not None:
                self.rendition.close()
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
            log.exception(
                "camera %s: viewer %s could not be closed cleanly",
                self.camera_id,
                self.id,
                extra={"camera": self.camera_id, "viewer": self.id},
            )
        finally:
            self.agent.close()
            self.state = ViewerState.CLOSED
            while self.close_callbacks:
                self.close_callbacks.pop()()
            self._on_closed(self)
            self.closed.set()
            # Without its id, a flood of viewers that never connect is one repeated line.
            who = f"viewer {self.id}" if self._session is not None else "a viewer that never connected"
            log.info(
                "camera %s: %s has ended: %s",
                self.camera_id,
                who,
                self.reason,
                extra={"camera": self.camera_id, "viewer": self.id},
            )

    def _on_transport(self, transport: PeerTransport) -> None:
        if self._session is not None:
            self._session.move(transport)

    def _on_dtls_state(self) -> None:
        if self.dtls_state in ("closed", "failed"):
            self.close_soon("it closed the connection" if self.dtls_state == "closed" else "its DTLS handshake failed")

    def _on_srtp(self, data: bytes) -> None:
        if self._session is None:
            return
        result = self._session.receive(data)
        if result is RtcpResult.REJECTED:
            self.srtp_rejected += 1
        elif result is not RtcpResult.NOT_RTCP:
            self.agent.on_authenticated_packet()
            if self._clock.monotonic() - self._chosen_s >= CHOOSE_INTERVAL_S:
                self.update_rendition()
            self._log_degraded()
        if result is RtcpResult.BYE:
            self.close_soon("it said goodbye")

    def _log_degraded(self) -> None:
        """Log that its network has become worse or better."""
        reason = self.degraded
        if reason != self._logged_reason:
            self._logged_reason = reason
            log.info(
                "camera %s: viewer %s: %s",
                self.camera_id,
                self.id,
                reason or "its network is good again",
                extra={"camera": self.camera_id, "viewer": self.id},
            )
