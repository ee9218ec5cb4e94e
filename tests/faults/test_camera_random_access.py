"""Misbehaving cameras: keyframes and parameter sets. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from pathlib import Path

import av
import pytest

from gateway.codec.parameter_sets import find_parameter_sets
from tests.support.camera_media import FPS, TICK, Picture, coded, is_good, packets_of
from tests.support.camera_outputs import outputs
from tests.support.pcm_pictures import Layout, recovery_point
from tests.support.rtsp_camera import RtpSender, Sent


@pytest.mark.parametrize("hevc", [False, True])
def test_parameter_sets_that_change_with_each_keyframe(tmp_path: Path, hevc: bool) -> None:
    sender = RtpSender(hevc=hevc)
    media: list[Sent] = []
    for gop in range(6):
        quality = f":qp={20 + 4 * (gop % 3)}" if not hevc else f":qp={20 + gop}:cbqpoffs={gop}"
        for place, units in enumerate(coded(25, 25, quality, hevc=hevc)):
            number = gop * 25 + place
            media += sender.picture(units, number * TICK, number / FPS)
    received = packets_of(media, "H265" if hevc else "H264")
    keyframes = [each.packet for each in received if each.packet.is_keyframe]
    sets = [find_parameter_sets(packet.info.video.codec, packet.data) for packet in keyframes]
    assert len({each.pps for each in sets if each is not None}) > 1
    found = outputs(received, tmp_path)
    is_good(found, 150)
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist


@pytest.mark.parametrize("change", ["level", "sps_id", "pps_id", "both_ids"])
def test_identifiers_and_levels_that_change_with_each_keyframe(tmp_path: Path, change: str) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    for number in range(150):
        gop, place = divmod(number, 25)
        layout = Layout(
            sps_id=gop % 2 if change in ("sps_id", "both_ids") else 0,
            pps_id=gop % 3 if change in ("pps_id", "both_ids") else 0,
        )
        units = [layout.picture(place, 2 * place, 40 + number % 100, is_idr=place == 0, is_intra=place == 0)]
        if place == 0:
            sps = bytearray(layout.sps())
            sps[3] = 30 + gop % 2 if change == "level" else 30
            units = [bytes(sps), layout.pps(), *units]
        media += sender.picture(units, number * TICK, number / FPS)
    found = outputs(packets_of(media), tmp_path)
    is_good(found, 150)
    assert "EXT-X-DISCONTINUITY\n" not in found.playlist


def idr_once(number: int, in_gop: int) -> Picture:
    layout = Layout()
    head: Picture = (layout.sps(), layout.pps()) if in_gop == 0 else ()
    mark: Picture = (recovery_point(),) if in_gop == 0 and number else ()
    frame_num = number % 256
    picture = layout.picture(frame_num, 2 * number % 256, 40 + number % 100, is_idr=number == 0, is_intra=in_gop == 0)
    return (*head, *mark, picture)


def test_recovery_points_after_one_idr_are_keyframes(tmp_path: Path) -> None:
    sender = RtpSender()
    media = [
        sent
        for number in range(200)
        for sent in sender.picture(idr_once(number, number % 25), number * TICK, number / FPS)
    ]
    received = packets_of(media)
    assert sum(each.packet.is_keyframe for each in received) >= 6
    found = outputs(received, tmp_path, segment_s=4)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (1 + len(found.files))
    assert len(found.files) == 2


@pytest.mark.parametrize("options", [":intra-refresh=1", ""], ids=["intra-refresh", "infinite-gop"])
def test_files_rotate_without_keyframes(tmp_path: Path, options: str) -> None:
    sender = RtpSender()
    gop = 25 if options else 3000
    media: list[Sent] = []
    pictures = coded(1000, gop, f":slices=1{options}")
    for number, units in enumerate(pictures):
        media += sender.picture(units, number * TICK, number / FPS)
    received = packets_of(media)
    found = outputs(received, tmp_path, segment_s=4)
    assert len(found.files) >= 2
    assert [each.errors for each in found.live] == [[]]
    assert sum(segment.frames for segment in found.segments) >= 998


def test_newcomers_of_intra_refresh_get_a_picture() -> None:
    sender = RtpSender()
    pictures = coded(200, 25, ":slices=1:intra-refresh=1")
    media = [
        sent for number, units in enumerate(pictures) for sent in sender.picture(units, number * TICK, number / FPS)
    ]
    late = [each.packet for each in packets_of(media)][-60:]
    start = next(place for place, packet in enumerate(late) if packet.is_keyframe)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = late[0].info.video.parameter_sets
    frames = [frame for packet in late[start:] for frame in decoder.decode(av.Packet(packet.data))]
    assert frames


def test_a_stream_that_changes_with_each_keyframe(tmp_path: Path) -> None:
    """Each GOP is another stream, and all of them are shown but the first, which is measured."""
    layouts = Layout(), Layout(width_mbs=6)
    sender = RtpSender()
    media: list[Sent] = []
    for number in range(200):
        gop, place = divmod(number, 25)
        layout = layouts[gop % 2]
        slices = layout.picture(place, 2 * place, 40 + number % 100, is_idr=place == 0, is_intra=place == 0)
        head = [layout.sps(), layout.pps()] if place == 0 else []
        media += sender.picture([*head, slices], number * TICK, number / FPS)
    found = outputs(packets_of(media), tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + len(found.files))
    assert sum(len(each.times) for each in found.live) >= 175 - 12
    assert sum(len(each.times) for each in found.files) >= 198
