"""The media services: profiles, stream and snapshot addresses, and the choice of main and sub stream.

Media2 (ONVIF Media2 23.06) is asked where the camera has it: only its answers have H.265. Media 1 otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.onvif.soap import Call, Service, call
from gateway.onvif.xml import Element, attribute, child, children, descendants, escape, number, text

PROFILES_MAX = 256
"""Profiles of one device that are read: a recorder with 64 channels has 128."""

SUB_WIDTH_MAX = 1280
"""A wider sub stream saves little."""

_CODECS = {"JPEG": "mjpeg", "MPEG4": "mpeg4", "MPV4-ES": "mpeg4", "H264": "h264", "H265": "h265", "AV1": "av1"}

GET_PROFILES = call(Service.MEDIA, "GetProfiles")
GET_PROFILES_2 = call(Service.MEDIA2, "GetProfiles", "<tr2:Type>All</tr2:Type>")


@dataclass(frozen=True, slots=True)
class Profile:
    """A media profile: one stream of one picture. ``source`` is the token of the lens or channel. 0: not told.

    ``bitrate_bps`` is the limit that is set, not what is measured. ``ptz`` is the token of its PTZ configuration, empty
    for a camera that cannot be moved. ``source_configuration`` is another name of ``source``, which events use.
    """

    token: str
    name: str
    source: str
    codec: str
    width: int
    height: int
    frame_rate: float
    bitrate_bps: int
    ptz: str = ""
    source_configuration: str = ""

    @property
    def has_ptz(self) -> bool:
        """Whether the camera can be moved."""
        return bool(self.ptz)

    @property
    def area(self) -> int:
        """Pixels of a picture."""
        return self.width * self.height


def parse_profiles(answer: Element) -> list[Profile]:
    """The profiles with video, in the camera's order. Reads the answers of both services."""
    found: dict[str, Profile] = {}
    for each in children(answer, "Profiles"):
        token = attribute(each, "token")
        configurations = child(each, "Configurations")
        if configurations is None:
            source, encoder = child(each, "VideoSourceConfiguration"), child(each, "VideoEncoderConfiguration")
            ptz = child(each, "PTZConfiguration")
        else:
            source, encoder = child(configurations, "VideoSource"), child(configurations, "VideoEncoder")
            ptz = child(configurations, "PTZ")
        if not token or encoder is None or len(found) >= PROFILES_MAX:
            continue
        encoding = text(encoder, "Encoding")
        found.setdefault(
            token,
            Profile(
                token,
                text(each, "Name")[:100],
                text(source, "SourceToken"),
                _CODECS.get(encoding.upper(), encoding.lower()[:20]),
                _whole(number(encoder, "Resolution", "Width")),
                _whole(number(encoder, "Resolution", "Height")),
                max(number(encoder, "RateControl", "FrameRateLimit") or 0.0, 0.0),
                _whole(number(encoder, "RateControl", "BitrateLimit")) * 1000,
                attribute(ptz, "token"),
                attribute(source, "token"),
            ),
        )
    return list(found.values())


def _whole(value: float | None) -> int:
    return min(max(int(value or 0), 0), 1_000_000_000)


def get_stream_uri(service: Service, token: str) -> Call:
    """Asks for the RTSP address of a profile."""
    if service is Service.MEDIA2:
        return call(
            service,
            "GetStreamUri",
            f"<tr2:Protocol>RTSP</tr2:Protocol><tr2:ProfileToken>{escape(token)}</tr2:ProfileToken>",
        )
    return call(
        service,
        "GetStreamUri",
        "<trt:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream>"
        "<tt:Transport><tt:Protocol>RTSP</tt:Protocol></tt:Transport></trt:StreamSetup>"
        f"<trt:ProfileToken>{escape(token)}</trt:ProfileToken>",
    )


def get_snapshot_uri(service: Service, token: str) -> Call:
    """Asks for the address of a JPEG of a profile."""
    return call(service, "GetSnapshotUri", _token(service, token))


def set_synchronization_point(service: Service, token: str) -> Call:
    """Asks the camera for a keyframe of a profile now."""
    return call(service, "SetSynchronizationPoint", _token(service, token))


def _token(service: Service, token: str) -> str:
    name = f"{service.value}:ProfileToken"
    return f"<{name}>{escape(token)}</{name}>"


def parse_uri(answer: Element) -> str:
    """The address in an answer to the calls for stream and snapshot addresses; empty where there is none."""
    return next((text(each) for each in descendants(answer, "Uri") if text(each)), "")


def choose_streams(profiles: Sequence[Profile]) -> list[tuple[Profile, Profile | None]]:
    """For each lens or channel its main and its sub stream, in the camera's order.

    Main is the largest picture; of equal ones H.264 and H.265 before others, then the higher frame rate. Sub is the
    largest of at most half of its pixels and :data:`SUB_WIDTH_MAX`, else the smallest below main; H.264 before others,
    since every browser decodes it.
    """
    by_source: dict[str, list[Profile]] = {}
    for each in profiles:
        by_source.setdefault(each.source, []).append(each)
    found = []
    for own in by_source.values():
        main = max(own, key=lambda each: (each.codec in ("h264", "h265"), each.area, each.frame_rate))
        smaller = [each for each in own if each.area < main.area and each.codec in ("h264", "h265", "mjpeg")]
        fit = [each for each in smaller if each.area * 2 <= main.area and each.width <= SUB_WIDTH_MAX]
        sub = max(fit, key=lambda each: (each.codec != "mjpeg", each.codec == "h264", each.area), default=None)
        if sub is None and (videos := [each for each in smaller if each.codec != "mjpeg"]):
            sub = min(videos, key=lambda each: each.area)
        found.append((main, sub))
    return found
