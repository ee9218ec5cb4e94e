"""Misbehaving cameras: another video codec than their description says. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.camera_media import FPS, TICK, Picture, coded, is_good, is_slice
from tests.support.camera_outputs import outputs, receive
from tests.support.jpeg_rtp import jpeg_payloads, jpeg_picture
from tests.support.rtp import aggregate
from tests.support.rtsp_camera import RtpSender, Sent, sdp, video_section


def sent(pictures: tuple[Picture, ...], *, hevc: bool, aggregated: bool = False) -> list[Sent]:
    sender, media = RtpSender(hevc=hevc), list[Sent]()
    for number, units in enumerate(pictures):
        sets = [unit for unit in units if not is_slice(unit, hevc=hevc)] if aggregated else []
        if sets:
            media.append(sender.packet(aggregate(sets, 0, hevc=hevc).data, number * TICK, number / FPS))
        media += sender.picture([unit for unit in units if unit not in sets], number * TICK, number / FPS)
    return media


@pytest.mark.parametrize("aggregated", [False, True])
@pytest.mark.parametrize(
    ("hevc", "declared"),
    [(False, "H265"), (True, "H264"), (False, "JPEG"), (True, "JPEG")],
    ids=lambda value: str(value),
)
def test_what_is_sent_counts(tmp_path: Path, hevc: bool, declared: str, aggregated: bool) -> None:
    pictures = coded(100, 25, ":slices=2", hevc=hevc)
    received, _ = receive(sdp(video_section(declared)), sent(pictures, hevc=hevc, aggregated=aggregated))
    assert received[0].packet.info.video.codec == ("hevc" if hevc else "h264")
    is_good(outputs(received, tmp_path), 100)


@pytest.mark.parametrize("hevc", [False, True])
def test_parameter_sets_of_the_other_codec_in_the_description_alone(tmp_path: Path, hevc: bool) -> None:
    pictures = coded(100, 25, ":slices=2", hevc=hevc)
    sets = [unit for unit in pictures[0] if (unit[0] >> 1 in (32, 33, 34) if hevc else unit[0] & 0x1F in (7, 8))]
    texts = [b64encode(unit).decode() for unit in sets]
    names = ("sprop-vps", "sprop-sps", "sprop-pps")
    ours = (
        ";".join(map("=".join, zip(names, texts, strict=True))) if hevc else f"sprop-parameter-sets={','.join(texts)}"
    )
    section = video_section("H264" if hevc else "H265").replace("packetization-mode=1", ours)
    bare = tuple(tuple(unit for unit in units if unit not in sets) for units in pictures)
    received, _ = receive(sdp(section), sent(bare, hevc=hevc))
    is_good(outputs(received, tmp_path), 100)


@pytest.mark.parametrize("declared", ["H264", "H265"])
def test_motion_jpeg(tmp_path: Path, declared: str) -> None:
    sender, media = RtpSender(), list[Sent]()
    for number in range(75):
        parts = jpeg_payloads(jpeg_picture(number), 1200)
        for part in parts:
            media.append(sender.packet(part, number * TICK, number / FPS, marker=part is parts[-1]))
    received, _ = receive(sdp(video_section(declared)), media)
    assert len(received) == 75
    assert {each.packet.info.video.codec for each in received} == {"mjpeg"}
