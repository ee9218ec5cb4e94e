"""What a camera of the session tests sends."""

from collections.abc import Iterator

from tests.support.pcm_pictures import Layout
from tests.support.rtsp_camera import RtpSender, Sent


def media(pictures: int = 60) -> Iterator[Sent]:
    """A picture every 10 ms, and G.711 as a second track."""
    layout, video, audio = Layout(), RtpSender(), RtpSender(1, 97, 9)
    for number in range(pictures):
        in_gop = number % 10
        units = [layout.picture(in_gop, 2 * in_gop, 40, is_idr=in_gop == 0, is_intra=in_gop == 0)]
        if in_gop == 0:
            units = [layout.sps(), layout.pps(), *units]
        yield from video.picture(units, number * 900, number / 100)
        yield audio.packet(b"\xd5" * 80, number * 80, number / 100)
