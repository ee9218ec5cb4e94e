"""The codecs of video that can be sent, each with its RTP payload format."""

from collections.abc import Callable, Mapping

from gateway.rtsp.packetize import av1, h264, h265

Payloader = Callable[[bytes, bytes, int], list[bytes]]
"""Makes RTP payloads of an access unit and the stream's parameter sets, as :mod:`gateway.media` has them; none without
a coded slice or frame.

The third argument is the size in bytes that no payload exceeds."""

PAYLOADERS: Mapping[str, Payloader] = {
    "h264": lambda data, sets, max_bytes: h264.payloads(h264.access_unit(data, sets), max_bytes),
    "hevc": lambda data, sets, max_bytes: h265.payloads(h265.access_unit(data, sets), max_bytes),
    "av1": lambda data, _, max_bytes: av1.payloads(data, max_bytes),
}
"""By FFmpeg's name of the codec."""
