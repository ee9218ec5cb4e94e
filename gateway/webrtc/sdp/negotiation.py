"""Finds what an offer and a camera have in common (RFC 8829 §5.3).

Theory of operation. For each media section of the offer either one codec is accepted, send-only, or the section is
declined. One section of video is accepted, and one of sound: if possible one that is bundled with the video (RFC 9143),
so that both share a transport; else one with a transport of its own, as clients without BUNDLE offer it. An inactive
section that is bundled with neither has its transport, too: without it, webrtcbin mistakes the next section for it.
Of video a second codec may be accepted, which another rendition of the camera has: what is sent may change to any
payload type of the answer at any time (RFC 3264 §8.3.2). RTCP is always multiplexed (RFC 5761). Which codec fits is
decided in :mod:`gateway.webrtc.sdp.codecs`.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.errors import BadRequestError, NegotiationError
from gateway.media import AudioInfo, StreamInfo, VideoInfo
from gateway.webrtc.sdp.av1 import av1_parameters, choose_av1
from gateway.webrtc.sdp.codecs import (
    OTHER_TRANSPORTS,
    AudioCodec,
    audio_parameters,
    choose_audio,
    choose_h264,
    h264_parameters,
    rtx_for,
)
from gateway.webrtc.sdp.h265 import choose_h265, h265_parameters
from gateway.webrtc.sdp.offer import Offer, OfferedCodec, OfferedSection, TransportParameters

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
"""Header extensions that are sent if they are offered (RFC 9143 §15, and Chromium's documentation)."""

TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
"""The header extension of transport-wide sequence numbers. It is sent if its feedback is offered, too."""

FEEDBACK = frozenset({"nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"})
"""RTCP feedback that is accepted; REMB only without transport-wide feedback. Any other would be received in vain."""

FINGERPRINT_HASHES = ("sha-256", "sha-384", "sha-512")
"""Hash functions of DTLS fingerprints that can be checked. Of those in an offer, the first one counts (RFC 8122 §5)."""

VIDEO_NAMES: Mapping[str, str] = {"h264": "H.264", "hevc": "H.265", "av1": "AV1"}
"""Codecs of video that WebRTC can carry, with their names for people."""

_CHOOSE = {"h264": choose_h264, "hevc": choose_h265, "av1": choose_av1}
_PARAMETERS = {"h264": h264_parameters, "hevc": h265_parameters, "av1": av1_parameters}
"""Of :data:`VIDEO_NAMES`: the format for a camera's video, and the answer's parameters."""

INACTIVE_TRANSPORTS_MAX = 2
"""Each costs a handshake. Sections beyond it are rejected."""

_EXTENSION_ID_MAX = 255
"""Greater ones are offers of extensions without an id (RFC 8285 §5)."""


@dataclass(slots=True, frozen=True)
class NegotiatedMedia:
    """One accepted media section of the offer."""

    index: int
    """Which media section of the offer."""
    mid: str
    payload_type: int
    rtpmap: str
    """The rtpmap's value, as offered."""
    format_parameters: str
    feedback: tuple[str, ...]
    rtx_payload_type: int | None = None
    extensions: Mapping[str, int] = field(default_factory=dict)
    """Identifiers by URI."""
    sendonly_extensions: frozenset[str] = frozenset()
    """Those of them whose answer has to say that they are only sent (RFC 8285 §7)."""


@dataclass(slots=True, frozen=True)
class NegotiatedTransport:
    """One transport, ICE with DTLS over it: that of a BUNDLE group, or of a single section."""

    remote_username: str
    remote_password: str
    fingerprints: tuple[tuple[str, str], ...]
    """Pairs of hash name and value, all of one hash. The viewer's certificate must have one of them."""
    dtls_role: str
    """Ours: ``server`` if the offer leaves the choice, since Chromium repeats a lost ClientHello after 50 ms."""
    tagged: OfferedSection
    """The section whose attributes the transport has: the first of the BUNDLE group (RFC 9143 §7.3)."""
    bundle: tuple[str, ...]
    """The identification tags of the sections that share it, in the order of the offer's group, if any."""
    has_data_channels: bool
    """Whether a section for data channels shares it."""


@dataclass(slots=True, frozen=True)
class NegotiatedSession:
    """What an offer and a camera have in common."""

    sections: tuple[OfferedSection, ...]
    """Every media section of the offer, in order."""
    transport: NegotiatedTransport
    """The video's, and the sound's if they are bundled."""
    video: NegotiatedMedia
    audio: NegotiatedMedia | None
    audio_codec: AudioCodec | None
    video_formats: Mapping[str, NegotiatedMedia]
    """What the video may be sent as: :attr:`video` first, then other codecs. By FFmpeg's name of the codec."""
    audio_transport: NegotiatedTransport | None = None
    """The sound's own; ``None`` if there is none."""
    inactive_transports: tuple[NegotiatedTransport, ...] = ()
    """Those that carry nothing."""
    voice: NegotiatedMedia | None = None
    """What the viewer may send: a voice for the camera. Its section may be that of :attr:`audio`."""

    @property
    def transports(self) -> tuple[NegotiatedTransport, ...]:
        """The video's first, then the sound's own, then those that carry nothing."""
        own = () if self.audio_transport is None else (self.audio_transport,)
        return (self.transport, *own, *self.inactive_transports)

    @property
    def accepted(self) -> tuple[NegotiatedMedia, ...]:
        """The accepted sections, in the order of the offer."""
        media = [item for item in (self.video, self.audio) if item is not None]
        return tuple(sorted(media, key=lambda item: item.index))

    @property
    def max_bps(self) -> float | None:
        """The most that the viewer wants to receive of video, in bits a second; ``None``: it does not say."""
        return self.sections[self.video.index].max_bps

    def can_decode(self, video: VideoInfo) -> bool:
        """Whether the viewer decodes this, as far as it has said so."""
        if video.codec not in self.video_formats:
            return False
        section = self.sections[self.video.index]
        types = {each.payload_type for each in self.video_formats.values()}
        accepted = replace(section, codecs=tuple(each for each in section.codecs if each.payload_type in types))
        return _format(accepted, video, "") is not None

    def place_of(self, index: int) -> int | None:
        """Which of :attr:`transports` a section of the offer uses; ``None``: it is rejected."""
        section = self.sections[index]
        if self.audio is not None and self.audio.index == index:
            return 0 if self.audio_transport is None else 1
        places = (
            place
            for place, transport in enumerate(self.transports)
            if section is transport.tagged or section.mid in transport.bundle
        )
        return next(places, None)


def negotiate(
    offer: Offer,
    info: StreamInfo,
    camera_id: str,
    others: Sequence[VideoInfo] = (),
    *,
    may_have_own_transports: bool = True,
) -> NegotiatedSession:
    """Choose the codecs. ``others`` is what the camera may send later.

    Without ``may_have_own_transports`` only what is bundled with the video is accepted. Raises ``BadRequestError``, or
    ``NegotiationError`` with the reason.
    """
    check_video(info.video, camera_id)
    index, codec = _choose_video(offer, info.video, camera_id)
    section = offer.sections[index]
    transport = transport_of(offer, section)
    if offer.is_ice_lite:
        raise NegotiationError("the offer is ICE-lite, and so is the gateway: neither side would send checks")
    formats = {info.video.codec: _video(index, section, codec, info.video)}
    for other in others:
        if other.codec not in formats and (codec_of_other := _format(section, other, camera_id)) is not None:
            formats[other.codec] = _video(index, section, codec_of_other, other)
    audio, audio_codec, audio_transport = _choose_audio(
        offer, info.audio, section, may_have_transport=may_have_own_transports
    )
    negotiated = NegotiatedSession(
        sections=offer.sections,
        transport=transport,
        video=formats[info.video.codec],
        audio=audio,
        audio_codec=audio_codec,
        video_formats=formats,
        audio_transport=audio_transport,
    )
    return _with_inactive(negotiated, offer) if may_have_own_transports else negotiated


def check_video(video: VideoInfo, camera_id: str) -> None:
    """Raises ``NegotiationError`` if WebRTC cannot carry the camera's codec."""
    if video.codec not in VIDEO_NAMES:
        raise NegotiationError(
            f"camera {camera_id} sends {video.codec}, and WebRTC here carries H.264, H.265 and AV1; use MJPEG, or set"
            " the camera to H.264",
            ("mjpeg",),
        )


def refuse_b_frames(camera_id: str) -> NegotiationError:
    """The error for a camera whose frames come in another order than they are shown."""
    return NegotiationError(
        f"camera {camera_id} sends B-frames, which WebRTC cannot carry; use HLS or MJPEG, or set the camera to the"
        " baseline profile or to no B-frames",
        OTHER_TRANSPORTS,
    )


def transport_of(offer: Offer, section: OfferedSection) -> NegotiatedTransport:
    """The transport of a section, and of all that is bundled with it. Raises what :func:`negotiate` raises."""
    bundle = _bundle(offer, section)
    # Bundled sections use the transport of the tagged one, whatever they say themselves (RFC 9143 §7.3).
    tagged = next((item for item in offer.sections if item.mid in bundle[:1]), section)
    transport = tagged.transport.or_else(section.transport)
    return NegotiatedTransport(
        remote_username=transport.username,
        remote_password=transport.password,
        fingerprints=_check_transport(transport),
        dtls_role="client" if transport.setup == "passive" else "server",
        tagged=tagged,
        bundle=bundle,
        has_data_channels=any(item.is_data_channel and item.mid in bundle for item in offer.sections),
    )


def _check_transport(transport: TransportParameters) -> tuple[tuple[str, str], ...]:
    """The usable fingerprints. Raises what :func:`negotiate` raises."""
    # RFC 8839 §5.4: at least 4 and 22 characters, 256 at most.
    if not 4 <= len(transport.username) <= 256 or not 22 <= len(transport.password) <= 256:
        raise BadRequestError("the offer has no valid ICE user fragment and password (4 and 22 to 256 characters)")
    if not (transport.username + transport.password).isascii():
        raise BadRequestError("the offer's ICE user fragment and password are not ASCII")
    if not transport.fingerprints or not transport.setup:
        raise BadRequestError("the offer has no DTLS fingerprint and setup attribute")
    if transport.setup not in ("actpass", "active", "passive"):
        raise BadRequestError("the offer's setup attribute is not actpass, active or passive (RFC 8842 §5.2)")
    offered = {name for name, _ in transport.fingerprints}
    preferred = next((name for name in FINGERPRINT_HASHES if name in offered), None)
    if preferred is None:
        raise NegotiationError("the offer has no DTLS fingerprint with sha-256, sha-384 or sha-512")
    if not transport.rtcp_mux:
        raise NegotiationError("the offer has no rtcp-mux; RTP and RTCP share one port here")
    return tuple(item for item in transport.fingerprints if item[0] == preferred)


def _bundle(offer: Offer, accepted: OfferedSection) -> tuple[str, ...]:
    """What stays in a BUNDLE group: of an accepted section's group, all that is audio, video, or a data channel.

    Empty if the offer bundles the section with nothing: an answer has no group of its own (RFC 9143 §7.3).
    """
    usable = {
        section.mid for section in offer.sections if section.is_offered and (section.codecs or section.is_data_channel)
    }
    return tuple(mid for mid in offer.bundle_of(accepted) if mid in usable)


def _receives(section: OfferedSection, kind: str) -> bool:
    return section.kind == kind and section.is_offered and section.direction in ("recvonly", "sendrecv")


def _choose_video(offer: Offer, video: VideoInfo, camera_id: str) -> tuple[int, OfferedCodec]:
    """The first video section that receives what the camera sends, and the codec."""
    refusal: NegotiationError | None = None
    for place, section in enumerate(offer.sections):
        if not _receives(section, "video"):
            continue
        try:
            codec = _CHOOSE[video.codec](section, video, camera_id)
        except NegotiationError as error:
            refusal = refusal or error
            continue
        if codec is not None:
            return place, codec
    name = VIDEO_NAMES[video.codec]
    raise refusal or NegotiationError(
        f"camera {camera_id} sends {name}, and the offer has no video section that receives it; use HLS or MJPEG",
        OTHER_TRANSPORTS,
    )


def _format(section: OfferedSection, video: VideoInfo, camera_id: str) -> OfferedCodec | None:
    """The format of a section for a camera's video, if it has one that fits."""
    choose = _CHOOSE.get(video.codec)
    with contextlib.suppress(NegotiationError):
        return None if choose is None else choose(section, video, camera_id)
    return None


def _video(index: int, section: OfferedSection, codec: OfferedCodec, video: VideoInfo) -> NegotiatedMedia:
    return _media(index, section, codec, _PARAMETERS[video.codec](codec, video), (MID, PLAYOUT_DELAY))


_Audio = tuple[NegotiatedMedia | None, AudioCodec | None, NegotiatedTransport | None]


def _choose_audio(offer: Offer, audio: AudioInfo | None, video: OfferedSection, *, may_have_transport: bool) -> _Audio:
    """Choose the audio section and codec, and the section's transport unless it is the video's.

    A section that is bundled with the video comes first. A transport that cannot be used costs the sound only.
    """
    bundle = offer.bundle_of(video)
    fitting = []
    for place, section in enumerate(offer.sections):
        if audio is not None and _receives(section, "audio"):
            chosen = choose_audio(section, audio)
            if chosen is not None:
                codec, name = chosen
                media = _media(place, section, codec, audio_parameters(codec, audio), (MID,))
                fitting.append((section, media, name))
    for section, media, name in fitting:
        if section.mid in bundle:
            return media, name, None
    for section, media, name in fitting if may_have_transport else ():
        try:
            transport = transport_of(offer, section)
        except (BadRequestError, NegotiationError):
            continue
        # The numbers count all packets of one transport, and the sound alone needs no estimate.
        extensions = {uri: identifier for uri, identifier in media.extensions.items() if uri != TRANSPORT_CC}
        return replace(media, extensions=extensions, feedback=()), name, transport
    return None, None, None


def _with_inactive(negotiated: NegotiatedSession, offer: Offer) -> NegotiatedSession:
    """The same, with the transports of the inactive sections that have none yet."""
    for index, section in enumerate(offer.sections):
        is_inactive = section.is_offered and section.codecs and section.direction == "inactive"
        is_full = len(negotiated.inactive_transports) >= INACTIVE_TRANSPORTS_MAX
        if is_inactive and not is_full and negotiated.place_of(index) is None:
            with contextlib.suppress(BadRequestError, NegotiationError):
                transports = (*negotiated.inactive_transports, transport_of(offer, section))
                negotiated = replace(negotiated, inactive_transports=transports)
    return negotiated


def _media(
    index: int, section: OfferedSection, codec: OfferedCodec, parameters: str, extensions: tuple[str, ...]
) -> NegotiatedMedia:
    usable = {uri: identifier for uri, identifier in section.extensions.items() if 1 <= identifier <= _EXTENSION_ID_MAX}
    feedback = tuple(dict.fromkeys(item for item in codec.feedback if item in FEEDBACK))
    is_transport_wide = "transport-cc" in feedback and TRANSPORT_CC in usable
    unused = "goog-remb" if is_transport_wide else "transport-cc"
    feedback = tuple(item for item in feedback if item != unused)
    if is_transport_wide:
        extensions = (*extensions, TRANSPORT_CC)
    return NegotiatedMedia(
        index=index,
        mid=section.mid,
        payload_type=codec.payload_type,
        rtpmap=codec.rtpmap,
        format_parameters=parameters,
        feedback=feedback,
        rtx_payload_type=rtx_for(codec, section.codecs) if "nack" in feedback else None,
        extensions={uri: identifier for uri, identifier in usable.items() if uri in extensions},
        sendonly_extensions=section.recvonly_extensions,
    )
