"""RTP packets of one camera's video: packetised once, numbered once, kept once for all viewers.

Theory of operation. A :class:`Frame` is one picture as RTP payloads. The camera's packets are counted from its first
one; that count is the *packet index*. A viewer's sequence number is the index plus an offset of that viewer, so one
:class:`PacketHistory` serves the retransmission requests of all viewers, and the replay of the current GOP for a new
one.

The packets of two viewers differ only in sequence number, timestamp and SSRC, and in the encryption. Everything else
(payload type, header extensions, room for the SRTP authentication tag) is a :class:`PacketTemplate`, and viewers with
equal browsers share one. The transport-wide sequence number is a header extension that differs, too; it is the first of
its block, so that its place is known. For each frame and template a :class:`GsoBatch` holds plain packets one after the
other: a sender copies it, writes these fields and encrypts in place.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from gateway.clock import CLOCK_RATE

HEADER_BYTES = 12
"""A fixed RTP header (RFC 3550 §5.1)."""

MAX_PAYLOAD_BYTES = 1182
"""What fits in the smallest MTU, that of IPv6, 1280 bytes (RFC 8200 §5): 1232 bytes of UDP payload less the RTP
header (12), our largest header extension (20), the SRTP tag (16) and the sequence number of a retransmission (2)."""

ONE_BYTE_ID_MAX = 14
"""Ids of header extensions with heads of one byte (RFC 8285 §4.2). Those of two bytes have more."""

HEADER_EXTENSIONS_MAX_BYTES = 20
"""The most that fits beside the payload."""

GSO_MAX_PACKETS = 32
"""39 KB, 3 ms of a 100 Mbit/s Wi-Fi. One ``sendmsg`` with UDP_SEGMENT could take 64 packets and 65,507 bytes."""

HISTORY_MIN_PACKETS = 1024
"""Retransmissions reach back at least this far: eight times as far as aiortc's."""

HISTORY_MIN_90K = CLOCK_RATE
"""… and at least this long. After a second no receiver waits for a lost packet."""

HISTORY_MAX_BYTES = 32 * 1024 * 1024
"""A GOP larger than this is not kept for new viewers. The hub drops it at the same size."""


class TransportFields(NamedTuple):
    """How packets of a template get their transport-wide sequence number, which is their first header extension."""

    struct: Struct
    """Bytes 2 to the end of the number: sequence number, timestamp and SSRC (RFC 3550 §5.1), and these two:"""
    block: int
    """The first four bytes of the header extensions."""
    element: int
    """The head of the first one, one byte or two."""


_ONE_BYTE, _TWO_BYTE = b"\xbe\xde", b"\x10\x00"
"""The profiles of blocks of header extensions."""

_ONE_BYTE_FIELDS, _TWO_BYTE_FIELDS = Struct("!HIIIBH"), Struct("!HIIIHH")


class PacketTemplate:
    """What all packets of one negotiated codec have in common. Compared by identity; made by `packet_template`."""

    __slots__ = ("auth_tag_bytes", "extensions", "header_bytes", "payload_type", "transport_fields")

    def __init__(
        self, payload_type: int, extensions: bytes, auth_tag_bytes: int, *, has_transport_sequence: bool
    ) -> None:
        self.payload_type = payload_type
        self.transport_fields: TransportFields | None = None
        """``None`` if packets have no transport-wide sequence number."""
        if has_transport_sequence:
            block = int.from_bytes(extensions[:4], "big")
            if extensions.startswith(_ONE_BYTE):
                self.transport_fields = TransportFields(_ONE_BYTE_FIELDS, block, extensions[4])
            else:
                element = int.from_bytes(extensions[4:6], "big")
                self.transport_fields = TransportFields(_TWO_BYTE_FIELDS, block, element)
        self.extensions = extensions
        self.auth_tag_bytes = auth_tag_bytes
        self.header_bytes = HEADER_BYTES + len(extensions)

    def header(self, *, marker: bool) -> bytes:
        """A header whose sequence number, timestamp and SSRC are zero."""
        first = 0x90 if self.extensions else 0x80
        return bytes((first, marker << 7 | self.payload_type)) + bytes(10) + self.extensions


@lru_cache(maxsize=256)
def packet_template(
    payload_type: int, extensions: bytes, auth_tag_bytes: int, *, has_transport_sequence: bool = False
) -> PacketTemplate:
    """The one template with these values. ``extensions`` is the whole block of RFC 8285, or empty.

    With ``has_transport_sequence`` its first element has two bytes, for the transport-wide sequence number.
    """
    return PacketTemplate(payload_type, extensions, auth_tag_bytes, has_transport_sequence=has_transport_sequence)


