"""TranscodeStream: what goes to a process that transcodes and what comes back, as packets of one hub. Sans-IO.

Rules:

1. A new *generation* begins with each run of the camera, each change of its video, and each process. It is the number
   of a run of the transcoded stream.
2. What comes back of an older generation is dropped, and so is sound before the first picture of one. Other sound than
   the stream has said begins with a keyframe.
"""

import json
from collections import OrderedDict
from dataclasses import replace

from gateway.codec.parameter_sets import find_parameter_sets, video_info
from gateway.hub import PacketHub
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo
from gateway.transcode import worker
from gateway.transcode.process import Message

IN_FLIGHT_MAX = 1024
"""Pictures whose capture times are remembered: more than fit in a process and its pipes."""


class TranscodeStream:
    """See the module."""

    def __init__(self, hub: PacketHub) -> None:
        self.generation = 0
        self._hub = hub
        self._source: VideoInfo | None = None
        self._source_run: int | None = None
        self._audio: AudioInfo | None = None
        self._captured_at_90k: OrderedDict[int, int] = OrderedDict()
        """By presentation time."""
        self._info: StreamInfo | None = None
        """Of the present generation; ``None`` before its first picture."""

    def reset(self) -> None:
        """Another process begins."""
        self._source = self._info = None

    def begins(self, packet: Packet) -> bool:
        """Whether this packet of video begins a generation. Then :meth:`configuration` goes to the process first."""
        self._audio = packet.info.audio
        if packet.info.video == self._source and packet.run == self._source_run:
            return False
        self._source, self._source_run = packet.info.video, packet.run
        self.generation += 1
        self._captured_at_90k.clear()
        self._info = None
        return True

    @staticmethod
    def configuration(packet: Packet) -> bytes:
        """What the process has to know of the stream that this packet belongs to."""
        video = packet.info.video
        rate = float(video.frame_rate) if video.frame_rate else None
        sets = video.parameter_sets.hex()
        return json.dumps({"codec": video.codec, "parameter_sets": sets, "frame_rate": rate}).encode()

    def sent(self, packet: Packet) -> None:
        """A packet of video goes to the process."""
        self._captured_at_90k[packet.pts_90k] = packet.captured_at_90k
        if len(self._captured_at_90k) > IN_FLIGHT_MAX:
            self._captured_at_90k.popitem(last=False)

    def pass_on(self, packet: Packet) -> None:
        """Publish a packet of sound (rule 2)."""
        if self._info is None or packet.run != self._source_run or packet.info.audio != self._info.audio:
            return
        self._hub.publish(replace(packet, info=self._info, run=self.generation))

    def publish(self, message: Message) -> bool:
        """Publish a picture. Returns whether it was."""
        captured_at_90k = self._captured_at_90k.pop(message.pts_90k, None)
        is_keyframe = message.kind == worker.KEYFRAME
        if message.generation != self.generation or captured_at_90k is None or not (self._info or is_keyframe):
            return False
        if is_keyframe:
            if self._info is None:
                self._hub.end_run()
            self._read_sets(message.payload)
        assert self._info is not None
        self._hub.publish(
            Packet(
                kind=MediaKind.VIDEO,
                data=message.payload,
                pts_90k=message.pts_90k,
                dts_90k=message.pts_90k,
                duration_90k=0,
                is_keyframe=is_keyframe,
                captured_at_90k=captured_at_90k,
                info=self._info,
                run=self.generation,
            )
        )
        return True

    def _read_sets(self, keyframe: bytes) -> None:
        sets = find_parameter_sets("h264", keyframe)
        assert sets is not None, "each keyframe of the process has its parameter sets"
        video, _ = video_info("h264", sets)
        info = StreamInfo(replace(video, has_b_frames=False), self._audio)
        if info != self._info:
            self._info = info
