"""Coded packets, and the description of the stream that they belong to.

Rules, which every engine follows and every consumer relies on:

1. Video is Annex B (start codes), one access unit a packet, AUD and SEI allowed; of AV1 one temporal unit in the
   low-overhead format; of Motion JPEG one file a packet.
   Audio is one raw frame a packet (no ADTS).
2. ``pts_90k`` and ``dts_90k`` are integers of 90 kHz on one timeline per run; within a run and a kind ``dts_90k`` is
   strictly increasing, and ``pts_90k >= dts_90k``. Video and audio share the timeline.
3. ``captured_at_90k`` is the best estimate of when the camera captured the frame: 90 kHz ticks of the wall clock since
   the Unix epoch.
4. Every packet has its :class:`StreamInfo`. A change of codec, size or sequence parameter set makes a new, unequal
   object. The first packet that carries it is a keyframe. Parameter sets that change all the time make no new object:
   they are in the keyframes, and ``has_changing_sets`` says so.
5. ``run`` grows by one with each connection to the camera. The timelines of two runs are unrelated; only
   ``captured_at_90k`` continues.
6. The first video packet of a run is a keyframe.
"""

from dataclasses import dataclass

from gateway.packet import AUDIO as AUDIO
from gateway.packet import VIDEO as VIDEO
from gateway.packet import MediaKind as MediaKind
from gateway.packet import Packet as Packet
from gateway.stream_info import AudioInfo as AudioInfo
from gateway.stream_info import StreamInfo as StreamInfo
from gateway.stream_info import VideoInfo as VideoInfo


@dataclass(frozen=True, slots=True)
class Metadata:
    """A document that a camera sent beside its pictures: XML, as the camera wrote it.

    The source of the format is the ONVIF Streaming Specification (§5.2.1).
    ``captured_at_90k`` and ``run`` are as those of packets.
    """

    document: bytes
    captured_at_90k: int
    run: int
