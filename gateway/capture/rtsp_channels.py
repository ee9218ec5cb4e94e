"""InterleavedChannels: which track an interleaved frame belongs to (RFC 2326 §10.12). Sans-IO.

Rules:

1. The channels are those that SETUP agreed on.
2. Some servers use others than they say, one for all tracks, or swap RTP and RTCP. So where the payload type is none of
   the track's, the packet goes to the one track that has it. RTCP is known by its packet type (RFC 5761 §4).
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from gateway.rtsp.rtcp import is_rtcp


class _Channel(NamedTuple):
    place: int
    is_control: bool
    payload_types: Collection[int]


class InterleavedChannels:
    """The channels of one session; tracks go by their place."""

    def __init__(self) -> None:
        self._channels: dict[int, _Channel] = {}
        self._by_payload_type: dict[int, int | None] = {}
        """``None`` where several tracks have the same."""

    def add(self, place: int, channels: tuple[int, int], *payload_types: int) -> None:
        """A track, its channels of RTP and RTCP, and its payload types. The first of two tracks keeps a channel."""
        self._channels.setdefault(channels[0], _Channel(place, False, payload_types))
        self._channels.setdefault(channels[1], _Channel(place, True, payload_types))
        for payload_type in set(payload_types):
            self._by_payload_type[payload_type] = None if payload_type in self._by_payload_type else place

    def find(self, channel: int, frame: memoryview) -> tuple[int, bool] | None:
        """The place of the frame's track, and whether it is RTCP; ``None`` for a frame of no track."""
        if len(frame) < 2:
            return None
        kind = frame[1]
        found = self._channels.get(channel)
        if is_rtcp(kind):
            return None if found is None else (found.place, True)
        if found is not None and not found.is_control and kind & 0x7F in found.payload_types:
            return found.place, False
        place = self._by_payload_type.get(kind & 0x7F)
        if place is not None:
            return place, False
        return None if found is None or found.is_control else (found.place, False)


Receiver = Callable[[memoryview, float], None]
"""Takes a frame, and when it came, in monotonic seconds."""


class FrameRoutes:
    """Hands each frame to what takes the frames of its channel. What that is depends on the second octet too, as in
    :class:`InterleavedChannels`, and is looked up once.

    ``find`` gives the receiver for frames like this one, or ``None`` while there is none. ``monotonic`` is the clock.
    """

    def __init__(self, find: Callable[[int, memoryview], Receiver | None], monotonic: Callable[[], float]) -> None:
        self._find = find
        self._monotonic = monotonic
        self._receivers: dict[int, Receiver] = {}
        """By channel and second octet: at most 65,536."""

    def receive(self, channel: int, frame: memoryview) -> None:
        """Take a frame; the view is valid during the call only."""
        if len(frame) < 2:
            return
        key = channel << 8 | frame[1]
        receiver = self._receivers.get(key)
        if receiver is None:
            receiver = self._find(channel, frame)
            if receiver is None:
                return
            self._receivers[key] = receiver
        receiver(frame, self._monotonic())
