"""MediaSession: media to one connected viewer, and RTCP in both directions.

Theory of operation. A session begins when DTLS has keys, and ends with its viewer. It owns the viewer's senders, which
the camera's fan-out feeds, and its SRTP sessions. RTCP is authenticated with the viewer's keys, so it counts as consent
(RFC 7675), and is handled here: reports are stored and may limit what is sent, a NACK is answered from the packet
history, PLI and FIR from the GOP. The viewer's life cycle is not decided here: :meth:`MediaSession.receive` returns
what the viewer needs for it.

Sound that is not bundled with the video has a connection of its own, which may begin later and end earlier
(:meth:`MediaSession.begin_audio`, :meth:`MediaSession.end_audio`).
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    is_rtcp,
)

from gateway.clock import CLOCK_RATE, Clock
from gateway.webrtc.bandwidth.sent_packets import SentPackets
from gateway.webrtc.bandwidth.viewer_bandwidth import Method, ViewerBandwidth
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.media_transport import SrtpConnection
from gateway.webrtc.rtp import rtcp
from gateway.webrtc.rtp.audio_sender import AudioSender
from gateway.webrtc.rtp.sequence_mapping import PacketFormat
from gateway.webrtc.rtp.srtp import SrtpError
from gateway.webrtc.rtp.transport_cc import Remb, TransportFeedback
from gateway.webrtc.rtp.video_sender import VideoSender
from gateway.webrtc.sdp.negotiation import TRANSPORT_CC, NegotiatedSession
from gateway.webrtc.sdp.voice import clock_rate_of
from gateway.webrtc.track_template import track_template
from gateway.webrtc.voice_reception import VoiceInput

NARROW_S = 6.0
"""How long a network counts as narrow after its limit was lifted: that a small rendition arrives well says nothing of
a larger one, which is then tried."""

_NACK = 1
_PLI = 1
_FIR = 4


@dataclass(slots=True, frozen=True)
class LocalSsrcs:
    """The SSRCs of the streams to a viewer, as its answer declares them."""

    video: int
    retransmission: int
    audio: int

    @classmethod
    def random(cls) -> "LocalSsrcs":
        """Distinct random values; not 0, which libsrtp takes for no SSRC."""
        chosen: set[int] = set()
        while len(chosen) < 3:
            chosen.add(secrets.randbits(32) or 1)
        return cls(*chosen)


class RtcpResult(Enum):
    """The result of a datagram from the viewer."""

    NOT_RTCP = "not RTCP, and no voice"
    REJECTED = "not authentic"
    ACCEPTED = "authentic"
    BYE = "authentic, and the viewer's last"


class MediaSession:
    """See the module. Starts with :meth:`begin`, ends with :meth:`end`."""

    def __init__(
        self,
        negotiated: NegotiatedSession,
        ssrcs: LocalSsrcs,
        cname: str,
        connection: SrtpConnection,
        *,
        fanout: CameraFanout,
        clock: Clock,
    ) -> None:
        self._cname = cname
        self._fanout = fanout
        self._clock = clock
        self._ssrcs = ssrcs
        self._connection = connection
        """The video's."""
        track = negotiated.video
        sent = None
        if TRANSPORT_CC in track.extensions:
            sent = SentPackets(secrets.randbelow(1 << 15))
        self.bandwidth = ViewerBandwidth(sent, max_bps=negotiated.max_bps)
        tag_bytes = connection.auth_tag_bytes
        self._formats = {
            codec: PacketFormat(
                track_template(each, each.payload_type, tag_bytes),
                None if each.rtx_payload_type is None else track_template(each, each.rtx_payload_type, tag_bytes),
            )
            for codec, each in negotiated.video_formats.items()
        }
        self.video = VideoSender(
            connection.outbound,
            self._formats.get(fanout.codec or "", next(iter(self._formats.values()))),
            ssrcs.video,
            connection.transport,
            rtx_ssrc=ssrcs.retransmission,
            log=sent,
        )
        self.audio: AudioSender | None = None
        """Stays after the sound has ended."""
        self._audio_track = negotiated.audio
        self._audio_codec = negotiated.audio_codec
        self._audio_connection: SrtpConnection | None = None
        """While sound is sent: the video's, or its own."""
        self._is_audio_bundled = negotiated.audio_transport is None
        self.remote_inbound = rtcp.RemoteInboundStats()
        """What the viewer last reported about its video."""
        self._narrow_bps = 0.0
        self._narrow_at_s = float("-inf")
        self._on_fault: Callable[[Exception], None] = lambda _: None
        voice = negotiated.voice
        self.voice = VoiceInput(voice.payload_type, clock_rate_of(voice)) if voice is not None else None
        """What the viewer says."""
        self._is_audio_paused = False

    @property
    def estimate_bps(self) -> float | None:
        """What the viewer's network carries, or it wants, in bits a second; ``None``: enough, or not known."""
        if self.bandwidth.method is not Method.RECEIVER_REPORTS:
            return self.bandwidth.estimate_bps
        if self.bandwidth.limit_bytes_per_s is not None:
            return 8.0 * self.bandwidth.limit_bytes_per_s
        is_recent = self._clock.monotonic() - self._narrow_at_s < NARROW_S
        return self.bandwidth.at_most(self._narrow_bps if is_recent else None)

    def begin(self, on_fault: Callable[[Exception], None]) -> None:
        """Send the current GOP, and then the live frames. ``on_fault`` is called with an error in sending."""
        self._on_fault = on_fault
        if self._is_audio_bundled:
            self.begin_audio(self._connection)
        self._fanout.add(self.video, on_fault)

    def begin_audio(self, connection: SrtpConnection) -> None:
        """Send the sound from now on, on this connection."""
        track, codec = self._audio_track, self._audio_codec
        if track is None or codec is None:
            return
        sent = self.bandwidth.sent if self._is_audio_bundled else None
        template = track_template(track, track.payload_type, connection.auth_tag_bytes, has_log=sent is not None)
        self.audio = AudioSender(connection.outbound, template, self._ssrcs.audio, connection.transport, sent)
        self._audio_connection = connection
        if not self._is_audio_paused:
            self._fanout.add_audio(self.audio, codec)

    def end_audio(self) -> None:
        """Send no more sound: its own connection has ended."""
        self._audio_connection = None
        if self.audio is not None:
            self._fanout.remove_audio(self.audio)

    def pause_audio(self, is_paused: bool) -> None:
        """Leave the sound out for a while, or send it again."""
        if is_paused is self._is_audio_paused:
            return
        self._is_audio_paused = is_paused
        if self.audio is None or self._audio_codec is None or self._audio_connection is None:
            return
        if is_paused:
            self._fanout.remove_audio(self.audio)
        else:
            self._fanout.add_audio(self.audio, self._audio_codec)

    def switch(self, fanout: CameraFanout) -> None:
        """Send another rendition, from the keyframe of its current GOP on. Sequence numbers and clocks continue."""
        before, self._fanout = self._fanout, fanout
        before.remove(self.video)
        is_smaller = not fanout.bytes_per_s or fanout.bytes_per_s < before.bytes_per_s
        self.bandwidth.switched(self._clock.monotonic(), is_smaller=is_smaller)
        wall_90k = self._clock.wall_90k()
        old, new = before.timeline_at(wall_90k), fanout.timeline_at(wall_90k)
        shift_90k = old - new if old is not None and new is not None else 0
        self.video.continue_on(shift_90k, self._formats.get(fanout.codec or ""))
        fanout.add(self.video, self._on_fault)
        if self.audio is not None and self._audio_codec is not None and self._audio_connection is not None:
            before.remove_audio(self.audio)
            self.audio.continue_on(shift_90k * self._audio_codec.clock_rate // CLOCK_RATE)
            if self._is_audio_paused:
                return
            fanout.add_audio(self.audio, self._audio_codec)

    def move(self, connection: SrtpConnection) -> None:
        """A connection has another path: use it from now on."""
        if connection is self._connection:
            self.video.transport = connection.transport
        if connection is self._audio_connection and self.audio is not None:
            self.audio.transport = connection.transport

    def end(self) -> None:
        """Stop sending, and send a BYE (RFC 3550 §6.6)."""
        self._fanout.remove(self.video)
        if self.audio is not None:
            self._fanout.remove_audio(self.audio)
        for connection, reports, ssrcs in self._reports(self._clock.wall_90k()):
            _send(connection, reports + rtcp.goodbye(ssrcs))

    def report(self, wall_90k: int) -> None:
        """Send a sender report of each stream that has begun, and a receiver report of the viewer's voice."""
        for connection, reports, _ in self._reports(wall_90k):
            _send(connection, reports)
        report = self.voice.reception.report(self._clock.monotonic()) if self.voice is not None else None
        if report is not None:
            _send(self._connection, report)

    def rtp_timestamp(self, wall_90k: int) -> int | None:
        """The RTP timestamp of video captured at ``wall_90k``; ``None`` before the first frame."""
        clock = self._fanout.timeline_at(wall_90k)
        return None if clock is None else self.video.timestamp(clock)

    def receive(self, data: bytes, connection: SrtpConnection | None = None) -> RtcpResult:
        """Handle an SRTP or SRTCP datagram from the viewer. Never raises.

        ``connection``: on which it came, if not on the video's. Of the sound only a BYE is of use.
        """
        connection = connection or self._connection
        if not is_rtcp(data):
            return self._receive_voice(data, connection)
        try:
            plain = connection.inbound.unprotect_rtcp(data)
        except (SrtpError, ValueError):
            return RtcpResult.REJECTED
        if self.voice is not None:
            self.voice.reception.take_control(plain, self._clock.monotonic())
        result = RtcpResult.ACCEPTED
        for packet in rtcp.parse(plain):
            if isinstance(packet, RtcpByePacket):
                result = RtcpResult.BYE
            elif connection is self._connection:
                self._take(packet)
        return result

    def _receive_voice(self, data: bytes, connection: SrtpConnection) -> RtcpResult:
        """What the viewer says comes on the video's connection; nothing else is expected."""
        if self.voice is None or connection is not self._connection or not self.voice.is_voice(data):
            return RtcpResult.NOT_RTCP
        try:
            packet = connection.inbound.unprotect(data)
        except (SrtpError, ValueError):
            return RtcpResult.REJECTED
        self.voice.receive(packet, self._clock.monotonic())
        return RtcpResult.ACCEPTED

    def _take(self, packet: AnyRtcpPacket | TransportFeedback | Remb) -> None:
        if isinstance(packet, TransportFeedback):
            now = self._clock.monotonic()
            rate = self._fanout.bytes_per_s
            if self.bandwidth.take_feedback(now, packet.base_sequence, packet.reference, packet.arrivals, rate):
                self._apply(now)
        elif isinstance(packet, Remb):
            self.bandwidth.take_remb(self._clock.monotonic(), packet.bits_per_s, self._fanout.bytes_per_s)
            self._apply(self._clock.monotonic())
        elif isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self.video.ssrc:
                    self.remote_inbound.take(report, CLOCK_RATE, self._clock.wall_90k())
                    self._adapt(report)
        elif isinstance(packet, RtcpRtpfbPacket):
            if packet.fmt == _NACK and packet.media_ssrc == self.video.ssrc:
                self._fanout.retransmit(self.video, packet.lost)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (_PLI, _FIR):
            self._fanout.request_keyframe(self.video)

    def _adapt(self, report: RtcpReceiverInfo) -> None:
        now = self._clock.monotonic()
        self.bandwidth.take_report(
            now,
            highest_sequence=report.highest_sequence,
            packets_lost=report.packets_lost,
            fraction_lost=self.remote_inbound.fraction_lost,
            round_trip_s=self.remote_inbound.round_trip_s,
            sent_bytes=self.video.payload_bytes_sent,
            stream_bytes_per_s=self._fanout.bytes_per_s,
        )
        if self.bandwidth.limit_bytes_per_s is not None:
            self._narrow_bps, self._narrow_at_s = 8.0 * self.bandwidth.limit_bytes_per_s, now
        self._apply(now)

    def _apply(self, now: float) -> None:
        """Send as the viewer's network permits."""
        if self.bandwidth.take_drop():
            self.video.drain(now)
        self.video.set_pace(self.bandwidth.pace_bytes_per_s)
        round_trip_s = max(self.bandwidth.round_trip_s, self.remote_inbound.round_trip_s or 0.0)
        self.video.retransmitter.round_trip_s = round_trip_s
        self.video.retransmitter.copies = 2 if self.video.can_probe and self.bandwidth.is_lossy else 1
        self._fanout.set_limit(self.video, self.bandwidth.limit_bytes_per_s, has_lost=self.bandwidth.has_lost)
        if self.video.can_probe:
            probe = self.bandwidth.next_probe(now)
            if probe is not None:
                self._fanout.probe(self.video, probe, self.bandwidth.probe_sent)

    def _reports(self, wall_90k: int) -> Iterator[tuple[SrtpConnection, bytes, list[int]]]:
        """For each connection: sender reports of the streams that have begun on it, and the SSRCs of all on it.

        Nothing for one on which nothing was sent yet (RFC 3550 §6.4).
        """
        clock = self._fanout.timeline_at(wall_90k)
        if clock is None:
            return
        streams: list[tuple[SrtpConnection, VideoSender | AudioSender, int]] = [
            (self._connection, self.video, CLOCK_RATE)
        ]
        if self.audio is not None and self._audio_codec is not None and self._audio_connection is not None:
            streams.append((self._audio_connection, self.audio, self._audio_codec.clock_rate))
        for connection in dict.fromkeys(connection for connection, _, _ in streams):
            reports, ssrcs = b"", []
            for on, sender, rate in streams:
                if on is connection:
                    ssrcs.append(sender.ssrc)
                    if sender.packets_sent:
                        at = sender.timestamp(clock * rate // CLOCK_RATE)
                        packets, size = sender.packets_sent, sender.payload_bytes_sent
                        reports += rtcp.sender_report(sender.ssrc, wall_90k, at, packets, size, self._cname)
            if reports:
                yield connection, reports, ssrcs


def _send(connection: SrtpConnection, compound: bytes) -> None:
    data = connection.outbound.protect_rtcp(compound)
    connection.transport.send(data, len(data))
