"""What a camera's back channel takes, and what a talker is asked to send (ONVIF Streaming Specification §5.3).

Rules:

1. A format that the talker can send as the camera takes it comes first: nothing is decoded then, and nothing waits.
   That is G.711 for nearly every camera and browser. Among such formats the order of the camera counts.
2. Else the talker sends the best codec that it has, and it is encoded as the first format that can be encoded.
3. AAC is sent as AAC-LC in the mode AAC-hbr (RFC 3640 §3.3.6); a camera that wants another is not talked to in AAC.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.codec import aac
from gateway.media import AudioInfo
from gateway.rtsp.formats import AudioFormat, audio_format
from gateway.rtsp.packetize.audio import AudioPayloadFormat, audio_payload_format
from gateway.rtsp.sdp import Format, Media, SessionDescription

TALK_CODECS: Mapping[str, AudioInfo] = {
    "OPUS": AudioInfo("opus", "opus", 48_000, 2),
    "G722": AudioInfo("adpcm_g722", "", 16_000, 1),
    "PCMU": AudioInfo("pcm_mulaw", "ulaw", 8000, 1),
    "PCMA": AudioInfo("pcm_alaw", "alaw", 8000, 1),
}
"""What talkers may send, by the names of SDP, best first."""

_NAMES: Mapping[str, str] = {
    "opus": "Opus",
    "aac": "AAC",
    "pcm_mulaw": "PCMU",
    "pcm_alaw": "PCMA",
    "pcm_s16be": "L16",
    "adpcm_g722": "G722",
    "adpcm_g726": "G726",
    "adpcm_g726le": "G726",
}

_AAC_LC = 2
_AAC_FRAME_SAMPLES = 1024
_HBR_SIZE_BITS = "13"


@dataclass(frozen=True, slots=True)
class BackChannelFormat:
    """One format of a back channel, and the media section that it stands in."""

    media: Media
    payload_type: int
    clock_rate: int
    info: AudioInfo
    packets: AudioPayloadFormat

    @property
    def name(self) -> str:
        """For people."""
        return _NAMES.get(self.info.codec, self.info.codec)


@dataclass(frozen=True, slots=True)
class TalkChoice:
    """What the talker sends (a name of :data:`TALK_CODECS`), and as what it goes to the camera."""

    codec: str
    format: BackChannelFormat
    is_passed_through: bool


def back_channel_formats(description: SessionDescription) -> list[BackChannelFormat]:
    """All formats of a camera's back channels that voice can be sent in, in the camera's order."""
    found: list[BackChannelFormat] = []
    for media in description.media:
        known = audio_format(media) if media.kind == "audio" and media.is_back_channel else None
        if known is None:
            continue
        given = {each.payload_type: each for each in media.formats}
        for each in (known, *(other for other in known.others if other.is_announced)):
            packets = audio_payload_format(each.info)
            if packets is not None and _can_be_sent(each, given[each.payload_type]):
                found.append(BackChannelFormat(media, each.payload_type, each.clock_rate, each.info, packets))
    return found


def choose(formats: Sequence[BackChannelFormat], offered: Collection[str]) -> TalkChoice | None:
    """The best of what a talker offers for a camera; ``None`` where they have nothing in common."""
    for format in formats:
        for name, info in TALK_CODECS.items():
            if name in offered and _is_same(info, format.info):
                return TalkChoice(name, format, is_passed_through=True)
    best = next((name for name in TALK_CODECS if name in offered), None)
    if best is None or not formats:
        return None
    return TalkChoice(best, formats[0], is_passed_through=False)


def _is_same(sent: AudioInfo, taken: AudioInfo) -> bool:
    if sent.codec != taken.codec:
        return False
    # Opus says in each packet what is in it (RFC 7587 §4).
    return sent.codec == "opus" or (sent.sample_rate_hz, sent.channels) == (taken.sample_rate_hz, taken.channels)


def _can_be_sent(format: AudioFormat, given: Format) -> bool:
    if format.info.channels > 2:
        return False
    if format.info.codec != "aac":
        return True
    config = aac.parse_config(format.info.extradata)
    is_lc = format.info.extradata[:1] and format.info.extradata[0] >> 3 == _AAC_LC  # else the core of HE-AAC
    is_usual = is_lc and config is not None and config.frame_samples == _AAC_FRAME_SAMPLES
    is_hbr = given.parameters.get("sizelength", _HBR_SIZE_BITS) == _HBR_SIZE_BITS
    return given.encoding == "MPEG4-GENERIC" and bool(is_usual) and is_hbr
