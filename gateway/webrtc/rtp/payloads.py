"""The codecs of video that can be sent, each with its RTP payload format."""

from collections.abc import Callable, Mapping

from gateway.webrtc.rtp import h264, h265

Payloader = Callable[[bytes, bytes], list[bytes]]
"""Makes RTP payloads of an access unit and the stream's parameter sets, both in Annex B; none without a coded slice."""

PAYLOADERS: Mapping[str, Payloader] = {
    "h264": lambda data, sets: h264.payloads(h264.access_unit(data, sets)),
    "hevc": lambda data, sets: h265.payloads(h265.access_unit(data, sets)),
}
"""By FFmpeg's name of the codec."""
