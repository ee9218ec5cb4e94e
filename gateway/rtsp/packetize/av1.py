"""AV1 temporal units as RTP payloads (RTP Payload Format For AV1), made once per camera and shared by all viewers.

Rules:

1. OBUs are sent without their sizes, one after the other; a packet has as many as fit, and the rest of one that does
   not fit goes on in the next packet (§4.3, §4.4). Temporal delimiters, tile lists and padding are not sent (§5).
2. The aggregation header has the number of OBU elements where that is three or less, and the last one then has no
   length (§4.4). So the packets of one large OBU have one size, except the last: the kernel can then segment a whole
   frame (GSO).
3. A keyframe has its sequence header, and its first packet says that a coded video sequence begins (N, §4.4).
"""

from gateway.codec import av1

_CONTINUES, _GOES_ON, _NEW_SEQUENCE = 0x80, 0x40, 0x08
_COUNTED_MAX = 3
_NOT_SENT = frozenset({av1.TEMPORAL_DELIMITER, av1.TILE_LIST, av1.PADDING})
_FRAMES = frozenset({av1.FRAME_HEADER, av1.FRAME})


def payloads(temporal_unit: bytes, max_bytes: int) -> list[bytes]:
    """RTP payloads of one temporal unit in the low-overhead format, each of ``max_bytes`` at most.

    Empty if there is no frame.
    """
    found = [obu for obu in av1.obus(temporal_unit) if obu.kind not in _NOT_SENT]
    if not any(obu.kind in _FRAMES for obu in found):
        return []
    is_keyframe = av1.is_keyframe(temporal_unit)
    packets = _Packets(max_bytes)
    for obu in found:
        packets.add(obu.header + obu.payload)
    result = packets.end()
    if is_keyframe:
        result[0] = bytes((result[0][0] | _NEW_SEQUENCE,)) + result[0][1:]
    return result


class _Packets:
    """Fills one packet after the other."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._done: list[bytes] = []
        self._elements: list[bytes] = []
        self._continues = False
        """Whether the open packet begins in the middle of an OBU."""

    def add(self, obu: bytes) -> None:
        while True:
            room = self._room()
            if len(obu) <= room:
                self._elements.append(obu)
                return
            if room > 0:
                self._elements.append(obu[:room])
                obu = obu[room:]
            self._close(goes_on=room > 0)

    def end(self) -> list[bytes]:
        if self._elements:
            self._close(goes_on=False)
        return self._done

    def _room(self) -> int:
        """How much of a further element fits."""
        count = len(self._elements) + 1
        used = 1 + sum(len(av1.leb128(len(each))) + len(each) for each in self._elements)
        left = self._max_bytes - used
        if count <= _COUNTED_MAX:
            return left
        # It has a length, too.
        return left - len(av1.leb128(max(0, left)))

    def _close(self, *, goes_on: bool) -> None:
        elements, is_counted = self._elements, len(self._elements) <= _COUNTED_MAX
        header = len(elements) << 4 if is_counted else 0
        header |= (_CONTINUES if self._continues else 0) | (_GOES_ON if goes_on else 0)
        parts = [bytes((header,))]
        for place, each in enumerate(elements):
            if not is_counted or place < len(elements) - 1:
                parts.append(av1.leb128(len(each)))
            parts.append(each)
        self._done.append(b"".join(parts))
        self._elements, self._continues = [], goes_on
