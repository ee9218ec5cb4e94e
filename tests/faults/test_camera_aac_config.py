"""Misbehaving cameras: AAC that is not what its description says. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`; the sound is heard, as it was, and no picture is missing.
"""

import math
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from gateway.codec import aac
from tests.support.camera_media import good_video, hbr, is_good, merged
from tests.support.camera_outputs import Received, outputs, receive
from tests.support.latm import out_of_band
from tests.support.rtsp_camera import RtpSender, Sent, audio_section, sdp, video_section

SECONDS = 4

HBR = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}"


@cache
def coded(rate_hz: int, channels: int) -> tuple[bytes, ...]:
    """AAC-LC of a tone and noise."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    layout = "mono" if channels == 1 else "stereo"
    encoder.sample_rate, encoder.layout, encoder.format = rate_hz, layout, "fltp"
    random = np.random.default_rng(1)
    found: list[bytes] = []
    for number in range(SECONDS * rate_hz // 1024 + 1):
        places = np.arange(number * 1024, (number + 1) * 1024)
        samples = np.sin(places * 2 * np.pi * 440 / rate_hz) / 2 + random.normal(0, 0.02, 1024)
        frame = av.AudioFrame.from_ndarray(np.tile(samples.astype(np.float32), (channels, 1)), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, number * 1024, Fraction(1, rate_hz)
        found += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(found)


def config(object_type: int, rate_hz: int, channels: int) -> str:
    """An AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1)."""
    value = object_type << 11 | aac.SAMPLE_RATES_HZ.index(rate_hz) << 7 | channels << 3
    return value.to_bytes(2, "big").hex()


def play(rate_hz: int, channels: int, clock_rate: int, says: str, *, is_latm: bool = False) -> list[Received]:
    sender = RtpSender(1, 97, 9)
    sound: list[Sent] = [
        sender.packet(
            out_of_band(frame) if is_latm else hbr(frame),
            number * 1024 * clock_rate // rate_hz,
            number * 1024 / rate_hz,
            marker=True,
        )
        for number, frame in enumerate(coded(rate_hz, channels))
    ]
    if is_latm:
        section = audio_section(f"MP4A-LATM/{clock_rate}/1", fmtp=f"cpresent=0;config={says}")
    else:
        section = audio_section(f"MPEG4-GENERIC/{clock_rate}/1", fmtp=HBR.format(says))
    return receive(sdp(video_section(), section), merged(good_video(SECONDS), sound))[0]


def is_heard(received: list[Received], data_dir: Path, rate_hz: int, channels: int) -> None:
    infos = {each.packet.info.audio for each in received if not each.packet.is_video}
    assert {(info.sample_rate_hz, info.channels) for info in infos if info is not None} == {(rate_hz, channels)}
    found = outputs(received, data_dir)
    is_good(found, 25 * SECONDS)
    for each in (*found.live, *found.files):
        assert each.heard_s >= SECONDS - 0.7


@pytest.mark.parametrize(
    ("rate_hz", "channels", "clock_rate", "says"),
    [
        (16_000, 1, 48_000, config(2, 48_000, 2)),
        (16_000, 1, 16_000, config(2, 44_100, 2)),
        (16_000, 1, 8_000, config(2, 8_000, 1)),
        (8_000, 2, 8_000, config(2, 8_000, 1)),
        (8_000, 1, 48_000, config(2, 48_000, 1)),
        (48_000, 2, 16_000, config(2, 16_000, 1)),
        (44_100, 1, 8_000, config(2, 8_000, 1)),
        (32_000, 2, 32_000, config(2, 48_000, 2)),
        (16_000, 2, 16_000, config(2, 16_000, 6)),
        (16_000, 1, 16_000, config(2, 16_000, 0)),
        (16_000, 1, 16_000, config(6, 16_000, 1)),
        (16_000, 1, 16_000, config(23, 32_000, 2)),
        (16_000, 1, 16_000, "f8f02020"),
        (16_000, 1, 16_000, "0000"),
    ],
)
def test_the_configuration_is_wrong(tmp_path: Path, rate_hz: int, channels: int, clock_rate: int, says: str) -> None:
    is_heard(play(rate_hz, channels, clock_rate, says), tmp_path, rate_hz, channels)


@pytest.mark.parametrize(
    ("rate_hz", "clock_rate", "counts_hz", "says_hz", "is_bursty"),
    [
        (44_100, 44_100, 44_100, 48_000, True),
        (44_100, 48_000, 44_100, 44_100, False),
        (44_100, 48_000, 48_000, 44_100, False),
        (48_000, 48_000, 48_000, 44_100, True),
        (48_000, 44_100, 48_000, 48_000, True),
        (48_000, 44_100, 44_100, 48_000, False),
        (22_050, 24_000, 22_050, 22_050, True),
        (16_000, 16_000, 16_000, 11_025, True),
        (11_025, 16_000, 11_025, 11_025, False),
        (12_000, 12_000, 12_000, 16_000, False),
    ],
)
def test_the_clock_is_of_another_rate_that_decodes_alike(
    tmp_path: Path, rate_hz: int, clock_rate: int, counts_hz: int, says_hz: int, is_bursty: bool
) -> None:
    """44.1 and 48 kHz: one of description and clock is wrong. ``counts_hz`` is what the timestamps really count in."""
    sender, seconds = RtpSender(1, 97, 9), 12
    frames = coded(rate_hz, 1)
    sound: list[Sent] = []
    for number in range(seconds * rate_hz // 1024):
        at_s = number * 1024 / rate_hz
        # A second of what it had kept, and packets that come together.
        at_s = max(0.9, 0.3 * math.ceil(at_s / 0.3)) if is_bursty else at_s
        frame = hbr(frames[number % len(frames)])
        sound.append(sender.packet(frame, number * 1024 * counts_hz // rate_hz, at_s, marker=True))
    section = audio_section(f"MPEG4-GENERIC/{clock_rate}/1", fmtp=HBR.format(config(2, says_hz, 1)))
    received = receive(sdp(video_section(), section), merged(good_video(seconds), sound))[0]
    heard = [each.packet for each in received if not each.packet.is_video]
    assert {each.info.audio.sample_rate_hz for each in heard if each.info.audio is not None} == {rate_hz}
    found = outputs(received, tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + len(found.files))
    [file] = found.files
    assert file.frame_rate == pytest.approx(25, rel=0.02)
    assert file.heard_s >= seconds - 5.5


@pytest.mark.parametrize("says", [config(1, 16_000, 1), config(4, 16_000, 1), "2b0a8800", "140856e58c80"])
def test_the_configuration_says_more_than_there_is(tmp_path: Path, says: str) -> None:
    """AAC Main, LTP, or SBR (explicit, in both ways) whose frames are AAC-LC."""
    is_heard(play(16_000, 1, 16_000, says), tmp_path, 16_000, 1)


def test_the_configuration_of_latm_is_wrong(tmp_path: Path) -> None:
    # StreamMuxConfig around the same two octets (§1.7.3.1).
    says = (1 << 46 | int(config(2, 48_000, 2), 16) << 17 | 255 << 6).to_bytes(6, "big").hex()
    is_heard(play(16_000, 1, 16_000, says, is_latm=True), tmp_path, 16_000, 1)


@pytest.mark.parametrize(
    ("frame", "channels"),
    [
        ("0140", 1),
        ("2140", 2),
        ("c4000000", 1),
        ("8001ff20", 2),
        ("8101ff20", 2),
        ("c10202ff20", 2),
        ("c4000040", 2),
        ("60", None),
        ("e0", None),
        ("", None),
        ("dff0", None),
    ],
)
def test_the_first_element_says_how_many_channels_there_are(frame: str, channels: int | None) -> None:
    assert aac.first_channels(bytes.fromhex(frame)) == channels
