"""PacketLog: where senders note what they have sent, for transport-wide feedback."""

from typing import Protocol


class PacketLog(Protocol):
    """One viewer's transport-wide sequence numbers; :class:`~gateway.webrtc.bandwidth.sent_packets.SentPackets`."""

    @property
    def next_sequence(self) -> int:
        """The number of the next packet, not reduced to 16 bits."""
        ...

    @property
    def bytes_sent(self) -> int:
        """All that was noted."""
        ...

    @property
    def reported_sequence(self) -> int:
        """The first number of which no feedback has said anything yet."""
        ...

    def add(self, now: float, count: int, size_bytes: int) -> int:
        """Note packets that were sent at ``now`` (monotonic seconds). Returns the first one's number."""
        ...
