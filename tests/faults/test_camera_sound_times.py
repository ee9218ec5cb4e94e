"""Misbehaving cameras: sound at other times than the pictures. RTP goes in, LL-HLS and recordings come out.

No fault of sound costs a picture, and what is sent is heard. The measure is that of :mod:`tests.support.camera_media`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.camera_media import aac_frames, camera_with_clock, good_video, hbr, is_good, merged, tone
from tests.support.camera_outputs import Outputs, outputs, receive
from tests.support.rtsp_camera import RtpSender, Sent, audio_section, sdp, video_section

PCMA = audio_section("PCMA/8000")

AAC = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}"


def play(data_dir: Path, section: str, sound: list[Sent], seconds: float = 12.0) -> Outputs:
    received, _ = receive(sdp(video_section(), section), merged(good_video(seconds), sound))
    return outputs(received, data_dir)


def heard(found: Outputs) -> list[float]:
    """Seconds of sound in LL-HLS and in the files, where not one picture is missing or late."""
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + len(found.files))
    assert sum(len(each.times) for each in found.files) >= 298
    for each in found.files:
        assert each.frame_rate == pytest.approx(25, rel=0.02)
    return [sum(each.heard_s for each in found.live), sum(each.heard_s for each in found.files)]


def g711(
    seconds: float, packet_s: float = 0.02, arrives: Callable[[float], float] = lambda at_s: at_s, first: int = 0
) -> list[Sent]:
    sender, size = RtpSender(1, 97, 9, first), int(8000 * packet_s)
    samples = tone("pcm_alaw", 12)[: int(8000 * seconds)]
    return [
        sender.packet(samples[at : at + size], at, arrives(at / 8000)) for at in range(0, len(samples) - size + 1, size)
    ]


@pytest.mark.parametrize(("codec", "after_s"), [("g711", 1.0), ("g711", 6.9), ("aac", 1.0), ("aac", 2.5)])
def test_sound_that_begins_later_than_the_pictures(tmp_path: Path, codec: str, after_s: float) -> None:
    """Without RTP-Info, nothing says that it belongs to later pictures."""
    if codec == "g711":
        found = play(tmp_path, PCMA, g711(12 - after_s, arrives=lambda at_s: at_s + after_s))
    else:
        frames, config = aac_frames(int((12 - after_s) / 0.064))
        sender = RtpSender(1, 97, 9)
        found = play(
            tmp_path,
            audio_section("MPEG4-GENERIC/16000/1", fmtp=AAC.format(config)),
            [
                sender.packet(hbr(frame), number * 1024, after_s + number * 0.064, marker=True)
                for number, frame in enumerate(frames)
            ],
        )
    # What comes after the first 1.2 s begins with a keyframe.
    begins_s = after_s if after_s < 1.2 else after_s + 1.0
    assert min(heard(found)) >= 12 - begins_s - 1.0
    assert len(found.files) == 1


@pytest.mark.parametrize("fps", [8])
def test_late_sound_of_few_pictures(tmp_path: Path, fps: int) -> None:
    video = camera_with_clock(lambda number: number * 90_000 // fps, 12 * fps, fps)
    received, _ = receive(sdp(video_section(), PCMA), merged(video, g711(12, arrives=lambda at_s: at_s + 0.3)))
    found = outputs(received, tmp_path)
    is_good(found, 12 * fps, fps)
    assert all(each.heard_s >= 10.5 for each in (*found.live, *found.files))


@pytest.mark.parametrize("packet_s", [0.5, 2.0])
def test_long_packets_that_come_at_their_end(tmp_path: Path, packet_s: float) -> None:
    found = play(tmp_path, PCMA, g711(12, packet_s, lambda at_s: at_s + packet_s))
    begins_s = 0.0 if packet_s < 1.2 else 3.0
    assert min(heard(found)) >= 12 - begins_s - 3 * packet_s - 0.5


@pytest.mark.parametrize("pause_s", [0.3, 5.0])
@pytest.mark.parametrize("clock", ["stands still", "runs", "begins anew"])
def test_sound_that_pauses(tmp_path: Path, clock: str, pause_s: float) -> None:
    sound = g711(12 - pause_s, arrives=lambda at_s: at_s + pause_s * (at_s >= 4))
    by = {"stands still": 0, "runs": int(8000 * pause_s), "begins anew": 0x1234_5678}[clock]
    late = [
        Sent(
            sent.at_s,
            1,
            sent.data[:4] + (int.from_bytes(sent.data[4:8], "big") + by).to_bytes(4, "big") + sent.data[8:],
        )
        for sent in sound
        if sent.at_s > 4
    ]
    found = play(tmp_path, PCMA, [sent for sent in sound if sent.at_s <= 4] + late)
    is_good(found, 300)
    assert min(heard(found)) >= 12 - pause_s - 0.8


@pytest.mark.parametrize("drift", [0.98, 1.02])
def test_sound_of_another_rate_than_the_pictures(tmp_path: Path, drift: float) -> None:
    sound = g711(12, arrives=lambda at_s: at_s * drift)
    found = play(tmp_path, PCMA, [sent for sent in sound if sent.at_s < 12])
    is_good(found, 300)
    assert min(heard(found)) >= 12 * min(1, drift) - 1.2


@pytest.mark.parametrize("pause", ["silence", "comfort noise", "comfort noise, not announced"])
def test_speech_with_pauses(tmp_path: Path, pause: str) -> None:
    """Comfort noise (RFC 3389) is not passed on; each pause of 1.5 s is silence."""
    sender = RtpSender(1, 8, 9)
    samples, sound = tone("pcm_alaw", 12), list[Sent]()
    for number in range(600):
        sender.payload_type = 8 if number // 75 % 2 == 0 else 13
        if sender.payload_type == 8:
            sound.append(sender.packet(samples[number * 160 : number * 160 + 160], number * 160, number / 50))
        elif pause != "silence" and number % 10 == 0:
            sound.append(sender.packet(b"\x40\x10", number * 160, number / 50))
    formats = "8 13" if pause == "comfort noise" else "8"
    found = play(tmp_path, f"m=audio 0 RTP/AVP {formats}\r\na=control:track1\r\n", sound)
    is_good(found, 300)
    assert min(heard(found)) == pytest.approx(6, abs=0.8)
