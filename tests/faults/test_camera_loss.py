"""Misbehaving cameras: packets that are lost. RTP goes in, LL-HLS and recordings come out.

Nothing broken is shown: pictures are missing up to the next intact keyframe. Playlist and file go on.
"""

from pathlib import Path
from random import Random

import pytest

from gateway.capture.counters import CaptureCounters
from tests.support.camera_media import FPS, TICK, camera_with_clock, coded, packets_of
from tests.support.camera_outputs import outputs, receive
from tests.support.rtsp_camera import RtpSender, sdp, video_section


@pytest.mark.parametrize(
    ("loss", "gop", "least"), [(0.002, 50, 0.9), (0.01, 25, 0.7), (0.05, 25, 0.2), (0.05, 100, 0.05)]
)
def test_lost_packets_end_neither_playlist_nor_file(tmp_path: Path, loss: float, gop: int, least: float) -> None:
    random = Random(1)
    media = [each for each in camera_with_clock(lambda n: n * TICK, 1500, FPS, gop=gop) if random.random() >= loss]
    counters = CaptureCounters()
    received, core = receive(sdp(video_section()), media, counters)
    core.count()
    found = outputs(received, tmp_path)
    (live,), (recorded,) = found.live, found.files
    assert live.errors == recorded.errors == []
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist
    assert len(received) - 8 <= len(live.times) <= len(recorded.times) == len(received)
    assert len(received) > least * 1500
    counted = counters.frames_dropped_after_loss + counters.frames_damaged + counters.rtp_packets_lost
    assert len(received) + counted >= 1498
    # A picture is shown when the camera took it, whatever was lost before.
    for each in (live, recorded):
        assert each.times[-1] - each.times[0] == pytest.approx(received[-1].at_s - received[0].at_s, abs=1.0)


def test_intra_refresh_is_shown_although_packets_are_lost(tmp_path: Path) -> None:
    random = Random(2)
    pictures = coded(1000, 25, ":slices=1:intra-refresh=1")
    sender = RtpSender()
    media = [
        sent
        for number, units in enumerate(pictures)
        for sent in sender.picture(units, number * TICK, number / FPS)
        if number < 100 or random.random() >= 0.01
    ]
    received = packets_of(media)
    # Once, a keyframe is awaited.
    assert len(received) > 1000 - 12 * FPS - 40
