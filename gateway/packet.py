"""Packet: one coded frame, and its kind. :mod:`gateway.media` has the rules; other modules import it from there.

It is compiled; the other classes of that module are not, because pydantic writes and reads them.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.stream_info import StreamInfo


class MediaKind(StrEnum):
    """Which track a packet belongs to."""

    VIDEO = "video"
    AUDIO = "audio"


VIDEO, AUDIO = MediaKind
"""For code that runs for each packet: Python 3.11 needs 0.3 µs to find a member by its name, as much as a call."""


@dataclass(slots=True, unsafe_hash=True)
class Packet:
    """One coded frame; see the rules of :mod:`gateway.media`. ``duration_90k`` is 0 where it is unknown.

    It is never changed. It is not frozen, because Python takes four times as long to make a frozen object.
    """

    kind: MediaKind
    data: bytes
    pts_90k: int
    dts_90k: int
    duration_90k: int
    is_keyframe: bool
    captured_at_90k: int
    info: StreamInfo
    run: int = 0

    @property
    def is_video(self) -> bool:
        return self.kind is VIDEO
