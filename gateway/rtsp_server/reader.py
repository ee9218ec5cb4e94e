"""Reader: what one client of the RTSP server is sent, and what is left out where it is too slow.

Rules:

1. Frames that the connection does not take wait in a queue. Its drop policy: above :data:`QUEUE_MAX_BYTES` (and the
   GOP that the reader began with) all that waits is dropped, and it goes on with the next keyframe.
2. A frame is sent whole or not at all. Sequence numbers are those of the camera, so that a client knows what it missed.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.rtsp.description import Description
from gateway.rtsp.session import Delivery
from gateway.rtsp_server.stream import VIDEO, RtpFrame, RtspStream

QUEUE_MAX_BYTES = 8 * 1024 * 1024
"""Ten seconds of 6 Mbit/s: the pause of a recorder's disk. The frames are those of the other readers, not copies."""


class Outlet(Protocol):
    """Where packets go: the client's connection, or UDP."""

    @property
    def is_full(self) -> bool:
        """Whether nothing should be sent now. :meth:`Reader.pump` is called when that is over."""
        ...

    def send(self, delivery: Delivery, frame: RtpFrame) -> None:
        """Send all packets of a frame."""
        ...

    def send_report(self, delivery: Delivery, report: bytes) -> None:
        """Send an RTCP packet."""
        ...


class Reader:
    """See the module. ``on_end`` is called with the reason when the stream ends the reader."""

    def __init__(
        self,
        stream: RtspStream,
        description: Description,
        tracks: Mapping[int, Delivery],
        outlet: Outlet,
        on_end: Callable[[str], None],
    ) -> None:
        self.description = description
        self._on_end = on_end
        self._stream = stream
        self._tracks = dict(tracks)
        self._outlet = outlet
        self._queue: deque[RtpFrame] = deque()
        self._queue_bytes = 0
        self._queue_max_bytes = QUEUE_MAX_BYTES
        self._is_waiting = True
        """For a keyframe."""
        self._has_begun = False

    def join(self) -> dict[int, tuple[int, int | None]]:
        """Take the current GOP and what follows, and send nothing yet: :meth:`pump` does.

        Returns for each track the sequence number that it begins with, and the RTP time of the moment that all of them
        begin with (RFC 2326 §12.33), by which a player puts picture and sound together; ``None`` where it is not known.
        """
        replay = self._stream.add(self)
        start = replay[0] if replay and VIDEO in self._tracks else None
        begins = {track: self._stream.position(track, self.description, start) for track in self._tracks}
        if VIDEO not in self._tracks:
            self._is_waiting = False
        elif replay:
            self._is_waiting = False
            first = replay[0]
            begins[VIDEO] = int.from_bytes(first.packets[0][2:4], "big"), first.timestamp & 0xFFFFFFFF
            self._queue.extend(replay)
            self._queue_bytes = sum(frame.size_bytes for frame in replay)
            self._queue_max_bytes += self._queue_bytes
        return begins

    def end(self, reason: str) -> None:
        """The stream cannot go on for this client."""
        self.stop()
        self._on_end(reason)

    def stop(self) -> None:
        """Send nothing more. May be called twice."""
        self._stream.remove(self)
        self._queue.clear()

    def remove(self, track: int) -> None:
        """Send nothing more of a track; the others go on."""
        self._tracks.pop(track, None)
        self._queue = deque(frame for frame in self._queue if frame.track != track)
        self._queue_bytes = sum(frame.size_bytes for frame in self._queue)
        self._is_waiting = self._is_waiting and VIDEO in self._tracks

    def offer(self, frame: RtpFrame) -> None:
        """The camera's next frame."""
        delivery = self._tracks.get(frame.track)
        if delivery is None:
            return
        if self._is_waiting:
            if frame.track != VIDEO or not frame.is_keyframe:
                self._stream.frames_dropped += frame.track == VIDEO
                return
            self._is_waiting = False
        if not self._queue and not self._outlet.is_full:
            self._outlet.send(delivery, frame)
            return
        self._queue.append(frame)
        self._queue_bytes += frame.size_bytes
        if self._queue_bytes > self._queue_max_bytes:
            self._stream.frames_dropped += sum(each.track == VIDEO for each in self._queue)
            self._queue.clear()
            self._queue_bytes = 0
            self._is_waiting = VIDEO in self._tracks

    def pump(self) -> None:
        """Send what waits, as far as the connection takes it. Sender reports come first: see :meth:`send_reports`."""
        if not self._has_begun:
            self._has_begun = True
            self.send_reports()
        while self._queue and not self._outlet.is_full:
            frame = self._queue.popleft()
            self._queue_bytes -= frame.size_bytes
            self._outlet.send(self._tracks[frame.track], frame)
        if not self._queue:
            self._queue_max_bytes = QUEUE_MAX_BYTES

    def send_reports(self) -> None:
        """Send the sender reports that are due (RFC 3550 §6.2).

        One before the media, so that a player has picture and sound together from the beginning.
        """
        for track, delivery in self._tracks.items():
            report = self._stream.report(track)
            if report is not None and not self._outlet.is_full:
                self._outlet.send_report(delivery, report)
