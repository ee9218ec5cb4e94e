"""WebRtcPublisher: a browser, phone or encoder that pushes one stream over WebRTC (RFC 9725).

    NEW ──ICE and DTLS──▶ CONNECTED ──close──▶ CLOSED

Theory of operation. Its SRTP is decrypted and goes, packet by packet, through the core that RTP of RTSP cameras goes
through (:class:`~gateway.capture.rtsp_media.RtspMedia`). Packets of retransmission (RFC 4588) become the packets that
they repeat. Its feedback (RTCP) is in :mod:`gateway.whip.feedback`.

Rules:

1. It takes the camera when it is connected, and not with its offer: one that cannot connect displaces nobody.
2. It ends by its own action (DELETE, DTLS closed, silence), by a command, or when another one takes its place
   (:mod:`gateway.capture.publish_point`). Closing releases everything, and may be requested twice.
3. It keeps the camera captured, as a viewer that waits does.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

from gateway.capture.rtsp_media import RtspMedia, TrackFormat
from gateway.clock import Clock
from gateway.errors import CaptureError
from gateway.rendition import Rendition
from gateway.rtsp import rtcp
from gateway.rtsp.rtp import HEADER, RtpHeader, parse_header
from gateway.webrtc.ice_restart import restart_ice
from gateway.webrtc.media_transport import MediaTransport, SrtpConnection, TransportOwner
from gateway.webrtc.rtp.srtp import SrtpError
from gateway.webrtc.sdp.fragment import parse_fragment, write_fragment
from gateway.webrtc.stats import ViewerState
from gateway.webrtc.transport import PeerTransport
from gateway.whip.feedback import TICK_S, PublisherFeedback
from gateway.whip.negotiation import NegotiatedPublisher, ReceivedMedia

log = logging.getLogger(__name__)

VIDEO, AUDIO = 0, 1
"""Numbers of the tracks."""

COUNT_TICKS = 20
"""The counters are brought up to date every so many ticks: once a second."""


class WebRtcPublisher:
    """See the module. Made by :class:`~gateway.whip.server.WhipServer`."""

    is_reordered = True

    def __init__(
        self,
        rendition: Rendition,
        negotiated: NegotiatedPublisher,
        *,
        client_address: str,
        new_transport: Callable[[str, TransportOwner], MediaTransport],
        candidates: Callable[[], tuple[str, ...]],
        clock: Clock,
        on_closed: Callable[["WebRtcPublisher"], None],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.camera_id = rendition.camera_id
        self.rendition = rendition
        self.client_address = client_address
        self.state = ViewerState.NEW
        self.reason: str | None = None
        """Why it ended."""
        self.answer_sdp = ""
        self.created_s = clock.monotonic()
        self.packets_refused = 0
        """SRTP that was not authentic, or of no stream of the answer."""
        self.close_callbacks: list[Callable[[], None]] = []
        """Called once, when it has ended."""
        self.closed = asyncio.Event()
        self._negotiated = negotiated
        self._clock = clock
        self._candidates = candidates
        self._on_closed = on_closed
        self._hold = rendition.hold("")
        self.transport = new_transport(f"whip-{self.id}", self)
        self._connection: SrtpConnection | None = None
        self._core: RtspMedia | None = None
        self._closing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._ssrcs: dict[int, int] = {}
        """SSRC by track, as they came."""
        self._tracks: dict[int, tuple[int, ReceivedMedia]] = {}
        """By payload type."""
        for number, media in ((VIDEO, negotiated.video), (AUDIO, negotiated.audio)):
            if media is not None:
                self._tracks[media.codec.payload_type] = number, media
        self.feedback = PublisherFeedback(negotiated, secrets.randbits(32) or 1, self.created_s)
        self.transport.start(negotiated.transport)

    @property
    def formats(self) -> list[TrackFormat]:
        """Its tracks."""
        taken = (self._negotiated.video, self._negotiated.audio)
        return [TrackFormat(media.format) for media in taken if media is not None]

    @property
    def etag(self) -> str:
        """The ICE session's tag (RFC 9725 §4.3.1), without quotes: it changes with an ICE restart."""
        return self.transport.agent.username

    def patch(self, fragment: str) -> str | None:
        """Handle an SDP fragment. Returns ``None`` for candidates, our own fragment for an ICE restart.

        Raises :class:`~gateway.errors.BadRequestError`.
        """
        restarted = restart_ice([self.transport], parse_fragment(fragment))
        return write_fragment(restarted, self._candidates()) if restarted else None

    # --- capture

    def begin(self, media: RtspMedia) -> None:
        """Give what comes to ``media`` from now on."""
        self._core = media

    def end(self, reason: str) -> None:
        """It is not wanted any more."""
        self._core = None
        self.close_soon(reason)

    # --- life cycle

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long: that time counts for no timeout."""
        self.created_s += stalled_s
        self.transport.resume(stalled_s)

    def tick(self, now: float, wall_90k: int) -> None:
        """Called once a second: end a silent publisher."""
        del wall_90k
        self.transport.tick(now)

    async def close(self, reason: str = "closed") -> None:
        """End it and release everything; returns when that is done. May be called twice."""
        self.close_soon(reason)
        await self.closed.wait()

    def close_soon(self, reason: str) -> None:
        """End it without waiting."""
        if self._closing is None:
            self.reason = reason
            self._core = None
            self._closing = asyncio.create_task(self._close(), name=f"whip-close-{self.id}")

    def on_connected(self, transport: MediaTransport, connection: SrtpConnection) -> None:
        """Rule 1."""
        del transport
        if self._closing is not None:
            return
        self._connection = connection
        self.state = ViewerState.CONNECTED
        where = f"over {connection.transport.protocol} from {self.client_address}"
        log.info("camera %s: is published by WebRTC %s", self.rendition.label, where, extra={"camera": self.camera_id})
        self._schedule()
        self.rendition.publish_point.add(self)

    def on_path(self, transport: MediaTransport, path: PeerTransport) -> None:
        """Datagrams go over this path from now on."""
        del transport
        if self._connection is not None:
            self._connection.transport = path

    def on_ended(self, transport: MediaTransport, reason: str) -> None:
        """Its transport has ended."""
        del transport
        self.close_soon(reason)

    async def _close(self) -> None:
        try:
            if self._timer is not None:
                self._timer.cancel()
            self.rendition.publish_point.remove(self)
            self._hold.release()
        finally:
            await self.transport.close()
            was_connected = self._connection is not None
            self.state = ViewerState.CLOSED
            while self.close_callbacks:
                self.close_callbacks.pop()()
            self._on_closed(self)
            self.closed.set()
            log.info(
                "camera %s: a publisher%s has ended: %s",
                self.rendition.label,
                "" if was_connected else " that never connected",
                self.reason,
                extra={"camera": self.camera_id},
            )

    # --- media

    def on_srtp(self, transport: MediaTransport, data: bytes) -> None:
        """An SRTP or SRTCP datagram came."""
        connection = self._connection
        if connection is None or len(data) < 8 or self._closing is not None:
            return
        try:
            if rtcp.is_rtcp(data[1]):
                self._receive_control(connection.inbound.unprotect_rtcp(data))
            else:
                self._receive(connection.inbound.unprotect(data), self._clock.monotonic())
        except (SrtpError, ValueError):
            self.packets_refused += 1
            return
        except CaptureError as error:
            self.close_soon(str(error))
        except Exception:
            log.exception("camera %s: what is published cannot be read", self.camera_id)
            self.close_soon("what it publishes cannot be read")
        transport.agent.on_authenticated_packet()

    def _receive(self, packet: bytes, now: float) -> None:
        header = parse_header(packet)
        if header is None:
            self.packets_refused += 1
            return
        video = self._negotiated.video
        is_repeated = video.rtx_payload_type is not None and header.payload_type == video.rtx_payload_type
        payload_type = video.codec.payload_type if is_repeated else header.payload_type
        found = self._tracks.get(payload_type)
        if found is None:
            self.packets_refused += 1
            return
        number, media = found
        sequence = _transport_sequence(packet, header, media.transport_sequence)
        if sequence is not None:
            self.feedback.arrivals.note(sequence, now)
        if is_repeated:
            repeated = _repeated(packet, header, payload_type, self._ssrcs.get(VIDEO))
            if repeated is None:
                return
            packet = repeated
        else:
            self._ssrcs[number] = header.ssrc
        if number == VIDEO:
            number_sent = int.from_bytes(packet[2:4], "big")
            if self.feedback.note_video(number_sent, len(packet), now, is_repeated=is_repeated):
                self._send_feedback(now)
        if self._core is not None:
            self._core.receive(number, memoryview(packet), now)

    def _receive_control(self, packet: bytes) -> None:
        core = self._core
        for report in rtcp.parse(packet) if core is not None else ():
            number = next((number for number, ssrc in self._ssrcs.items() if ssrc == report.ssrc), None)
            if core is not None and number is not None and isinstance(report, rtcp.SenderReport):
                core.receive_control(number, memoryview(packet), self._clock.monotonic())
                return

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self._schedule()
        try:
            if self._core is not None:
                self._core.expire(now)
                self._ticks += 1
                if self._ticks % COUNT_TICKS == 0:
                    self._core.count()
            self._send_feedback(now)
        except Exception:
            log.exception("camera %s: what is published cannot be read", self.camera_id)
            self.close_soon("what it publishes cannot be read")

    def _send_feedback(self, now: float) -> None:
        connection = self._connection
        if connection is None or self._closing is not None:
            return
        for compound in self.feedback.due(self._core, self._ssrcs.get(VIDEO), now):
            data = connection.outbound.protect_rtcp(compound)
            connection.transport.send(data, len(data))


def _transport_sequence(packet: bytes, header: RtpHeader, identifier: int | None) -> int | None:
    """The transport-wide sequence number in the header extensions (RFC 8285 §4.2, §4.3)."""
    if identifier is None or not packet[0] & 0x10:
        return None
    at = 12 + 4 * (packet[0] & 0x0F)
    profile = packet[at] << 8 | packet[at + 1]
    at += 4
    if profile != 0xBEDE and profile & 0xFFF0 != 0x1000:
        return None
    is_short = profile == 0xBEDE
    while at + (1 if is_short else 2) <= header.start:
        first = packet[at]
        if not first:
            at += 1
            continue
        number, length, head = (first >> 4, (first & 0x0F) + 1, 1) if is_short else (first, packet[at + 1], 2)
        if is_short and number == 15:
            return None
        at += head
        if number == identifier:
            return packet[at] << 8 | packet[at + 1] if length == 2 and at + 2 <= header.start else None
        at += length
    return None


def _repeated(packet: bytes, header: RtpHeader, payload_type: int, ssrc: int | None) -> bytes | None:
    """The packet that one of retransmission repeats (RFC 4588 §4); ``None`` for one that only fills the pipe."""
    if ssrc is None or header.end - header.start < 3:
        return None
    sequence = packet[header.start] << 8 | packet[header.start + 1]
    second = header.marker << 7 | payload_type
    # Without the extensions, which nothing here needs any more.
    return HEADER.pack(0x80, second, sequence, header.timestamp, ssrc) + packet[header.start + 2 : header.end]
