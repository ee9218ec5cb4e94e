"""One WebRTC viewer's life, from its offer to its end.

    NEW ──path and DTLS──▶ CONNECTED ──close──▶ CLOSED
     └──────── nothing within CONNECT_TIMEOUT_S, DTLS failed ────────▶ CLOSED

Rules:

1. A viewer ends by itself (DTLS closed, BYE, silence), by an order (DELETE, a limit, the server's end), or because the
   camera sends what it did not negotiate. It never ends because a camera is away.
2. Silence is ``SILENCE_MAX_S`` without anything authenticated: neither a check of consent nor RTCP.
3. Closing releases everything, whatever fails in it, and can be done twice.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceTransport
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    SRTP_PROFILES,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
)
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    is_rtcp,
)

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import BadRequestError
from gateway.webrtc import rtcp
from gateway.webrtc.answer import MID, PLAYOUT_DELAY, Negotiated, Track
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.ice import AgentPath, IceAgent
from gateway.webrtc.rtp import layout, one_byte_extensions
from gateway.webrtc.sender import AudioSender, VideoSender
from gateway.webrtc.srtp import OutboundSrtp, Scratch, SrtpError
from gateway.webrtc.trickle import check_candidate, parse_fragment, write_fragment

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 15.0
"""From the answer to the end of the DTLS handshake; ICE agents give up after about as long."""

SILENCE_MAX_S = 10.0
"""Browsers ask for consent every 2.5 to 5 s (RFC 7675 §5.1): two of these may be lost."""

PLAYOUT_AT_ONCE = bytes(3)
"""Minimum and maximum playout delay of zero: show each picture when it is there."""

_PROFILES = [profile for profile in (SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80) if profile in SRTP_PROFILES]
"""In order of preference, by CPU: 2.9 µs and 3.6 µs a packet; AES-256-GCM takes 5.3."""

_TRAILER_BYTES = {SRTP_AEAD_AES_128_GCM.openssl_profile: 16, SRTP_AES128_CM_SHA1_80.openssl_profile: 10}

_MID_MAX_BYTES = 11
"""With the playout delay a block of 20 bytes, which is what the payload's size leaves room for."""

_NACK = 1
_PLI = 1
_FIR = 4


class ViewerState(StrEnum):
    """Where a viewer is in its life."""

    NEW = "new"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(slots=True, frozen=True)
class ViewerStats:
    """One viewer at one moment."""

    viewer_id: str
    camera_id: str
    state: ViewerState
    client_address: str
    transport: str | None
    packets_sent: int
    bytes_sent: int
    frames_dropped: int
    replays: int
    retransmitted: int
    retransmissions_refused: int
    fraction_lost: float
    packets_lost: int
    jitter_s: float
    round_trip_s: float | None


