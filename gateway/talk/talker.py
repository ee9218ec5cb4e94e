"""WebRtcTalker: a session that sends a voice to a camera and receives nothing (``POST /talk/{camera}``).

    NEW ──ICE and DTLS──▶ CONNECTED ──close──▶ CLOSED

Theory of operation. It has the floor from the moment on at which it is made, so that one who is refused knows it from
the answer, and the camera is ready when it connects. The offer and the answer are those of WHIP (RFC 9725).

Rules:

1. It ends by its own action (DELETE, DTLS closed, silence), by a command, or with its turn: it has no second one.
2. Closing releases everything, and may be requested twice.
3. Digital silence, as of a microphone that is muted, does not keep the floor.
4. It gets receiver reports once a second.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import NegotiationError
from gateway.rtsp import rtcp
from gateway.rtsp.rtp import parse_header
from gateway.talk.camera_talk import CameraTalk
from gateway.talk.formats import TALK_CODECS
from gateway.talk.sound import is_silence
from gateway.talk.turn import Turn
from gateway.webrtc.ice_restart import restart_ice
from gateway.webrtc.media_transport import MediaTransport, SrtpConnection, TransportOwner
from gateway.webrtc.rtp.srtp import SrtpError
from gateway.webrtc.sdp.fragment import parse_fragment, write_fragment
from gateway.webrtc.sdp.negotiation import NegotiatedTransport, transport_of
from gateway.webrtc.sdp.offer import Offer, OfferedSection, parse_offer
from gateway.webrtc.stats import ViewerState
from gateway.webrtc.transport import PeerTransport
from gateway.webrtc.voice_reception import VoiceReception
from gateway.whip.negotiation import ReceivedMedia, choose_media, offered_names

log = logging.getLogger(__name__)

SILENCE_S = 10.0
"""A session for talking that sends nothing for as long has lost its microphone, or its network."""


@dataclass(slots=True, frozen=True)
class NegotiatedTalker:
    """What is taken of an offer."""

    sections: tuple[OfferedSection, ...]
    transport: NegotiatedTransport
    audio: ReceivedMedia

    @property
    def accepted(self) -> dict[int, ReceivedMedia]:
        """By the number of the section."""
        return {self.audio.index: self.audio}


def offered_codecs(offer: Offer) -> frozenset[str]:
    """The codecs that an offer sends a voice in. Raises :class:`~gateway.errors.NegotiationError` without one."""
    names = offered_names(offer, "audio") & TALK_CODECS.keys()
    if not names:
        raise NegotiationError(
            "the offer has no section of sound that sends Opus, G.722, PCMU or PCMA; nothing else is taken"
        )
    return frozenset(names)


def sends_sound(offer_sdp: str) -> bool:
    """Whether an offer sends sound that can be taken. Raises ``BadRequestError`` for what is no offer."""
    return bool(offered_names(parse_offer(offer_sdp), "audio") & TALK_CODECS.keys())


def negotiate_talker(offer: Offer, codec: str) -> NegotiatedTalker:
    """Take the section that sends this codec. Raises ``BadRequestError`` or ``NegotiationError``."""
    audio = choose_media(offer, "audio", (codec,))
    if audio is None or offer.is_ice_lite:
        raise NegotiationError("the offer is ICE-lite, and so is the gateway: neither side would send checks")
    return NegotiatedTalker(offer.sections, transport_of(offer, offer.sections[audio.index]), audio)


class WebRtcTalker:
    """See the module. Made by :class:`~gateway.talk.service.TalkService`."""

    def __init__(
        self,
        talk: CameraTalk,
        who: str,
        codecs: frozenset[str],
        *,
        new_transport: Callable[[str, TransportOwner], MediaTransport],
        candidates: Callable[[], tuple[str, ...]],
        on_closed: Callable[["WebRtcTalker"], None],
    ) -> None:
        """Takes the floor. Raises as :meth:`~gateway.talk.camera_talk.CameraTalk.begin`."""
        self.id = secrets.token_urlsafe(16)
        self.camera_id = talk.camera.id
        self.state = ViewerState.NEW
        self.reason: str | None = None
        """Why it ended."""
        self.answer_sdp = ""
        self.packets_refused = 0
        """SRTP that was not authentic, or of no stream of the answer."""
        self.close_callbacks: list[Callable[[], None]] = []
        """Called once, when it has ended."""
        self.closed = asyncio.Event()
        self.transport = new_transport(f"talk-{self.id}", self)
        self._talk = talk
        self._candidates = candidates
        self._on_closed = on_closed
        self._negotiated: NegotiatedTalker | None = None
        self._reception: VoiceReception | None = None
        self._connection: SrtpConnection | None = None
        self._closing: asyncio.Task[None] | None = None
        self.turn: Turn = talk.begin(who, codecs, self.close_soon, silence_s=SILENCE_S)

    @property
    def etag(self) -> str:
        """The ICE session's tag (RFC 9725 §4.3.1), without quotes: it changes with an ICE restart."""
        return self.transport.agent.username

    def start(self, negotiated: NegotiatedTalker) -> None:
        """Wait for the talker to connect."""
        self._negotiated = negotiated
        self._reception = VoiceReception(negotiated.audio.codec.clock_rate)
        self.transport.start(negotiated.transport)

    def patch(self, fragment: str) -> str | None:
        """Handle an SDP fragment. Returns ``None`` for candidates, our own fragment for an ICE restart.

        Raises :class:`~gateway.errors.BadRequestError`.
        """
        restarted = restart_ice([self.transport], parse_fragment(fragment))
        return write_fragment(restarted, self._candidates()) if restarted else None

    # --- life cycle

    def resume(self, stalled_s: float) -> None:
        """Go on after the process was stopped for so long: that time counts for no timeout."""
        self.transport.resume(stalled_s)

    def tick(self, now: float, wall_90k: int) -> None:
        """Called once a second: end a silent talker."""
        del wall_90k
        if self._negotiated is not None:
            self.transport.tick(now)
        connection = self._connection
        report = self._reception.report(now) if self._reception is not None else None
        if connection is not None and report is not None and self._closing is None:
            data = connection.outbound.protect_rtcp(report)
            connection.transport.send(data, len(data))

    async def close(self, reason: str = "closed") -> None:
        """End it and release everything; returns when that is done. May be called twice."""
        self.close_soon(reason)
        await self.closed.wait()

    def close_soon(self, reason: str) -> None:
        """End it without waiting."""
        if self._closing is None:
            self.reason = reason
            self._closing = asyncio.create_task(self._close(reason), name=f"talk-close-{self.id}")

    def on_connected(self, transport: MediaTransport, connection: SrtpConnection) -> None:
        """Voice may come."""
        del transport
        if self._closing is None:
            self._connection = connection
            self.state = ViewerState.CONNECTED

    def on_path(self, transport: MediaTransport, path: PeerTransport) -> None:
        """Datagrams go over this path from now on."""
        del transport
        if self._connection is not None:
            self._connection.transport = path

    def on_ended(self, transport: MediaTransport, reason: str) -> None:
        """Its transport has ended."""
        del transport
        self.close_soon(reason)

    async def _close(self, reason: str) -> None:
        try:
            self.turn.end(reason)
        finally:
            await self.transport.close()
            self.state = ViewerState.CLOSED
            while self.close_callbacks:
                self.close_callbacks.pop()()
            self._on_closed(self)
            self.closed.set()

    # --- media

    def on_srtp(self, transport: MediaTransport, data: bytes) -> None:
        """An SRTP or SRTCP datagram came."""
        connection, negotiated = self._connection, self._negotiated
        if connection is None or negotiated is None or len(data) < 8 or self._closing is not None:
            return
        now = self._talk.now()
        try:
            if rtcp.is_rtcp(data[1]):
                compound = connection.inbound.unprotect_rtcp(data)
                if self._reception is not None:
                    self._reception.take_control(compound, now)
            else:
                packet = connection.inbound.unprotect(data)
                header = parse_header(packet)
                if header is None or header.payload_type != negotiated.audio.codec.payload_type:
                    self.packets_refused += 1
                    return
                payload = packet[header.start : header.end]
                if self._reception is not None:
                    self._reception.take(header, now)
                if not is_silence(negotiated.audio.codec.name.upper(), payload):
                    self._talk.heard(self.turn)
                self.turn.take(payload, header.sequence, header.timestamp)
        except (SrtpError, ValueError):
            self.packets_refused += 1
            return
        except Exception:
            log.exception("camera %s: what a talker sends cannot be read", self.camera_id)
            self.close_soon("what it sends cannot be read")
        transport.agent.on_authenticated_packet()
