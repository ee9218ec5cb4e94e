"""Viewer: one WebRTC viewer, from its offer to its end.

    NEW ──ICE and DTLS──▶ CONNECTED ──close──▶ CLOSED
     └─── no answer to a counter-offer within COUNTER_OFFER_S ──▶ CLOSED

Rules:

1. A viewer ends by its own action (DTLS closed, BYE, silence), by a command (DELETE, a limit, the server closing), or
   because the camera sends a codec that was not negotiated. It never ends because a camera is disconnected.
2. It ends with the transport of its video (:mod:`gateway.webrtc.media_transport`). If the sound has a transport of its
   own, only the sound ends with that.
3. Closing releases everything, even if a part of it fails, and may be requested twice.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

from aiortc import RTCCertificate

from gateway.clock import Clock
from gateway.errors import ConflictError, NotFoundError
from gateway.webrtc.counter_offers import CounterOffer
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.ice.agent import IceAgent
from gateway.webrtc.ice.registry import IceRegistry
from gateway.webrtc.ice_restart import restart_ice
from gateway.webrtc.media_transport import MediaTransport, SrtpConnection
from gateway.webrtc.rendition_switch import RenditionSwitch
from gateway.webrtc.rtp.srtp import SrtpBuffer
from gateway.webrtc.sdp.fragment import check_candidate, parse_fragment, write_fragment
from gateway.webrtc.sdp.negotiation import NegotiatedSession
from gateway.webrtc.session import LocalSsrcs, MediaSession, RtcpResult
from gateway.webrtc.stats import ViewerState, ViewerStats
from gateway.webrtc.transport import PeerTransport
from gateway.webrtc.viewer_stats import viewer_stats
from gateway.webrtc.voice import VoicePermit, VoiceSink

log = logging.getLogger(__name__)

COUNTER_OFFER_S = 30.0
"""How long a counter-offer is valid (draft-ietf-wish-whep)."""

CHOOSE_INTERVAL_S = 0.2
"""A viewer sends feedback up to twenty times a second; so often the choice of its rendition need not be made."""


class Viewer:
    """One viewer; created by :meth:`~gateway.webrtc.server.WebRtcServer.join`."""

    def __init__(
        self,
        *,
        camera_id: str,
        client_address: str,
        certificate: RTCCertificate,
        srtp_buffer: SrtpBuffer,
        registry: IceRegistry,
        clock: Clock,
        candidates: Callable[[], tuple[str, ...]],
        on_closed: Callable[["Viewer"], None],
        id_prefix: str = "",
    ) -> None:
        self.id = id_prefix + secrets.token_urlsafe(16)
        self.camera_id = camera_id
        self.client_address = client_address
        self.negotiated: NegotiatedSession | None = None
        """``None`` until the viewer has answered a counter-offer."""
        self.state = ViewerState.NEW
        self.reason: str | None = None
        """Why it ended."""
        self.answer_sdp = ""
        self.counter_offer: CounterOffer | None = None
        """What it must answer, or has answered; ``None`` if its offer was accepted."""
        self._new_transport = lambda name: MediaTransport(
            f"webrtc-{name}-{self.id}",
            self,
            certificate=certificate,
            srtp_buffer=srtp_buffer,
            registry=registry,
            clock=clock,
        )
        self.transports = [self._new_transport("0")]
        """As in :class:`~gateway.webrtc.sdp.negotiation.NegotiatedSession`: the video's first."""
        self._audio_transport: MediaTransport | None = None
        """If the sound has its own."""
        self.ssrcs = LocalSsrcs.random()
        self.srtp_rejected = 0
        """SRTP and SRTCP datagrams that were not authentic."""
        self.rendition: RenditionSwitch | None = None
        """Which rendition it gets. Set when it is started, and closed with it."""
        self._clock = clock
        self._candidates = candidates
        self._on_closed = on_closed
        self._created_s = clock.monotonic()
        self._session: MediaSession | None = None
        self._connections: dict[MediaTransport, SrtpConnection] = {}
        """Of the transports that are connected."""
        self._chosen_s = 0.0
        """When the rendition was last chosen, in monotonic seconds."""
        self._logged_reason: str | None = None
        self._closing: asyncio.Task[None] | None = None
        self.close_callbacks: list[Callable[[], None]] = []
        """Called once, when the viewer has ended."""
        self.voice: VoiceSink | None = None
        """Takes what it says, if it may talk."""
        self.on_first_frame: Callable[[], None] | None = None
        """Called when the first frame has been sent."""
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def created_s(self) -> float:
        """When it was made, in monotonic seconds."""
        return self._created_s

    @property
    def agent(self) -> IceAgent:
        """The ICE agent of its video."""
        return self.transports[0].agent

    @property
    def etag(self) -> str:
        """The ICE session's tag (RFC 9725 §4.3.1), without quotes: it changes with an ICE restart."""
        return "-".join(transport.agent.username for transport in self.transports)

    def move(self, fanout: CameraFanout) -> None:
        """Send this fan-out's video from now on."""
        if self._session is not None:
            self._session.switch(fanout)

    def allow_voice(self, permit: VoicePermit, codec: str) -> None:
        """It may talk. While it does, it gets no sound: it would hear itself, and so would the camera."""
        self.voice = permit.open(self.id, codec, self._on_talking)
        voice = self.voice
        self.close_callbacks.append(lambda: voice.close_soon("the viewer has ended"))

    def _on_talking(self, is_talking: bool) -> None:
        if self._session is not None and self._closing is None:
            self._session.pause_audio(is_talking)

    def begun_rendition(self) -> RenditionSwitch:
        """Which rendition it gets. Raises ``NotFoundError`` before it has answered a counter-offer."""
        if self.rendition is None:
            raise NotFoundError("this viewer gets nothing yet: it has not answered the counter-offer")
        return self.rendition

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
            self.rendition.sendable.can_decode = negotiated.can_decode
        self._created_s = self._clock.monotonic()
        self.transports += [self._new_transport(str(place)) for place in range(1, len(negotiated.transports))]
        if negotiated.audio_transport is not None:
            self._audio_transport = self.transports[1]
        for transport, each in zip(self.transports, negotiated.transports, strict=True):
            transport.start(each)

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
        restarted = restart_ice(self.transports, parsed)
        return write_fragment(restarted, self._candidates()) if restarted else None

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
        for transport in self.transports:
            transport.resume(stalled_s)

    def tick(self, now: float, wall_90k: int) -> None:
        """Called once a second: send reports, and end a silent viewer. ``now`` is monotonic seconds."""
        if self._closing is not None:
            return
        if self.negotiated is None:
            if now - self._created_s > COUNTER_OFFER_S:
                self.close_soon(f"it did not answer the counter-offer within {COUNTER_OFFER_S:.0f} s")
            return
        for transport in tuple(self.transports):
            transport.tick(now)
        if self._session is not None and self._closing is None:
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
        return viewer_stats(
            viewer_id=self.id,
            camera_id=self.camera_id,
            state=self.state,
            client_address=self.client_address,
            transports=self.transports,
            session=self._session,
            rendition=self.rendition,
            srtp_rejected=self.srtp_rejected,
        )

    def on_connected(self, transport: MediaTransport, connection: SrtpConnection) -> None:
        """Media may be sent on one of its transports."""
        if self._closing is None:
            self._connections[transport] = connection
            if transport is self.transports[0]:
                self._begin(connection)
            elif self._session is not None and transport is self._audio_transport:
                self._session.begin_audio(connection)

    def on_path(self, transport: MediaTransport, path: PeerTransport) -> None:
        """Datagrams of one of its transports go over this path from now on."""
        connection = self._connections.get(transport)
        if connection is not None:
            connection.transport = path
            if self._session is not None:
                self._session.move(connection)

    def on_srtp(self, transport: MediaTransport, data: bytes) -> None:
        """An SRTP or SRTCP datagram came on one of its transports."""
        connection = self._connections.get(transport)
        if self._session is None or connection is None:
            return
        result = self._session.receive(data, connection)
        if result is RtcpResult.REJECTED:
            self.srtp_rejected += 1
        elif result is not RtcpResult.NOT_RTCP:
            transport.agent.on_authenticated_packet()
            if self._clock.monotonic() - self._chosen_s >= CHOOSE_INTERVAL_S:
                self.update_rendition()
            self._log_degraded()
        if result is RtcpResult.BYE:
            self.on_ended(transport, "it said goodbye")

    def on_ended(self, transport: MediaTransport, reason: str) -> None:
        """One of its transports has ended."""
        if transport is self.transports[0]:
            self.close_soon(reason)
            return
        self._connections.pop(transport, None)
        transport.close_soon()
        if transport is self._audio_transport and self._closing is None:
            if self._session is not None:
                self._session.end_audio()
            log.info(
                "camera %s: viewer %s gets no more sound: %s",
                self.camera_id,
                self.id,
                reason,
                extra={"camera": self.camera_id, "viewer": self.id},
            )

    def _begin(self, connection: SrtpConnection) -> None:
        assert self.rendition is not None
        assert self.negotiated is not None
        self._session = MediaSession(
            self.negotiated,
            self.ssrcs,
            self.camera_id,
            connection,
            fanout=self.rendition.fanout,
            clock=self._clock,
        )
        self.state = ViewerState.CONNECTED
        self.connected.set()
        if self.voice is not None and self._session.voice is not None:
            self._session.voice.take = self.voice.take
        self._session.begin(lambda error: self.close_soon(f"sending failed: {error}"))
        if self.on_first_frame is not None:
            self.on_first_frame()
        audio = self._connections.get(self._audio_transport) if self._audio_transport is not None else None
        if audio is not None:
            self._session.begin_audio(audio)
        self.update_rendition()
        log.info(
            "camera %s: viewer %s is connected over %s",
            self.camera_id,
            self.id,
            connection.transport.protocol,
            extra={"camera": self.camera_id, "viewer": self.id},
        )

    async def _close(self) -> None:
        try:
            if self._session is not None:
                self._session.end()
            if self.rendition is not None:
                self.rendition.close()
        except Exception:
            log.exception(
                "camera %s: viewer %s could not be closed cleanly",
                self.camera_id,
                self.id,
                extra={"camera": self.camera_id, "viewer": self.id},
            )
        finally:
            await asyncio.gather(*(transport.close() for transport in self.transports))
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