def header_extensions(elements: dict[int, bytes]) -> bytes:
    """A block of header extensions (RFC 8285 §4), by id: 1 to 255. Values have 1 to 16 bytes.

    Their heads have one byte each, or two if an id needs it: the two are mixed in a stream only where the peer allows
    it (§4.1.2).
    """
    if not elements:
        return b""
    if max(elements) <= ONE_BYTE_ID_MAX:
        profile = _ONE_BYTE
        body = b"".join(bytes((identifier << 4 | len(value) - 1,)) + value for identifier, value in elements.items())
    else:
        profile = _TWO_BYTE
        body = b"".join(bytes((identifier, len(value))) + value for identifier, value in elements.items())
    body += bytes(-len(body) % 4)
    return profile + (len(body) // 4).to_bytes(2, "big") + body


def rtp_packet(
    template: PacketTemplate,
    payload: bytes,
    sequence: int,
    timestamp: int,
    ssrc: int,
    *,
    marker: bool,
    transport_sequence: int = 0,
) -> bytes:
    """One RTP packet, without room for its SRTP authentication tag."""
    header = bytearray(template.header(marker=marker))
    header[2:4] = (sequence & 0xFFFF).to_bytes(2, "big")
    header[4:8] = timestamp.to_bytes(4, "big")
    header[8:12] = ssrc.to_bytes(4, "big")
    if template.transport_fields is not None:
        end = 2 + template.transport_fields.struct.size
        header[end - 2 : end] = (transport_sequence & 0xFFFF).to_bytes(2, "big")
    return bytes(header) + payload


@dataclass(slots=True, eq=False)
class GsoBatch:
    """Plain packets one after the other, each followed by room for its SRTP tag, to be sent with one system call (GSO).

    All have ``packet_bytes``, the last one ``last_packet_bytes``.
    """

    first: int
    """The first packet's number within its frame."""
    count: int
    segment_bytes: int
    packet_bytes: int
    last_packet_bytes: int
    data: bytes


@dataclass(slots=True, eq=False)
class Frame:
    """One picture. ``timestamp`` is in 90 kHz ticks that never go back, not even when the camera restarts."""

    number: int
    first_index: int
    payloads: list[bytes]
    timestamp: int
    captured_at_90k: int
    is_keyframe: bool
    size_bytes: int
    gso_batches_by_template: dict[PacketTemplate, list[GsoBatch]] = field(default_factory=dict)

    @property
    def end_index(self) -> int:
        """The index after the last packet."""
        return self.first_index + len(self.payloads)

    def gso_batches(self, template: PacketTemplate) -> list[GsoBatch]:
        """The frame's batches for a template. Made once."""
        batches = self.gso_batches_by_template.get(template)
        if batches is None:
            batches = self.gso_batches_by_template[template] = list(_gso_batches(self.payloads, template))
        return batches


def _gso_batches(payloads: list[bytes], template: PacketTemplate) -> Iterator[GsoBatch]:
    header, last_header = template.header(marker=False), template.header(marker=True)
    room = bytes(template.auth_tag_bytes)
    at = 0
    while at < len(payloads):
        size = len(payloads[at])
        end = at + 1
        # The kernel takes segments of one size; only the last may be shorter.
        while end < len(payloads) and end - at < GSO_MAX_PACKETS and len(payloads[end]) <= size:
            end += 1
            if len(payloads[end - 1]) < size:
                break
        parts: list[bytes] = []
        for place in range(at, end):
            parts += (last_header if place == len(payloads) - 1 else header, payloads[place], room)
        yield GsoBatch(
            first=at,
            count=end - at,
            segment_bytes=template.header_bytes + size + template.auth_tag_bytes,
            packet_bytes=template.header_bytes + size,
            last_packet_bytes=template.header_bytes + len(payloads[end - 1]),
            data=b"".join(parts),
        )
        at = end


class PacketHistory:
    """The frames of the current GOP, or of the last second and 1024 packets if that is more."""

    def __init__(self, max_bytes: int = HISTORY_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._first_indices: list[int] = []
        self._bytes = 0
        self.gop_bytes = 0
        """Payload of the current GOP so far."""
        self._gop_start: int | None = None
        """Index of the current GOP's first packet, while the whole GOP is in the history."""

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def start_index(self) -> int:
        """The oldest index in the history; meaningless while it is empty."""
        return self._first_indices[0] if self._first_indices else 0

    @property
    def end_index(self) -> int:
        """The index of the next packet; 0 while the history is empty."""
        return self._frames[-1].end_index if self._frames else 0

    @property
    def newest(self) -> Frame | None:
        return self._frames[-1] if self._frames else None

    @property
    def gop_start(self) -> Frame | None:
        """The current GOP's keyframe, or ``None`` if the history does not have the whole GOP."""
        return None if self._gop_start is None else self.frame_of(self._gop_start)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def append(self, frame: Frame) -> None:
        """Add the camera's next frame, and drop frames that are too old."""
        self._frames.append(frame)
        self._first_indices.append(frame.first_index)
        self._bytes += frame.size_bytes
        if frame.is_keyframe:
            self._gop_start = frame.first_index
            self.gop_bytes = 0
        self.gop_bytes += frame.size_bytes
        self._trim(frame)

    def frame_of(self, index: int) -> Frame | None:
        """The frame with this packet; ``None`` if it is not in the history."""
        place = bisect_right(self._first_indices, index) - 1
        if place < 0:
            return None
        frame = self._frames[place]
        return frame if index < frame.end_index else None

    def discard_gso_batches(self) -> None:
        """Free the memory of the batches. They are rebuilt when they are needed."""
        for frame in self._frames:
            frame.gso_batches_by_template.clear()

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
