"""SequenceMapping: a viewer's sequence numbers and timestamps for a range of the camera's packets."""

from dataclasses import dataclass

from gateway.webrtc.rtp.packets import Frame, PacketHistory, PacketTemplate


@dataclass(slots=True, frozen=True)
class PacketFormat:
    """The packets of one codec to one viewer. ``retransmission`` is ``None`` where RTX was not negotiated."""

    media: PacketTemplate
    retransmission: PacketTemplate | None = None


@dataclass(slots=True, frozen=True)
class SequenceMapping:
    """A range of sequence numbers whose packets follow one another as in the history."""

    history: PacketHistory
    """That of the rendition which was sent."""
    format: PacketFormat
    first_sequence: int
    first_index: int
    timestamp_offset: int
    """Added to a frame's timestamp."""
    replay_from: int
    replay_until: int
    """Frame numbers of the replay; ``replay_until`` is not part of it."""
    replay_timestamp: int
    replay_step: int

    def sequence(self, index: int) -> int:
        """The sequence number of a packet."""
        return self.first_sequence + index - self.first_index

    def timestamp(self, frame: Frame) -> int:
        """The RTP timestamp of a frame, not yet reduced to 32 bits."""
        if frame.number < self.replay_until:
            return self.replay_timestamp + (frame.number - self.replay_from) * self.replay_step
        return frame.timestamp + self.timestamp_offset
