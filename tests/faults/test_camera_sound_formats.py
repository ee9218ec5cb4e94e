"""Misbehaving cameras: sound in another form than their description says. RTP goes in, LL-HLS and recordings come out.

Beyond the measure of :mod:`tests.support.camera_media`, the sound is heard: it is no silence that fills a gap.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import pytest

from tests.support.camera_media import aac_frames, adts, good_video, hbr, is_good, merged, tone
from tests.support.camera_outputs import Outputs, outputs, receive
from tests.support.latm import in_band
from tests.support.rtsp_camera import RtpSender, Sent, audio_section, sdp, video_section

SECONDS = 8.0

HBR = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3"

Wrap = Callable[[Sequence[bytes]], bytes]


class Options(TypedDict, total=False):
    """Of :func:`aac`."""

    ticks: int
    group: int
    marker: bool


def play(data_dir: Path, section: str, sound: list[Sent]) -> Outputs:
    received, _ = receive(sdp(video_section(), section), merged(good_video(SECONDS), sound))
    return outputs(received, data_dir)


def is_heard(found: Outputs, seconds: float = SECONDS - 1.0) -> None:
    """One file and one playlist without errors, with sound in them from the beginning."""
    is_good(found, int(SECONDS * 25))
    for each in (*found.live, *found.files):
        assert each.audio_tracks == 1
        assert each.heard_s >= seconds - 0.3


def aac(wrap: Wrap, *, ticks: int = 1024, group: int = 1, marker: bool = True) -> list[Sent]:
    """AAC of 16 kHz, ``group`` frames a packet."""
    frames, _ = aac_frames(125)
    sender = RtpSender(1, 97, 9)
    return [
        sender.packet(wrap(frames[at : at + group]), at * ticks, (at + group - 1) * 0.064, marker=marker)
        for at in range(0, len(frames) - group + 1, group)
    ]


def generic(parameters: str, clock_rate: int = 16_000) -> str:
    return audio_section(f"MPEG4-GENERIC/{clock_rate}/1", fmtp=parameters.format(aac_frames(125)[1]))


def bare(frames: Sequence[bytes]) -> bytes:
    return b"".join(frames)


def several(frames: Sequence[bytes]) -> bytes:
    """RFC 3640 §3.2.1, several access units."""
    headers = b"".join((len(frame) << 3).to_bytes(2, "big") for frame in frames)
    return (8 * len(headers)).to_bytes(2, "big") + headers + b"".join(frames)


def length_in_bytes(frames: Sequence[bytes]) -> bytes:
    headers = b"".join((len(frame) << 3).to_bytes(2, "big") for frame in frames)
    return len(headers).to_bytes(2, "big") + headers + b"".join(frames)


@pytest.mark.parametrize(
    ("wrap", "parameters", "options", "clock_rate"),
    [
        (length_in_bytes, HBR + ";config={}", {}, 16_000),
        (length_in_bytes, HBR + ";config={}", {"group": 3}, 16_000),
        (several, HBR + ";config={};constantduration=1024", {"group": 4}, 16_000),
        (bare, HBR + ";config={}", {}, 16_000),
        (bare, "streamtype=5;config={}", {}, 16_000),
        (bare, "streamtype=5;config={}", {"marker": False}, 16_000),
        (lambda frames: adts(frames[0]), "streamtype=5", {}, 16_000),
        (lambda frames: adts(frames[0]), HBR + ";config=1210", {}, 16_000),
        (lambda frames: hbr(adts(frames[0])), HBR + ";config=1210", {}, 16_000),
        (several, HBR, {}, 16_000),
        (several, HBR + ";config={}", {}, 48_000),
        (several, HBR + ";config={}", {}, 8_000),
        (several, HBR + ";config={}", {"ticks": 5760, "group": 2}, 90_000),
    ],
    ids=[
        "header-length-in-bytes",
        "header-length-in-bytes-several",
        "constant-duration",
        "headers-declared-and-missing",
        "no-headers",
        "no-headers-no-marker",
        "adts-without-config",
        "adts-and-a-wrong-config",
        "adts-in-hbr-and-a-wrong-config",
        "no-config",
        "a-clock-of-48000-that-runs-at-16000",
        "a-clock-of-8000-that-runs-at-16000",
        "a-clock-of-90000",
    ],
)
def test_aac(tmp_path: Path, wrap: Wrap, parameters: str, options: Options, clock_rate: int) -> None:
    found = play(tmp_path, generic(parameters, clock_rate), aac(wrap, **options))
    is_heard(found, 6.8)


def test_fragmented_aac(tmp_path: Path) -> None:
    frames, _ = aac_frames(125)
    sender, sound = RtpSender(1, 97, 9), list[Sent]()
    for number, frame in enumerate(frames):
        head = bytes((0, 16)) + (len(frame) << 3).to_bytes(2, "big")
        middle = len(frame) // 2
        sound.append(sender.packet(head + frame[:middle], number * 1024, number * 0.064))
        sound.append(sender.packet(head + frame[middle:], number * 1024, number * 0.064, marker=True))
    is_heard(play(tmp_path, generic(HBR + ";config={}"), sound))


@pytest.mark.parametrize("parameters", ["cpresent=1", "", "cpresent=1;config=400028103fc0", "cpresent=0"])
@pytest.mark.parametrize("every", [1, 10])
def test_latm_with_its_configuration_in_band(tmp_path: Path, parameters: str, every: int) -> None:
    config, frames = bytes.fromhex("1408"), aac_frames(125)[0]
    sender = RtpSender(1, 97, 9)
    sound = [
        sender.packet(
            in_band(frame, config=None if number % every else config), number * 1024, number * 0.064, marker=True
        )
        for number, frame in enumerate(frames)
    ]
    is_heard(play(tmp_path, audio_section("MP4A-LATM/16000/1", fmtp=parameters), sound))


def test_aac_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    """Players end at sound that they cannot decode, pictures included."""
    frames, _ = aac_frames(125)
    sender = RtpSender(1, 97, 9)
    broken = [
        bytes(byte ^ 0x55 for byte in frame) if number % 10 == 5 else frame for number, frame in enumerate(frames)
    ]
    sound = [
        sender.packet(hbr(frame), number * 1024, number * 0.064, marker=True) for number, frame in enumerate(broken)
    ]
    is_heard(play(tmp_path, generic(HBR + ";config={}"), sound), 5.5)


def g711(packet_s: float, payload_type: int = 97, codec: str = "pcm_alaw", late_s: float = 0.0) -> list[Sent]:
    """Packets of ``packet_s``, which come ``late_s`` after the time of their first sample."""
    sender, size = RtpSender(1, payload_type, 9), int(8000 * packet_s)
    samples = tone(codec)
    return [
        sender.packet(samples[at : at + size], at, at / 8000 + late_s) for at in range(0, len(samples) - size + 1, size)
    ]


@pytest.mark.parametrize("packet_s", [0.02, 0.256, 0.5, 1.0])
def test_g711_in_long_packets(tmp_path: Path, packet_s: float) -> None:
    is_heard(play(tmp_path, audio_section("PCMA/8000"), g711(packet_s)), 6.5)


@pytest.mark.parametrize("packet_s", [0.256, 0.5, 1.0])
def test_g711_in_long_packets_that_come_at_their_end(tmp_path: Path, packet_s: float) -> None:
    """As a camera does that has to record the sound first. What is later than HLS allows is moved."""
    is_heard(play(tmp_path, audio_section("PCMA/8000"), g711(packet_s, late_s=packet_s)), 3.5)


FORMATS = "m=audio 0 RTP/AVP {}\r\na=control:track1\r\n"


@pytest.mark.parametrize(
    ("announced", "payload_type", "codec"),
    [
        ("0 8", 8, "pcm_alaw"),
        ("8 0", 0, "pcm_mulaw"),
        ("0 8", 0, "pcm_mulaw"),
        ("0", 8, "pcm_alaw"),
        ("9 0", 0, "pcm_mulaw"),
    ],
)
def test_the_format_that_is_really_sent(tmp_path: Path, announced: str, payload_type: int, codec: str) -> None:
    section = FORMATS.format(announced)
    received, _ = receive(sdp(video_section(), section), merged(good_video(), g711(0.02, payload_type, codec)))
    infos = {each.packet.info.audio.codec for each in received if each.packet.info.audio and not each.packet.is_video}
    assert infos == {codec}
    found = outputs(received, tmp_path)
    is_heard(found)


PLAIN = [("PCMA/16000", 2), ("PCMU/8000/2", 1), ("PCMA/48000/2", 6)]


@pytest.mark.parametrize(("rtpmap", "ticks"), PLAIN)
@pytest.mark.parametrize("packet_s", [0.02, 0.256])
def test_plain_g711_that_says_it_is_other(tmp_path: Path, rtpmap: str, ticks: int, packet_s: float) -> None:
    """``ticks`` a byte. Its timestamps show it."""
    found = play(tmp_path, audio_section(rtpmap), odd_g711(rtpmap, ticks, packet_s))
    is_heard(found, 6.5 if packet_s < 0.1 else 6.0)


@pytest.mark.parametrize("packet_s", [0.02, 0.256, 1.0])
def test_plain_g711_that_only_its_arrival_shows(tmp_path: Path, packet_s: float) -> None:
    found = play(tmp_path, audio_section("PCMA/16000"), odd_g711("PCMA/16000", 1, packet_s))
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + 1)
    assert found.live[-1].heard_s > (4.5 if packet_s < 1 else 2.0)
    assert found.files[0].heard_s > (4.5 if packet_s < 1 else 2.0)


@pytest.mark.parametrize(("rtpmap", "rate_hz", "channels"), [("PCMA/16000", 16_000, 1), ("PCMA/8000/2", 8000, 2)])
@pytest.mark.parametrize("packet_s", [0.02, 0.256])
def test_g711_that_is_really_other(tmp_path: Path, rtpmap: str, rate_hz: int, channels: int, packet_s: float) -> None:
    sender, size = RtpSender(1, 97, 9), int(rate_hz * packet_s) * channels
    samples = tone("pcm_alaw", 8, rate_hz, channels)
    sound = [
        sender.packet(samples[at : at + size], at // channels, at / channels / rate_hz)
        for at in range(0, len(samples) - size + 1, size)
    ]
    is_heard(play(tmp_path, audio_section(rtpmap), sound))


def odd_g711(rtpmap: str, ticks: int, packet_s: float) -> list[Sent]:
    """Plain G.711 whose timestamps have ``ticks`` a byte."""
    sender, size = RtpSender(1, 97, 9), int(8000 * packet_s)
    samples = tone("pcm_alaw" if rtpmap.startswith("PCMA") else "pcm_mulaw")
    return [
        sender.packet(samples[at : at + size], at * ticks, at / 8000) for at in range(0, len(samples) - size + 1, size)
    ]


def test_the_format_that_is_sent_changes(tmp_path: Path) -> None:
    changed = [
        *(sent for sent in g711(0.02, 0, "pcm_mulaw") if sent.at_s < 4),
        *(sent for sent in g711(0.02, 8, "pcm_alaw") if sent.at_s >= 4),
    ]
    found = play(tmp_path, FORMATS.format("0 8"), changed)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + len(found.files))
    # Both become AAC, so that the file goes on.
    assert len(found.files) == 1
    assert found.files[0].heard_s > 6.0


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("is_aac_first", [True, False])
def test_the_codec_that_is_sent_changes(tmp_path: Path, is_announced: bool, is_aac_first: bool) -> None:
    """LL-HLS begins anew with the next keyframe, the file goes on."""
    frames, config = aac_frames(125)
    sender = RtpSender(1, 97, 9)
    coded = [sender.packet(several([frame]), at * 1024, at * 0.064, marker=True) for at, frame in enumerate(frames)]
    before, after = (coded, g711(0.02, 8)) if is_aac_first else (g711(0.02, 8), coded)
    types = "97 8" if is_aac_first else "8 97"
    section = audio_section("MPEG4-GENERIC/16000/1", fmtp=f"{HBR};config={config}")
    section = section.replace("AVP 97", f"AVP {types if is_announced or not is_aac_first else '97'}")
    sound = [*(sent for sent in before if sent.at_s < 4), *(sent for sent in after if sent.at_s >= 4)]
    found = play(tmp_path, section, sound)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + 1)
    assert [each.heard_s > 2.4 for each in found.live] == [True, True]
    assert found.files[0].heard_s > 5.5
