"""RtspStream: one rendition's frames as RTP packets, made once, for all of its readers.

Theory of operation. Nothing encrypts RTP here, so readers can have equal packets: one SSRC, one run of sequence numbers
and timestamps for each track. A frame is made into packets once, and into the bytes of an interleaved connection once
for each channel number that is in use. What a reader costs is one ``send`` a frame.

Rules:

1. A new reader is sent the current GOP, so that it has a picture at once, and then the live frames. The times of that
   GOP are put within :data:`REPLAY_90K` before the live edge: a player would otherwise stay behind by the GOP's age.
2. A restart of the camera is a pause (:mod:`gateway.run_timeline`).
3. A reader whose description names another codec than the camera sends now is ended, so that it asks again.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.clock import CLOCK_RATE, Clock
from gateway.media import Packet, StreamInfo
from gateway.rendition import Rendition
from gateway.rtsp.description import VIDEO_PAYLOAD_TYPE, Description, describe
from gateway.rtsp.packetize.video import PAYLOADERS
from gateway.rtsp.rtcp import sender_report
from gateway.run_timeline import RunTimeline

log = logging.getLogger(__name__)

PAYLOAD_MAX_BYTES = 1400
"""With RTP, UDP and IPv6 it fits into the 1500 bytes of Ethernet, and into the tunnels in common use."""

REPLAY_90K = CLOCK_RATE // 10

VIDEO, AUDIO = 0, 1
"""The tracks, numbered as in :mod:`gateway.rtsp.description`."""


@dataclass(slots=True, eq=False)
class RtpFrame:
    """A frame as RTP packets. ``timestamp`` is in the track's clock, not reduced to 32 bits."""

    track: int
    packets: tuple[bytes, ...]
    timestamp: int
    is_keyframe: bool
    size_bytes: int
    _interleaved: dict[int, bytes] = field(default_factory=dict)

    def interleaved(self, channel: int) -> bytes:
        """All packets as frames of a channel (RFC 2326 §10.12). Made once."""
        found = self._interleaved.get(channel)
        if found is None:
            parts: list[bytes] = []
            for packet in self.packets:
                parts += (b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big"), packet)
            found = self._interleaved[channel] = b"".join(parts)
        return found

    def moved(self, timestamp: int) -> "RtpFrame":
        """The same frame at another time."""
        at = (timestamp & 0xFFFFFFFF).to_bytes(4, "big")
        packets = tuple(packet[:4] + at + packet[8:] for packet in self.packets)
        return replace(self, packets=packets, timestamp=timestamp, _interleaved={})


class StreamReader(Protocol):
    """One of the stream's readers; :class:`~gateway.rtsp_server.reader.Reader`."""

    @property
    def description(self) -> Description:
        """How the stream was described to its client."""
        ...

    def offer(self, frame: RtpFrame) -> None:
        """Take the camera's next frame."""
        ...

    def end(self, reason: str) -> None:
        """The stream cannot go on for this reader."""
        ...

    def send_reports(self) -> None:
        """Send the sender reports that are due."""
        ...


class _Track:
    """SSRC, sequence numbers and times of a track."""

    def __init__(self, payload_type: int, clock_rate: int) -> None:
        self.payload_type = payload_type
        self.clock_rate = clock_rate
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(15)
        self.offset = secrets.randbits(31)
        self.packets = self.bytes = 0

    def time(self, timeline_90k: int) -> int:
        return timeline_90k * self.clock_rate // CLOCK_RATE + self.offset

    def packet(self, payload: bytes, timestamp: int, *, marker: bool) -> bytes:
        head = bytes((0x80, marker << 7 | self.payload_type)) + (self.sequence & 0xFFFF).to_bytes(2, "big")
        self.sequence += 1
        self.packets += 1
        self.bytes += len(payload)
        return head + (timestamp & 0xFFFFFFFF).to_bytes(4, "big") + self.ssrc.to_bytes(4, "big") + payload


class RtspStream:
    """See the module. It takes packets while it has readers."""

    def __init__(self, rendition: Rendition, clock: Clock) -> None:
        self.rendition = rendition
        self.readers: dict[StreamReader, None] = {}
        self.frames_dropped = 0
        """Frames of video that readers did not get because they were slower."""
        self._clock = clock
        self._timeline = RunTimeline()
        self._info: StreamInfo | None = None
        self._description: Description | None = None
        self._tracks: dict[int, _Track] = {VIDEO: _Track(VIDEO_PAYLOAD_TYPE, CLOCK_RATE)}
        self._gop: list[RtpFrame] = []
        self._detach: Callable[[], None] | None = None

    # --- readers

    def ssrc(self, track: int, description: Description) -> int:
        """The source of a track's packets."""
        return self._track(track, description).ssrc

    def add(self, reader: StreamReader) -> list[RtpFrame]:
        """Send a reader the live frames from now on. Returns what it is sent before: rule 1."""
        if self._detach is None:
            # With the current GOP, for which there is no reader yet.
            self._detach = self.rendition.hub.attach(self.on_packet)
        self.readers[reader] = None
        if not self.rendition.hub.gop or not self._gop:
            return []
        video = [frame for frame in self._gop if frame.track == VIDEO]
        edge = max(frame.timestamp for frame in video)
        age = edge - min(frame.timestamp for frame in video)
        if age <= REPLAY_90K:
            return video
        return [frame.moved(edge - (edge - frame.timestamp) * REPLAY_90K // age) for frame in video]

    def remove(self, reader: StreamReader) -> None:
        """May be called twice."""
        self.readers.pop(reader, None)
        if not self.readers and self._detach is not None:
            self._detach()
            self._detach = None
            self._gop = []
            self._info = None

    def position(self, track: int, description: Description, first: RtpFrame | None = None) -> tuple[int, int | None]:
        """Sequence number of a track's next packet, and RTP time of the moment of ``first``, a frame of video.

        Without it the time is now; ``None`` before the first packet.
        """
        known = self._track(track, description)
        video = self._tracks[VIDEO]
        at = self._timeline.at(self._clock.wall_90k()) if first is None else first.timestamp - video.offset
        return known.sequence & 0xFFFF, None if at is None else known.time(at) & 0xFFFFFFFF

    def report(self, track: int) -> bytes | None:
        """A sender report of a track (RFC 3550 §6.4.1); ``None`` before its first packet."""
        known = self._tracks.get(track)
        wall_90k = self._clock.wall_90k()
        at = self._timeline.at(wall_90k)
        if known is None or at is None or not known.packets:
            return None
        return sender_report(known.ssrc, wall_90k, known.time(at) & 0xFFFFFFFF, known.packets, known.bytes)

    # --- packets

    def on_packet(self, packet: Packet) -> None:
        """The hub's sink."""
        if packet.info is not self._info:
            self._take_info(packet.info)
        frame = self._video(packet) if packet.is_video else self._audio(packet)
        if frame is None:
            return
        if frame.is_keyframe and frame.track == VIDEO:
            self._gop.clear()
        if self.rendition.hub.gop:
            self._gop.append(frame)
        else:
            self._gop.clear()
        for reader in tuple(self.readers):
            reader.offer(frame)

    def _take_info(self, info: StreamInfo) -> None:
        self._info = info
        self._description = description = describe(info, self.rendition.label)
        for reader in tuple(self.readers):
            if not reader.description.is_of(description):
                reader.end("the camera sends another format now; ask again with DESCRIBE")
        if description is not None and description.audio is not None:
            self._track(AUDIO, description)

    def _track(self, number: int, description: Description) -> _Track:
        track, audio = self._tracks.get(number), description.audio
        if number == AUDIO and audio is not None:
            wanted = (audio.payload_type, audio.clock_rate)
            if track is None or (track.payload_type, track.clock_rate) != wanted:
                track = self._tracks[AUDIO] = _Track(*wanted)
        assert track is not None
        return track

    def _video(self, packet: Packet) -> RtpFrame | None:
        video, track = packet.info.video, self._tracks[VIDEO]
        payloader = PAYLOADERS.get(video.codec)
        timeline_90k = self._timeline.place(packet)
        payloads = payloader(packet.data, video.parameter_sets, PAYLOAD_MAX_BYTES) if payloader is not None else []
        if not payloads:
            return None
        timestamp, last = track.time(timeline_90k), len(payloads) - 1
        packets = [track.packet(each, timestamp, marker=at == last) for at, each in enumerate(payloads)]
        return RtpFrame(VIDEO, tuple(packets), timestamp, packet.is_keyframe, sum(map(len, packets)))

    def _audio(self, packet: Packet) -> RtpFrame | None:
        audio = self._description.audio if self._description is not None else None
        if audio is None or packet.run != self._timeline.run:
            # Of a run without video so far: it has no place on the timeline yet.
            return None
        track = self._tracks[AUDIO]
        begin = track.time(packet.pts_90k + self._timeline.base_90k)
        payloads = audio.payloads(packet.data, PAYLOAD_MAX_BYTES)
        last = len(payloads) - 1
        packets = [
            track.packet(each, begin + at, marker=audio.has_markers and number == last)
            for number, (each, at) in enumerate(payloads)
        ]
        return RtpFrame(AUDIO, tuple(packets), begin, False, sum(map(len, packets))) if packets else None
