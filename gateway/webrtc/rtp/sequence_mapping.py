"""SequenceMapping: a viewer's sequence numbers and timestamps for a range of the camera's packets."""

from dataclasses import dataclass

from gateway.webrtc.rtp.packets import Frame, PacketHistory, PacketTemplate

REPLAY_STEP_90K = 90
"""Replayed frames are 1 ms apart: distinct for a receiver with a millisecond clock, and 300 of them are 0.3 s."""


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


def replay(
    keyframe: Frame,
    history: PacketHistory,
    *,
    packet_format: PacketFormat,
    first_sequence: int,
    timestamp_offset: int,
    last_timestamp: int | None,
) -> SequenceMapping:
    """A mapping that begins with ``keyframe``. The frames from there to the newest one are put close together.

    ``last_timestamp`` is the viewer's last one, not reduced to 32 bits. Where there is no room after it, the mapping's
    own ``timestamp_offset`` is a few milliseconds more than the given one.
    """
    newest = history.newest
    assert newest is not None
    frames = newest.number - keyframe.number + 1
    edge = newest.timestamp + timestamp_offset
    step = REPLAY_STEP_90K
    if last_timestamp is not None:
        step = min(step, (edge - last_timestamp) // frames)
    start = edge - (frames - 1) * step
    if step < 1:
        # All of it was sent before. Time advances by one tick per frame; sender reports include this.
        assert last_timestamp is not None
        step, start = 1, last_timestamp + 1
        timestamp_offset += start + frames - 1 - edge
    return SequenceMapping(
        history=history,
        format=packet_format,
        first_sequence=first_sequence,
        first_index=keyframe.first_index,
        timestamp_offset=timestamp_offset,
        replay_from=keyframe.number,
        replay_until=newest.number + 1,
        replay_timestamp=start,
        replay_step=step,
    )
