"""SendableStreams: which streams of its camera a viewer can be sent, as far as known.

Rules:

1. A stream whose codec was not negotiated cannot be sent, and neither can one with B-frames.
2. One that has had B-frames, or could not be sent for another reason, is avoided for :data:`AVOID_S`. Then it may be
   captured to see what it is now.
3. B-frames are gone when the video is another one, or after :data:`SURE_PACKETS` packets without any.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.media import Packet, VideoInfo
from gateway.rendition import Rendition

AVOID_S = 30.0

SURE_PACKETS = 25
"""A stream that had B-frames has none any more if there is none among so many packets, of one GOP or of several."""


@dataclass(slots=True)
class _Seen:
    """What was seen of one stream."""

    gop: Packet | None = None
    """The first packet of the GOP that was looked at last, and how many of its packets were."""
    packets: int = 0
    clean: int = 0
    """Packets in a row without B-frames."""
    b_frames: VideoInfo | None = field(default=None)
    """The video that had B-frames; ``None``: it has none, as far as known."""
    avoid_until_s: float = float("-inf")


class SendableStreams:
    """See the module. Of one viewer; times are monotonic seconds."""

    def __init__(self, can_decode: Callable[[VideoInfo], bool]) -> None:
        self.can_decode = can_decode
        """Whether the viewer decodes this. To be replaced once that is negotiated."""
        self._seen: dict[Rendition, _Seen] = {}

    def look(self, rendition: Rendition, now: float) -> None:
        """Look at what has come of a stream. Call it several times a second while the viewer is not sent that one."""
        seen, gop = self._of(rendition), rendition.hub.gop
        if not gop:
            return
        if gop[0] is not seen.gop:
            seen.gop, seen.packets = gop[0], 0
        new = gop[seen.packets :] if seen.packets else gop
        seen.packets = len(gop)
        if reorders(new):
            self.avoid(rendition, now)
            return
        seen.clean += len(new)
        if seen.b_frames is not None and gop[0].info.video != seen.b_frames:
            self.accept(rendition)

    def avoid(self, rendition: Rendition, now: float) -> None:
        """It could not be sent (rule 2)."""
        seen = self._of(rendition)
        seen.avoid_until_s, seen.clean = now + AVOID_S, 0
        if reorders(rendition.hub.gop):
            seen.b_frames = rendition.hub.gop[0].info.video

    def accept(self, rendition: Rendition) -> None:
        """It can be sent after all."""
        self._seen.pop(rendition, None)

    def refusal(self, rendition: Rendition, now: float) -> str | None:
        """Why it cannot be sent, as what follows the stream's name; ``None``: it may be, as soon as it is there."""
        info, seen = rendition.hub.info, self._of(rendition)
        if info is not None and not self.can_decode(info.video):
            return f"has {info.video.codec}, which the viewer does not decode"
        if now < seen.avoid_until_s:
            return "cannot be sent" if seen.b_frames is None else "has B-frames"
        return None

    def is_settled(self, rendition: Rendition) -> bool:
        """Whether it is known that its B-frames are gone, if it had any."""
        return not self.had_b_frames(rendition) or self._of(rendition).clean >= SURE_PACKETS

    def had_b_frames(self, rendition: Rendition) -> bool:
        """Whether it had some, and was not sent since."""
        return self._of(rendition).b_frames is not None

    def _of(self, rendition: Rendition) -> _Seen:
        return self._seen.setdefault(rendition, _Seen())


def reorders(packets: Sequence[Packet]) -> bool:
    """Whether frames are sent in another order than they are shown."""
    return any(packet.is_video and packet.pts_90k != packet.dts_90k for packet in packets)
