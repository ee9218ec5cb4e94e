"""The description of a camera's stream for the readers of the RTSP server (RFC 8866; RFC 2326 appendix C)."""

from base64 import b64encode
from dataclasses import dataclass

from gateway.codec.annexb import nal_units
from gateway.codec.av1 import profile_level_tier
from gateway.codec.h265 import NAL
from gateway.media import StreamInfo, VideoInfo
from gateway.rtsp.packetize.audio import AudioPayloadFormat, audio_payload_format
from gateway.rtsp.packetize.video import PAYLOADERS

VIDEO_PAYLOAD_TYPE = 96

VIDEO_CLOCK_RATE = 90_000


@dataclass(frozen=True, slots=True)
class Description:
    """How a stream was described to one client: it is sent this, and nothing else. Track 0 is video, track 1 audio."""

    codec: str
    """FFmpeg's name of the video codec."""
    audio: AudioPayloadFormat | None
    text: str

    @property
    def tracks(self) -> int:
        return 1 if self.audio is None else 2

    def is_of(self, now: "Description | None") -> bool:
        """Whether a client that knows this description can be sent the stream that ``now`` describes.

        Sound that is gone is silence, and sound that is new is not missed.
        """
        if now is None or now.codec != self.codec:
            return False
        return self.audio is None or now.audio is None or self.audio == now.audio


def control_of(track: int) -> str:
    """The ``a=control`` of a track."""
    return f"trackID={track}"


def describe(info: StreamInfo, name: str) -> Description | None:
    """The description of a stream; ``None`` for a video codec that RTP does not carry here."""
    video = info.video
    if video.codec not in PAYLOADERS:
        return None
    audio = audio_payload_format(info.audio) if info.audio is not None else None
    encoding, parameters = _video_format(video)
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        f"s={name}",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {VIDEO_PAYLOAD_TYPE}",
        f"a=rtpmap:{VIDEO_PAYLOAD_TYPE} {encoding}/{VIDEO_CLOCK_RATE}",
        f"a=fmtp:{VIDEO_PAYLOAD_TYPE} {parameters}",
        f"a=control:{control_of(0)}",
    ]
    if audio is not None:
        lines += [f"m=audio 0 RTP/AVP {audio.payload_type}", f"a=rtpmap:{audio.payload_type} {audio.rtpmap}"]
        if audio.fmtp:
            lines.append(f"a=fmtp:{audio.payload_type} {audio.fmtp}")
        lines.append(f"a=control:{control_of(1)}")
    return Description(video.codec, audio, "\r\n".join([*lines, ""]))


def _video_format(video: VideoInfo) -> tuple[str, str]:
    """The name of the codec in SDP, and its format parameters."""
    if video.codec == "av1":
        profile, level_idx, tier = profile_level_tier(video.codec_string)
        return "AV1", f"profile={profile};level-idx={level_idx};tier={tier}"  # RTP Payload Format For AV1 §7.1
    return _h264(video.parameter_sets) if video.codec == "h264" else _h265(video.parameter_sets)


def _h264(sets: bytes) -> tuple[str, str]:
    """RFC 6184 §8.1. Mode 1 is what :mod:`gateway.rtsp.packetize.h264` makes."""
    units = nal_units(sets)
    sps = [unit for unit in units if unit[0] & 0x1F == 7]
    parameters = ["packetization-mode=1"]
    if sps:
        both = [*sps, *(unit for unit in units if unit[0] & 0x1F == 8)]
        parameters += [f"profile-level-id={sps[0][1:4].hex()}", f"sprop-parameter-sets={_base64(both)}"]
    return "H264", ";".join(parameters)


def _h265(sets: bytes) -> tuple[str, str]:
    """RFC 7798 §7.1."""
    kinds = {"sprop-vps": NAL.vps, "sprop-sps": NAL.sps, "sprop-pps": NAL.pps}
    units = nal_units(sets)
    found = {name: [unit for unit in units if unit[0] >> 1 & 0x3F == kind] for name, kind in kinds.items()}
    return "H265", ";".join(
        f"{name}={_base64(of_kind)}" for name, of_kind in found.items() if of_kind
    ) or "tx-mode=SRST"


def _base64(units: list[bytes]) -> str:
    return ",".join(b64encode(unit).decode() for unit in units)
