"""Misbehaving cameras: sound. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.camera_media import (
    aac_frames,
    adts,
    good_video,
    hbr,
    is_good,
    merged,
)
from tests.support.camera_outputs import outputs, receive
from tests.support.rtsp_camera import RtpSender, Sent, audio_section, sdp, video_section

AAC_FMTP = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}"


def aac(clock_rate: int, ticks: int, wrap: Callable[[bytes], bytes]) -> Iterator[tuple[str, list[Sent]]]:
    frames, config = aac_frames(125)
    sender = RtpSender(1, 97, 9)
    media = [
        sender.packet(wrap(frame), number * ticks, number * 0.064, marker=True) for number, frame in enumerate(frames)
    ]
    yield audio_section(f"MPEG4-GENERIC/{clock_rate}/1", fmtp=AAC_FMTP.format(config)), media


def raw(rtpmap: str, size: int, seconds: float, ticks: int, byte: bytes = b"\xd5") -> Iterator[tuple[str, list[Sent]]]:
    """Packets of ``size`` bytes, ``seconds`` and ``ticks`` long."""
    sender = RtpSender(1, 97, 9)
    count = int(8 / seconds)
    yield (
        audio_section(rtpmap),
        [sender.packet(byte * size, number * ticks, number * seconds) for number in range(count)],
    )


@pytest.mark.parametrize(
    "sound",
    [
        lambda: aac(16_000, 1024, hbr),
        lambda: aac(16_000, 1024, adts),
        lambda: aac(16_000, 1024, lambda frame: hbr(adts(frame))),
        lambda: aac(8_000, 512, hbr),
        lambda: aac(90_000, 5760, hbr),
        lambda: aac(48_000, 1024, hbr),
        lambda: raw("PCMA/8000", 160, 0.02, 160),
        lambda: raw("PCMU/8000", 2048, 0.256, 2048),
        lambda: raw("G726-16/8000", 40, 0.02, 160),
        lambda: raw("G726-24/8000", 60, 0.02, 160),
        lambda: raw("G726-32/8000", 80, 0.02, 160),
        lambda: raw("G726-40/8000", 100, 0.02, 160),
        lambda: raw("AAL2-G726-16/8000", 40, 0.02, 160),
        lambda: raw("AAL2-G726-32/8000", 80, 0.02, 160),
        lambda: raw("G722/8000", 160, 0.02, 160),
        lambda: raw("L16/16000/1", 640, 0.02, 320, b"\x01"),
    ],
    ids=[
        "aac",
        "adts",
        "adts-in-hbr",
        "aac-clock-half",
        "aac-clock-90k",
        "aac-clock-wrong",
        "g711",
        "g711-2kb",
        "g726-16",
        "g726-24",
        "g726-32",
        "g726-40",
        "aal2-g726-16",
        "aal2-g726-32",
        "g722",
        "l16",
    ],
)
def test_sound(tmp_path: Path, sound: Callable[[], Iterator[tuple[str, list[Sent]]]]) -> None:
    section, media = next(sound())
    received, _ = receive(sdp(video_section(), section), merged(good_video(), media))
    found = outputs(received, tmp_path)
    is_good(found, 200)
    assert found.files[0].audio_tracks == found.live[0].audio_tracks == 1
    assert found.files[0].audio_s == pytest.approx(8, abs=0.8)
    assert found.live[0].audio_s == pytest.approx(8, abs=1.2)


@pytest.mark.parametrize("rtpmap", ["PCMA/8000", "G726-32/8000"])
def test_sound_that_is_declared_and_never_sent_is_no_track(tmp_path: Path, rtpmap: str) -> None:
    received, _ = receive(sdp(video_section(), audio_section(rtpmap)), good_video())
    found = outputs(received, tmp_path)
    is_good(found, 200)
    assert found.files[0].audio_tracks == found.live[0].audio_tracks == 0


def test_sound_that_comes_late_gets_a_track_in_the_file_that_is_open(tmp_path: Path) -> None:
    section, media = next(raw("PCMA/8000", 160, 0.02, 160))
    late = [sent for sent in media if sent.at_s >= 3.5]
    received, _ = receive(sdp(video_section(), section), merged(good_video(), late))
    found = outputs(received, tmp_path)
    assert [each.audio_tracks for each in found.files] == [1]
    # The playlist has a discontinuity at the next keyframe: tracks of what players have do not change.
    assert [each.audio_tracks for each in found.live] == [0, 1]
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * 3


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff", bytes(2000), b"\xff\xf1" + bytes(30), b"\x00\x10\xff\xff", b"\x07\xff" + bytes(300)]
)
@pytest.mark.parametrize("rtpmap", ["PCMA/8000", "MPEG4-GENERIC/16000/1", "G726-32/8000"])
def test_broken_sound_costs_no_video(tmp_path: Path, rtpmap: str, garbage: bytes) -> None:
    sender = RtpSender(1, 97, 9)
    media = [sender.packet(garbage, 7 * number, number * 0.02) for number in range(400)]
    section = audio_section(rtpmap, fmtp=AAC_FMTP.format("1408") if "MPEG4" in rtpmap else "")
    received, _ = receive(sdp(video_section(), section), merged(good_video(), media))
    video = [each for each in received if each.packet.is_video]
    assert len(video) >= 199
    found = outputs(received, tmp_path)
    assert all(len(each.times) >= 188 for each in (*found.live, *found.files))
