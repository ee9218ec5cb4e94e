"""What becomes of a camera's packets: a part of the live playlist, and its samples for a recording."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.media import Packet, StreamInfo
from hls.mp4.fragments import VIDEO_TRACK_ID, FragmentMuxer, FragmentTrack, Sample


@dataclass(frozen=True, slots=True)
class Part:
    """A partial segment. ``captured_at_90k`` is the date of its beginning: the capture time of its first frame, less
    the time by which it begins before that frame."""

    muxer: FragmentMuxer
    start_90k: int
    duration_90k: int
    data: bytes | memoryview
    captured_at_90k: int
    is_independent: bool = False
    is_discontinuity: bool = False
    """Whether it follows a discontinuity; only the first part of a segment does."""
    is_listed: bool = True
    """Whether playlists name it. If not, they name its segment, once that is complete; all parts of a segment agree."""
    begins_afresh: bool = False
    """Whether it follows a long outage, so that the playlist begins with it."""


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The parts since the last one of these make a segment."""


@dataclass(frozen=True, slots=True)
class PartSamples:
    """The samples of a part, for a file that has a timeline of its own.

    ``info`` has the audio as it is in MP4, and none if there is none. ``dts_90k`` is the first frame's as in its
    packet; ``end_90k`` that of the frame after the part, or what it should be if none follows. The times in ``tracks``
    are ``offset_90k`` ahead of the packets' in video, and ``audio_offset`` samples in audio. Only the first frame's is
    not, if the part begins earlier than the frame.
    """

    run: int
    info: StreamInfo
    dts_90k: int
    end_90k: int
    captured_at_90k: int
    is_keyframe: bool
    tracks: Sequence[FragmentTrack]
    offset_90k: int
    audio_offset: int

    @property
    def duration_90k(self) -> int:
        """From its first frame to the frame after it."""
        return self.end_90k - self.dts_90k

    @property
    def size(self) -> int:
        """Bytes of media."""
        return sum(sum(map(len, track.data)) for track in self.tracks)

    @property
    def packets(self) -> int:
        """How many frames it has, of pictures and of sound."""
        return sum(len(track.samples) for track in self.tracks)

    @property
    def audio(self) -> FragmentTrack | None:
        """The track of the sound, if the part has any."""
        return next((track for track in self.tracks if track.track_id != VIDEO_TRACK_ID), None)


def video_samples(frames: Sequence[Packet], start_90k: int, end_90k: int, offset_90k: int) -> list[Sample]:
    """The frames of a part as samples on the media timeline, each up to the next one.

    ``offset_90k`` is added to the times of the packets.
    """
    starts = [start_90k, *(frame.dts_90k + offset_90k for frame in frames[1:])]
    ends = [*starts[1:], end_90k]
    return [
        Sample(
            frame.data,
            at_90k,
            frame.pts_90k + offset_90k,
            end_90k - at_90k,
            frame.is_keyframe,
            frame.info.video.has_changing_sets,
        )
        for frame, at_90k, end_90k in zip(frames, starts, ends, strict=True)
    ]
