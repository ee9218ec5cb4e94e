"""ProbeSender: sends packets again that a viewer has, to find out whether its network carries more.

They are sent as RTX, and receivers drop them. How much is sent, and when, is for
:mod:`gateway.webrtc.bandwidth.probing` to say.
"""

from gateway.webrtc.rtp.packet_sender import PacketSender
from gateway.webrtc.rtp.packets import PacketHistory
from gateway.webrtc.rtp.sequence_mapping import SequenceMapping
from gateway.webrtc.rtp.transport_sequence import PacketLog

PAYLOAD_MIN_BYTES = 200
"""Smaller packets cost as much to send, and say little about a rate."""

STEPS_MAX = 64
"""The search for a large enough packet ends after this many."""


class ProbeSender:
    """One probe, begun at ``now``: ``bytes_per_s`` for ``seconds``, but at least ``bytes_min``, the media included."""

    __slots__ = (
        "_base_bytes",
        "_began_s",
        "_bytes_per_s",
        "_log",
        "_next_index",
        "_packets",
        "_size_bytes",
        "sent_bytes",
    )

    def __init__(
        self,
        packets: PacketSender,
        log: PacketLog,
        now: float,
        bytes_per_s: float,
        seconds: float,
        bytes_min: int,
        next_index: int,
    ) -> None:
        self._packets = packets
        self._log = log
        self._base_bytes = log.bytes_sent
        self._began_s = now
        self._bytes_per_s = bytes_per_s
        self._size_bytes = max(bytes_min, bytes_per_s * seconds)
        self._next_index = next_index - 1
        """The packet that is sent again next; they are taken backwards."""
        self.sent_bytes = 0
        """Sent for this probe, the media not counted."""

    def send_due(self, mapping: SequenceMapping, history: PacketHistory, next_index: int, now: float) -> bool:
        """Send what is due. Returns whether all of it has been sent. ``next_index`` is the viewer's next new packet."""
        log, due = self._log, self._bytes_per_s * (now - self._began_s)
        while (sent := log.bytes_sent - self._base_bytes) <= due and sent < self._size_bytes:
            if not self._send_one(mapping, history, next_index):
                return True
        return log.bytes_sent - self._base_bytes >= self._size_bytes

    def _send_one(self, mapping: SequenceMapping, history: PacketHistory, next_index: int) -> bool:
        """Send one packet again. Returns whether there was one."""
        for _ in range(STEPS_MAX):
            index = self._next_index
            self._next_index -= 1
            if self._next_index < max(mapping.first_index, history.start_index):
                self._next_index = next_index - 1
            frame = history.frame_of(index) if index >= mapping.first_index else None
            if frame is None or len(frame.payloads[index - frame.first_index]) < PAYLOAD_MIN_BYTES:
                continue
            size = self._packets.send_again(frame, index, mapping)
            self.sent_bytes += size
            return size > 0
        return False
