"""CodecFinder: a video track whose camera sends another codec than its session description says. Sans-IO.

Rules:

1. The codec is the declared one, until a payload shows another: a parameter set of it (of H.264 an SPS, of H.265 a VPS
   or an SPS, also in an aggregation packet), or the first packet of a JPEG with its tables. None of them is anything in
   the other formats: the first octet of an H.264 SPS is odd, which in H.265 is a layer that nobody sends; H.264 has no
   type 0, and no stream has data partitions.
2. It is only looked for until the first keyframe: :class:`~gateway.capture.rtsp_media.RtspMedia` takes the inner
   depacketizer from then on.
"""

from collections.abc import Callable, Iterator, Mapping

from gateway.codec import h264, h265
from gateway.codec.bits import BitstreamError
from gateway.rtsp.depacketize import Depacketizer, Frame

_UNITS_MAX = 16
"""Of an aggregation packet that are read."""

_H264_STAP_A, _H264_SPS = 24, 7
_H265_AP = b"\x60\x01"
_H265_VPS, _H265_SPS = b"\x40\x01", b"\x42\x01"

_VPS_RESERVED = b"\xff\xff"
"""vps_reserved_0xffff_16bits (H.265 §7.3.2.1), after two octets of header and two of content."""


class CodecFinder:
    """See the module. ``makers`` has a depacketizer for each codec; ``on_found`` gets the codec where it is another."""

    def __init__(
        self, codec: str, makers: Mapping[str, Callable[[], Depacketizer]], on_found: Callable[[str], None]
    ) -> None:
        self.inner = makers[codec]()
        self._codec = codec
        self._makers = makers
        self._on_found = on_found

    @property
    def malformed(self) -> int:
        """Payloads that were dropped for their form."""
        return self.inner.malformed

    def push(self, payload: memoryview, timestamp: int, *, marker: bool, lost: int) -> list[Frame]:
        found = shown_codec(bytes(payload))
        if found is not None and found != self._codec and found in self._makers:
            self._codec = found
            self.inner = self._makers[found]()
            self._on_found(found)
        return self.inner.push(payload, timestamp, marker=marker, lost=lost)


def shown_codec(payload: bytes) -> str | None:
    """The codec that a payload can only be of, by FFmpeg's name; ``None`` where it may be of several."""
    if _is_jpeg(payload):
        return "mjpeg"
    payload = payload[_start_code_bytes(payload) :]
    if not payload:
        return None
    is_stap = payload[0] & 0x1F == _H264_STAP_A
    if any(_is_h264_sps(unit) for unit in (_aggregated(payload, 1) if is_stap else [payload])):
        return "h264"
    is_aggregate = payload[:2] == _H265_AP
    if any(_is_h265_set(unit) for unit in (_aggregated(payload, 2) if is_aggregate else [payload])):
        return "hevc"
    return None


def _start_code_bytes(payload: bytes) -> int:
    content = payload.lstrip(b"\0")
    zeros = len(payload) - len(content)
    return zeros + 1 if zeros >= 2 and content[:1] == b"\1" else 0


def _aggregated(payload: bytes, place: int) -> Iterator[bytes]:
    """The NAL units of an aggregation packet (RFC 6184 §5.7.1, RFC 7798 §4.4.2), after its header."""
    for _ in range(_UNITS_MAX):
        size = int.from_bytes(payload[place : place + 2], "big")
        if not 0 < size <= len(payload) - place - 2:
            return
        yield payload[place + 2 : place + 2 + size]
        place += 2 + size


def _is_h264_sps(unit: bytes) -> bool:
    if len(unit) < 4 or unit[0] & 0x80 or not unit[0] & 0x60 or unit[0] & 0x1F != _H264_SPS:
        return False
    try:
        h264.parse_sps(unit)
    except BitstreamError:
        return False
    return True


def _is_h265_set(unit: bytes) -> bool:
    if unit[:2] == _H265_VPS:
        return unit[4:6] == _VPS_RESERVED
    if unit[:2] != _H265_SPS:
        return False
    try:
        h265.parse_sps(unit)
    except BitstreamError:
        return False
    return True


def _is_jpeg(payload: bytes) -> bool:
    """Whether it has the headers of a JPEG's first packet (RFC 2435 §3.1), with quantisation tables (§3.1.8).

    Without these they could be a long start code before a NAL unit.
    """
    if len(payload) < 16 or payload[:4] != bytes(4) or payload[4] not in (0, 1, 64, 65):
        return False
    at = 8 if payload[4] < 64 else 12
    has_tables = (
        payload[5] >= 128 and payload[at] == 0 and payload[at + 2 : at + 4] in (b"\0\x40", b"\0\x80", b"\0\xc0")
    )
    return payload[6] > 0 and payload[7] > 0 and has_tables
