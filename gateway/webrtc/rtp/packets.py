"""RTP packets of one camera's video: packetised once, numbered once, kept once for everybody.

Theory of operation. A :class:`Frame` is one picture as RTP payloads. The camera's packets are counted from its first
one on; that count is the *packet index*. A viewer's sequence number is the index plus an offset of that viewer's own,
so that one :class:`History` answers the retransmission requests of all, and replays the current GOP to whoever joins.

What the packets of two viewers differ in is little: sequence number, timestamp and SSRC, and then the encryption. All
else (payload type, header extensions, room for the SRTP tag) is a :class:`Layout`, and viewers with equal browsers have
equal ones. For each frame and layout a :class:`Burst` holds plain packets one beside the other, ready to be copied as a
whole, stamped and encrypted in place.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.clock import CLOCK_RATE

HEADER_BYTES = 12
"""A fixed RTP header (RFC 3550 §5.1)."""

BURST_MAX_PACKETS = 32
"""39 KB, 3 ms of a 100 Mbit/s Wi-Fi; one ``sendmsg`` with UDP_SEGMENT would take 64 packets and 65,507 bytes."""

HISTORY_MIN_PACKETS = 1024
"""Retransmissions reach back this far at least: eight times as far as aiortc's."""

HISTORY_MIN_90K = CLOCK_RATE
"""… and this long at least: beyond a second nobody waits for a lost packet."""

HISTORY_MAX_BYTES = 32 * 1024 * 1024
"""A GOP larger than this is not kept for newcomers; the hub forgets it at the same size."""


class Layout:
    """What packets of one negotiated track have in common, whoever they go to. Compared by identity; see `layout`."""

    __slots__ = ("extensions", "header_bytes", "payload_type", "trailer_bytes")

    def __init__(self, payload_type: int, extensions: bytes, trailer_bytes: int) -> None:
        self.payload_type = payload_type
        self.extensions = extensions
        self.trailer_bytes = trailer_bytes
        self.header_bytes = HEADER_BYTES + len(extensions)

    def header(self, *, marker: bool) -> bytes:
        """A header with zeros for sequence number, timestamp and SSRC."""
        first = 0x90 if self.extensions else 0x80
        return bytes((first, marker << 7 | self.payload_type)) + bytes(10) + self.extensions


@lru_cache(maxsize=256)
def layout(payload_type: int, extensions: bytes, trailer_bytes: int) -> Layout:
    """The one layout with these values. ``extensions`` is the whole block of RFC 8285, or empty."""
    return Layout(payload_type, extensions, trailer_bytes)


