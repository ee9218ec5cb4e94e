"""Finds in which section and codec a viewer may send a voice, for the loudspeaker of the camera."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.webrtc.sdp.negotiation import NegotiatedMedia, NegotiatedSession
from gateway.webrtc.sdp.offer import Offer, OfferedCodec, OfferedSection


def with_voice(negotiated: NegotiatedSession, offer: Offer, codecs: Sequence[str]) -> NegotiatedSession:
    """The same, and the viewer may send a voice, in the first of these codecs (names of SDP) that it offers to send.

    Only in a section that is bundled with the video; the one in which it receives the camera's sound comes first.
    """
    bundle = negotiated.transport.bundle
    sends = [
        (index, section)
        for index, section in enumerate(offer.sections)
        if section.kind == "audio" and section.mid in bundle and section.direction in ("sendonly", "sendrecv")
    ]
    if negotiated.audio is not None:
        own = negotiated.audio.index
        sends.sort(key=lambda each: each[0] != own)
    for index, section in sends:
        for name in codecs:
            fitting = (codec for codec in section.codecs if codec.name.upper() == name and _is_usable(codec))
            if (codec := next(fitting, None)) is not None:
                return replace(negotiated, voice=_voice(index, section, codec))
    return negotiated


def _is_usable(codec: OfferedCodec) -> bool:
    is_opus = codec.name.upper() == "OPUS"
    return codec.clock_rate == (48_000 if is_opus else 8000) and codec.channels in ((None, 2) if is_opus else (None, 1))


def _voice(index: int, section: OfferedSection, codec: OfferedCodec) -> NegotiatedMedia:
    """Nothing is asked for that the gateway would have to answer: no feedback, and no extensions."""
    kept = ("minptime", "useinbandfec")
    given = ((name, value) for name, value in codec.parameters.items() if name in kept and value is not None)
    parameters = ";".join(f"{name}={value}" for name, value in given)
    return NegotiatedMedia(index, section.mid, codec.payload_type, codec.rtpmap, parameters, ())


def codec_name(media: NegotiatedMedia) -> str:
    """The name of a section's codec, in upper case."""
    return media.rtpmap.split()[1].partition("/")[0].upper()


def clock_rate_of(media: NegotiatedMedia) -> int:
    """The RTP clock of a section's codec, in Hz."""
    return int(media.rtpmap.split()[1].split("/")[1])
