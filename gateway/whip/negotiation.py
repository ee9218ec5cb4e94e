"""Finds what of a publisher's offer is taken (RFC 9725 §4.2, RFC 8829 §5.3).

Rules:

1. The first section of video with H.264 or H.265 is taken, and the first of sound that shares its transport. Of the
   codecs the publisher's first choice counts; H.264 in fragments (packetization-mode 1) before any other H.264.
2. Others are declined: a publisher has one transport, as RFC 9725 §4.4.1 requires of it.
3. Media is taken as it comes and never decoded. So what the gateway cannot pass on is refused with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import NegotiationError
from gateway.rtsp.formats import AudioFormat, VideoFormat, audio_format, video_format
from gateway.rtsp.sdp import Format, Media
from gateway.webrtc.sdp.codecs import rtx_for
from gateway.webrtc.sdp.negotiation import TRANSPORT_CC, NegotiatedTransport, transport_of
from gateway.webrtc.sdp.offer import Offer, OfferedCodec, OfferedSection

FEEDBACK = frozenset({"nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"})
"""RTCP feedback that is sent where it is offered; REMB only without transport-wide feedback."""

VIDEO_CODECS = ("H264", "H265")
AUDIO_CODECS = ("OPUS", "PCMU", "PCMA")

H264_LEVEL = "34"
"""Level 5.2 in a profile-level-id: nothing is decoded, so that any level is taken that cameras of phones have."""

_EXTENSION_ID_MAX = 14
"""Of a header extension in one byte (RFC 8285 §4.2); others are not asked for."""


@dataclass(slots=True, frozen=True)
class ReceivedMedia:
    """A section that is taken, and how its media comes."""

    index: int
    """Which media section of the offer."""
    codec: OfferedCodec
    format: VideoFormat | AudioFormat
    feedback: tuple[str, ...]
    rtx_payload_type: int | None = None
    transport_sequence: int | None = None
    """The identifier of the header extension of transport-wide sequence numbers."""


@dataclass(slots=True, frozen=True)
class NegotiatedPublisher:
    """What is taken of an offer."""

    sections: tuple[OfferedSection, ...]
    transport: NegotiatedTransport
    video: ReceivedMedia
    audio: ReceivedMedia | None

    @property
    def accepted(self) -> Mapping[int, ReceivedMedia]:
        """By the number of the section."""
        return {each.index: each for each in (self.video, self.audio) if each is not None}


def negotiate_publisher(offer: Offer) -> NegotiatedPublisher:
    """Choose. Raises ``BadRequestError`` or ``NegotiationError``, with the reason."""
    video = choose_media(offer, "video", VIDEO_CODECS)
    if video is None:
        sent = [section for section in offer.sections if section.kind == "video" and _sends(section)]
        names = ", ".join(dict.fromkeys(codec.name for section in sent for codec in section.codecs))
        raise NegotiationError(
            "the offer has no video section that sends H.264 or H.265"
            + (f" (it has {names})" if names else "")
            + "; set the encoder to H.264"
        )
    if offer.is_ice_lite:
        raise NegotiationError("the offer is ICE-lite, and so is the gateway: neither side would send checks")
    section = offer.sections[video.index]
    transport = transport_of(offer, section)
    audio = choose_media(offer, "audio", AUDIO_CODECS, transport.bundle)
    return NegotiatedPublisher(offer.sections, transport, video, audio)


def _sends(section: OfferedSection) -> bool:
    return section.is_offered and section.direction in ("sendonly", "sendrecv")


def offered_names(offer: Offer, kind: str) -> set[str]:
    """The names, in upper case, of the codecs that an offer sends this kind of media in."""
    sections = [section for section in offer.sections if section.kind == kind and _sends(section)]
    return {codec.name.upper() for section in sections for codec in section.codecs}


def choose_media(
    offer: Offer, kind: str, names: tuple[str, ...], bundle: tuple[str, ...] | None = None
) -> ReceivedMedia | None:
    """The first section that sends one of these codecs, and is in the ``bundle``, if that is given."""
    for index, section in enumerate(offer.sections):
        if section.kind != kind or not _sends(section) or (bundle is not None and section.mid not in bundle):
            continue
        codecs = [codec for codec in section.codecs if codec.name.upper() in names]
        # H.264 whose units have to fit in one packet each is the last choice of all H.264.
        best = next((codec for codec in codecs if not _is_unfragmented(codec)), next(iter(codecs), None))
        format = _format(kind, best) if best is not None else None
        if best is not None and format is not None:
            return _received(index, section, best, format)
    return None


def _is_unfragmented(codec: OfferedCodec) -> bool:
    return codec.name.upper() == "H264" and codec.parameters.get("packetization-mode", "0") == "0"


def _format(kind: str, codec: OfferedCodec) -> VideoFormat | AudioFormat | None:
    parameters = {name: value for name, value in codec.parameters.items() if value is not None}
    found = Format(codec.payload_type, codec.name.upper(), codec.clock_rate, codec.channels or 1, parameters)
    media = Media(kind, "RTP/AVP", (found,), "")
    return video_format(media) if kind == "video" else audio_format(media)


def _received(
    index: int, section: OfferedSection, codec: OfferedCodec, format: VideoFormat | AudioFormat
) -> ReceivedMedia:
    feedback = tuple(dict.fromkeys(item for item in codec.feedback if item in FEEDBACK))
    identifier = section.extensions.get(TRANSPORT_CC, 0)
    is_transport_wide = "transport-cc" in feedback and 1 <= identifier <= _EXTENSION_ID_MAX
    unused = "goog-remb" if is_transport_wide else "transport-cc"
    feedback = tuple(item for item in feedback if item != unused)
    if section.kind == "audio":
        # Lost sound is over before it could come again.
        feedback = tuple(item for item in feedback if item == "transport-cc")
    return ReceivedMedia(
        index,
        codec,
        format,
        feedback,
        rtx_for(codec, section.codecs) if "nack" in feedback else None,
        identifier if is_transport_wide else None,
    )