def one_byte_extensions(elements: dict[int, bytes]) -> bytes:
    """A block of one-byte header extensions (RFC 8285 §4.2). Ids are 1 to 14, values 1 to 16 bytes."""
    if not elements:
        return b""
    body = b"".join(bytes((identifier << 4 | len(value) - 1,)) + value for identifier, value in elements.items())
    body += bytes(-len(body) % 4)
    return b"\xbe\xde" + (len(body) // 4).to_bytes(2, "big") + body


def plain_packet(layout: Layout, payload: bytes, sequence: int, timestamp: int, ssrc: int, *, marker: bool) -> bytes:
    """One RTP packet by itself, with no room for its SRTP tag."""
    header = bytearray(layout.header(marker=marker))
    header[2:4] = (sequence & 0xFFFF).to_bytes(2, "big")
    header[4:8] = timestamp.to_bytes(4, "big")
    header[8:12] = ssrc.to_bytes(4, "big")
    return bytes(header) + payload


@dataclass(slots=True, eq=False)
class Burst:
    """Plain packets side by side: all of ``packet_bytes`` but for the last, each followed by room for its SRTP tag."""

    first: int
    """The place of the first packet in its frame."""
    count: int
    stride: int
    packet_bytes: int
    last_packet_bytes: int
    template: bytes


@dataclass(slots=True, eq=False)
class Frame:
    """One picture. ``timestamp`` is the camera's, in 90 kHz ticks that never go back, not even over a restart."""

    number: int
    first_index: int
    payloads: list[bytes]
    timestamp: int
    captured_at_90k: int
    is_keyframe: bool
    size_bytes: int
    bursts_by_layout: dict[Layout, list[Burst]] = field(default_factory=dict)

    @property
    def end_index(self) -> int:
        """The index after the last packet."""
        return self.first_index + len(self.payloads)

    def bursts(self, wanted: Layout) -> list[Burst]:
        """The frame in that layout; made once."""
        bursts = self.bursts_by_layout.get(wanted)
        if bursts is None:
            bursts = self.bursts_by_layout[wanted] = list(_bursts(self.payloads, wanted))
        return bursts


def _bursts(payloads: list[bytes], wanted: Layout) -> Iterator[Burst]:
    header, last_header = wanted.header(marker=False), wanted.header(marker=True)
    room = bytes(wanted.trailer_bytes)
    at = 0
    while at < len(payloads):
        size = len(payloads[at])
        end = at + 1
        # The kernel takes segments of one size, of which the last may be shorter.
        while end < len(payloads) and end - at < BURST_MAX_PACKETS and len(payloads[end]) <= size:
            end += 1
            if len(payloads[end - 1]) < size:
                break
        parts: list[bytes] = []
        for place in range(at, end):
            parts += (last_header if place == len(payloads) - 1 else header, payloads[place], room)
        yield Burst(
            first=at,
            count=end - at,
            stride=wanted.header_bytes + size + wanted.trailer_bytes,
            packet_bytes=wanted.header_bytes + size,
            last_packet_bytes=wanted.header_bytes + len(payloads[end - 1]),
            template=b"".join(parts),
        )
        at = end


class History:
    """The frames of the current GOP, and of the last second and 1024 packets where that is more."""

    def __init__(self, max_bytes: int = HISTORY_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._first_indices: list[int] = []
        self._bytes = 0
        self.gop_bytes = 0
        """Payload of the current GOP so far."""
        self._gop_start: int | None = None
        """Index of the current GOP's first packet, while the whole GOP is here."""

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def start_index(self) -> int:
        """The oldest index that is still here; meaningless while empty."""
        return self._first_indices[0] if self._first_indices else 0

    @property
    def end_index(self) -> int:
        """The index that the next packet will have; 0 while empty."""
        return self._frames[-1].end_index if self._frames else 0

    @property
    def newest(self) -> Frame | None:
        return self._frames[-1] if self._frames else None

    @property
    def gop_start(self) -> Frame | None:
        """The current GOP's keyframe, or ``None`` where the GOP is not here as a whole."""
        return None if self._gop_start is None else self.frame_of(self._gop_start)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def append(self, frame: Frame) -> None:
        """Add the camera's next frame, and forget what nobody can want any more."""
        self._frames.append(frame)
        self._first_indices.append(frame.first_index)
        self._bytes += frame.size_bytes
        if frame.is_keyframe:
            self._gop_start = frame.first_index
            self.gop_bytes = 0
        self.gop_bytes += frame.size_bytes
        self._trim(frame)

    def frame_of(self, index: int) -> Frame | None:
        """The frame that has this packet."""
        place = bisect_right(self._first_indices, index) - 1
        if place < 0:
            return None
        frame = self._frames[place]
        return frame if index < frame.end_index else None

    def forget_bursts(self) -> None:
        """Give back the memory of the bursts; whoever wants one again makes it again."""
        for frame in self._frames:
            frame.bursts_by_layout.clear()

    def _trim(self, newest: Frame) -> None:
        keep_index = newest.end_index - HISTORY_MIN_PACKETS
        keep_timestamp = newest.timestamp - HISTORY_MIN_90K
        drop = 0
        for frame in self._frames:
            young = frame.end_index > keep_index or frame.timestamp > keep_timestamp
            in_gop = self._gop_start is not None and frame.first_index >= self._gop_start
            if in_gop and not young and self._bytes > self._max_bytes:
                self._gop_start = None
                in_gop = False
            if young or in_gop:
                break
            drop += 1
            self._bytes -= frame.size_bytes
        if drop:
            del self._frames[:drop]
            del self._first_indices[:drop]