class Viewer:
    """One viewer; made by :meth:`~gateway.webrtc.server.WebRtcServer.join`."""

    def __init__(
        self,
        *,
        camera_id: str,
        client_address: str,
        negotiated: Negotiated,
        fanout: CameraFanout,
        certificate: RTCCertificate,
        scratch: Scratch,
        clock: Clock,
        on_restart: Callable[["Viewer"], tuple[str, ...]],
        on_closed: Callable[["Viewer"], None],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.camera_id = camera_id
        self.client_address = client_address
        self.negotiated = negotiated
        self.state = ViewerState.NEW
        self.reason: str | None = None
        """Why it ended."""
        self.answer_sdp = ""
        self.agent = IceAgent(clock, self._on_path, self._on_srtp)
        self.video_ssrc, self.rtx_ssrc, self.audio_ssrc = _ssrcs(3)
        self.reception = rtcp.Reception()
        self.srtp_refused = 0
        """SRTP and SRTCP datagrams that were not genuine."""
        self._fanout = fanout
        self._scratch = scratch
        self._clock = clock
        self._on_restart = on_restart
        self._on_closed = on_closed
        self._remote_username = negotiated.remote_username
        self._born_s = clock.monotonic()
        self._sender: VideoSender | None = None
        self._audio: AudioSender | None = None
        self._audio_clock_rate = 0
        self._srtp: OutboundSrtp | None = None
        self._dtls = RTCDtlsTransport(cast("RTCIceTransport", self.agent), [certificate])
        self._dtls._srtp_profiles = _PROFILES
        self._dtls._set_role(negotiated.dtls_role)
        self._dtls.on("statechange", self._on_dtls_state)
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.holds: list[Callable[[], None]] = []
        """Called once, when it has ended."""
        self.on_begun: Callable[[], None] | None = None
        """Called when the first picture is on its way."""
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def etag(self) -> str:
        """The ICE session's tag (RFC 9725 §4.3.1), without quotes: it changes with an ICE restart."""
        return self.agent.username

    @property
    def dtls_state(self) -> str:
        return self._dtls.state

    def start(self) -> None:
        """Wait for the viewer to come."""
        self._connecting = asyncio.create_task(self._connect(), name=f"webrtc-{self.id}")

    def add_remote_candidate(self, candidate: str) -> None:
        """Take the value of a candidate attribute, with or without ``candidate:`` before it; empty ends them.

        A lite agent needs none: it is checked for form only. Raises :class:`~gateway.errors.BadRequestError`.
        """
        value = candidate.strip().removeprefix("a=").removeprefix("candidate:")
        if value:
            check_candidate(value)

    def patch(self, fragment: str) -> str | None:
        """Take an SDP fragment: ``None`` for candidates, our own fragment for an ICE restart.

        Raises :class:`~gateway.errors.BadRequestError`.
        """
        parsed = parse_fragment(fragment)
        if parsed.username is None or parsed.username == self._remote_username:
            return None
        return self.restart_ice(fragment)

    def restart_ice(self, fragment: str) -> str:
        """Begin a new ICE session with the viewer's new credentials; media goes on meanwhile (RFC 8445 §9).

        Returns our fragment. Raises :class:`~gateway.errors.BadRequestError`.
        """
        parsed = parse_fragment(fragment)
        if parsed.username is None or parsed.password is None:
            raise BadRequestError("an ICE restart needs both ice-ufrag and ice-pwd")
        self._remote_username = parsed.username
        candidates = self._on_restart(self)
        tracks = [track.mid for track in (self.negotiated.video, self.negotiated.audio) if track is not None]
        return write_fragment(self.agent.username, self.agent.password, tracks, candidates)

    async def close(self, reason: str = "closed") -> None:
        """End it and release everything; returns when that is done. Twice is fine."""
        self.close_soon(reason)
        await self.closed.wait()

    def close_soon(self, reason: str) -> None:
        """End it without waiting."""
        if self._closing is None:
            self.reason = reason
            self._closing = asyncio.create_task(self._close(), name=f"webrtc-close-{self.id}")

    def tick(self, now: float, wall_90k: int) -> None:
        """Once a second: reports, and whether it is still there. ``now`` is monotonic seconds."""
        if self._closing is not None:
            return
        if self.state is ViewerState.NEW:
            if now - self._born_s > CONNECT_TIMEOUT_S:
                heard = "nothing came from it" if self.agent.path is None else "its DTLS handshake did not end"
                self.close_soon(f"not connected after {CONNECT_TIMEOUT_S:.0f} s: {heard}")
            return
        if now - self.agent.last_heard_s > SILENCE_MAX_S:
            self.close_soon(f"silent for {SILENCE_MAX_S:.0f} s")
            return
        self._report(wall_90k)

    def rtp_timestamp(self, wall_90k: int) -> int | None:
        """What this viewer's video clock shows for pictures captured at ``wall_90k``; ``None`` before the first."""
        clock = self._fanout.clock_at(wall_90k)
        return None if clock is None or self._sender is None else self._sender.timestamp(clock)

    def stats(self) -> ViewerStats:
        """Counters since the start, and what the viewer last reported."""
        sender, path = self._sender, self.agent.path
        return ViewerStats(
            viewer_id=self.id,
            camera_id=self.camera_id,
            state=self.state,
            client_address=self.client_address,
            transport=path.protocol if path else None,
            packets_sent=sender.packets_sent if sender else 0,
            bytes_sent=sender.payload_bytes_sent if sender else 0,
            frames_dropped=sender.frames_dropped if sender else 0,
            replays=sender.replays if sender else 0,
            retransmitted=sender.retransmitted if sender else 0,
            retransmissions_refused=sender.retransmissions_refused if sender else 0,
            fraction_lost=self.reception.fraction_lost,
            packets_lost=self.reception.packets_lost,
            jitter_s=self.reception.jitter_s,
            round_trip_s=self.reception.round_trip_s,
        )

    async def _connect(self) -> None:
        fingerprints = [RTCDtlsFingerprint(algorithm, value) for algorithm, value in self.negotiated.fingerprints]
        try:
            await self._dtls.start(RTCDtlsParameters(fingerprints=fingerprints))
            if self._dtls.state == "connected":
                self._begin()
        except Exception as error:
            log.exception("camera %s: viewer %s could not be connected", self.camera_id, self.id)
            self.close_soon(f"could not be connected: {error}")

    def _begin(self) -> None:
        path = self.agent.path
        if self._closing is not None or path is None:
            return
        track = self.negotiated.video
        ssl: Any = self._dtls._ssl
        trailer = _TRAILER_BYTES[ssl.get_selected_srtp_profile()]
        extensions = _extensions(track)
        self._srtp = OutboundSrtp(self._dtls._tx_srtp, self._scratch)
        retransmission = None
        if track.rtx_payload_type is not None:
            retransmission = layout(track.rtx_payload_type, extensions, trailer), self.rtx_ssrc
        self._sender = VideoSender(
            self._srtp,
            layout(track.payload_type, extensions, trailer),
            self.video_ssrc,
            path,
            retransmission=retransmission,
        )
        self.state = ViewerState.CONNECTED
        self.connected.set()
        self._begin_audio(path, trailer)
        self._fanout.add(self._sender, lambda error: self.close_soon(f"sending failed: {error}"))
        if self.on_begun is not None:
            self.on_begun()
        log.info("camera %s: viewer %s is connected over %s", self.camera_id, self.id, path.protocol)

    def _begin_audio(self, path: AgentPath, trailer_bytes: int) -> None:
        track, codec = self.negotiated.audio, self.negotiated.audio_codec
        if track is None or codec is None or self._srtp is None:
            return
        audio_layout = layout(track.payload_type, _extensions(track), trailer_bytes)
        self._audio = AudioSender(self._srtp, audio_layout, self.audio_ssrc, path)
        self._audio_clock_rate = codec.clock_rate
        self._fanout.add_audio(self._audio, codec)

    async def _close(self) -> None:
        try:
            if self._audio is not None:
                self._fanout.remove_audio(self._audio)
            if self._sender is not None:
                self._fanout.remove(self._sender)
                self._say_goodbye()
            if self._connecting is not None:
                self._connecting.cancel()
                await asyncio.wait([self._connecting])
            self._dtls.remove_all_listeners()
            await self._dtls.stop()
        except Exception:
            log.exception("camera %s: viewer %s could not be closed cleanly", self.camera_id, self.id)
        finally:
            self.agent.close()
            self.state = ViewerState.CLOSED
            while self.holds:
                self.holds.pop()()
            self._on_closed(self)
            self.closed.set()
            log.info("camera %s: viewer %s has gone: %s", self.camera_id, self.id, self.reason)

    def _say_goodbye(self) -> None:
        path = self.agent.path
        reports = self._sender_reports(self._clock.wall_90k())
        if self._srtp is not None and path is not None and reports:
            ssrcs = [sender.ssrc for sender in (self._sender, self._audio) if sender is not None]
            data = self._srtp.protect_rtcp(reports + rtcp.goodbye(ssrcs))
            path.send(data, len(data))

    def _on_path(self, path: AgentPath) -> None:
        for sender in (self._sender, self._audio):
            if sender is not None:
                sender.path = path

    def _on_dtls_state(self) -> None:
        if self._dtls.state in ("closed", "failed"):
            self.close_soon("it closed the connection" if self._dtls.state == "closed" else "its DTLS handshake failed")

    def _on_srtp(self, data: bytes) -> None:
        session = self._dtls._rx_srtp
        # A viewer has no media to send.
        if session is None or not is_rtcp(data):
            return
        try:
            plain = session.unprotect_rtcp(data)
        except (SrtpError, ValueError):
            self.srtp_refused += 1
            return
        self.agent.heard()
        for packet in rtcp.parse(plain):
            self._on_rtcp(packet)

    def _on_rtcp(self, packet: object) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self.video_ssrc:
                    self.reception.take(report, CLOCK_RATE, self._clock.wall_90k())
        elif isinstance(packet, RtcpRtpfbPacket):
            if packet.fmt == _NACK and packet.media_ssrc == self.video_ssrc and self._sender is not None:
                self._fanout.retransmit(self._sender, packet.lost)
        elif isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in (_PLI, _FIR) and self._sender is not None:
                self._fanout.request_keyframe(self._sender)
        elif isinstance(packet, RtcpByePacket):
            self.close_soon("it said goodbye")

    def _report(self, wall_90k: int) -> None:
        path = self.agent.path
        reports = self._sender_reports(wall_90k)
        if self._srtp is not None and path is not None and reports:
            data = self._srtp.protect_rtcp(reports)
            path.send(data, len(data))

    def _sender_reports(self, wall_90k: int) -> bytes:
        """A compound packet for what has been sent; empty before that (RFC 3550 §6.4)."""
        clock = self._fanout.clock_at(wall_90k)
        reports = b""
        if clock is None:
            return reports
        video, audio, cname = self._sender, self._audio, self.camera_id
        if video is not None and video.packets_sent:
            at = video.timestamp(clock)
            reports += rtcp.sender_report(video.ssrc, wall_90k, at, video.packets_sent, video.payload_bytes_sent, cname)
        if audio is not None and audio.packets_sent:
            at = audio.timestamp(clock * self._audio_clock_rate // CLOCK_RATE)
            reports += rtcp.sender_report(audio.ssrc, wall_90k, at, audio.packets_sent, audio.payload_bytes_sent, cname)
        return reports


def _ssrcs(count: int) -> list[int]:
    """Distinct, and not 0, which libsrtp takes for none."""
    chosen: set[int] = set()
    while len(chosen) < count:
        chosen.add(secrets.randbits(32) or 1)
    return list(chosen)


def _extensions(track: Track) -> bytes:
    values: dict[int, bytes] = {}
    if MID in track.extensions and 1 <= len(track.mid.encode()) <= _MID_MAX_BYTES:
        values[track.extensions[MID]] = track.mid.encode()
    if PLAYOUT_DELAY in track.extensions:
        values[track.extensions[PLAYOUT_DELAY]] = PLAYOUT_AT_ONCE
    return one_byte_extensions(values)
