"""Decode a keyframe alone. Blocking."""

import av

from gateway.jpeg.codec import DECODERS
from gateway.media import Packet


def decode_keyframe(packet: Packet) -> av.VideoFrame | None:
    """The picture of a keyframe; ``None`` if it cannot be decoded.

    A decoder that goes on would wait for the frames that come before it in time, which are left out.
    """
    codec = packet.info.video.codec
    context = av.CodecContext.create(DECODERS.get(codec, codec), "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_type = "NONE"
    if packet.info.video.parameter_sets:
        context.extradata = packet.info.video.parameter_sets
    coded = av.Packet(packet.data)
    coded.pts = coded.dts = 0
    try:
        frames = [*context.decode(coded), *context.decode(None)]
    except av.FFmpegError:
        return None
    return frames[0] if frames else None
