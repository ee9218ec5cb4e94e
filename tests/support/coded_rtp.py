"""RTP of MPEG-4 (RFC 6416 §5) and AV1 (AOMedia's "RTP Payload Format For AV1"), and cameras that send it by RTSP."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import av

from tests.support.av1_encoder import encode
from tests.support.rtsp_camera import RtpSender, Sent, sdp

FPS = 25
MTU = 1200


@cache
def encoded(codec: str, width: int, height: int, frames: int = 50, gop: int = 25) -> tuple[tuple[bytes, bool], ...]:
    """The pictures of a grey that becomes lighter, and whether each is a keyframe."""
    pictures = list(_pictures(width, height, frames))
    coded = encode(pictures, width, height, FPS, gop) if codec == "av1" else _mpeg4(pictures, width, height, gop)
    return tuple((bytes(each), each.is_keyframe) for each in coded)


def _pictures(width: int, height: int, count: int) -> Iterator[av.VideoFrame]:
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([100 + number % 50]) * plane.buffer_size)
        frame.pts = number
        yield frame


def _mpeg4(frames: Sequence[av.VideoFrame], width: int, height: int, gop: int) -> list[Any]:
    encoder: Any = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base, encoder.gop_size = Fraction(FPS), Fraction(1, FPS), gop
    # Without a threshold, each picture without contours is a keyframe.
    encoder.options = {"sc_threshold": "1000000000"}
    return [packet for frame in [*frames, None] for packet in encoder.encode(frame)]


def description(codec: str) -> str:
    """Of a camera with this codec and no sound."""
    if codec == "av1":
        return sdp("m=video 0 RTP/AVP 96\r\na=rtpmap:96 AV1/90000\r\na=control:track0\r\n")
    # What is before the first picture: the configuration (§7.1).
    keyframe = encoded(codec, 320, 240)[0][0]
    config = keyframe[: keyframe.index(b"\0\0\1\xb6")].hex()
    fmtp = f"a=fmtp:96 profile-level-id=1;config={config}\r\n"
    return sdp(f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n{fmtp}a=control:track0\r\n")


def media(codec: str, seconds: float = 60.0) -> Iterator[Sent]:
    """A film of two seconds, again and again."""
    sender, pictures = RtpSender(), encoded(codec, 320, 240)
    for number in range(int(seconds * FPS)):
        data, is_keyframe = pictures[number % len(pictures)]
        parts = list(_av1(data, is_keyframe)) if codec == "av1" else _pieces(data, MTU)
        for part in parts:
            yield sender.packet(part, number * 3600, number / FPS, marker=part is parts[-1])


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def _av1(unit: bytes, is_keyframe: bool) -> Iterator[bytes]:
    """The packets of a temporal unit (§4): OBUs without size fields and temporal delimiters, each one an element."""
    is_first = True
    for obu in _obus(unit):
        parts = _pieces(obu, MTU)
        for place, part in enumerate(parts):
            continues, goes_on = place > 0, place < len(parts) - 1
            # Z, Y, W = 1 (one element, without its length), N.
            yield bytes([continues << 7 | goes_on << 6 | 1 << 4 | (is_keyframe and is_first) << 3]) + part
            is_first = False


def _obus(unit: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(unit):
        header, size, shift = unit[place], 0, 0
        place += 1
        while True:
            size |= (unit[place] & 0x7F) << shift
            shift += 7
            place += 1
            if not unit[place - 1] & 0x80:
                break
        if header >> 3 & 15 != 2:
            yield bytes([header & ~2]) + unit[place : place + size]
        place += size
