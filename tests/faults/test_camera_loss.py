"""Misbehaving cameras: packets that are lost. RTP goes in, LL-HLS and recordings come out.

Nothing broken is shown: pictures are missing up to the next intact keyframe. Playlist and file go on.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.capture.counters import CaptureCounters
from tests.support.camera_media import FPS, TICK, camera_with_clock, coded, good_video, is_good, packets_of
from tests.support.camera_outputs import outputs, receive
from tests.support.rtsp_camera import RtpSender, Sent, audio_section, sdp, video_section


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


@pytest.mark.parametrize("hevc", [False, True], ids=["h264", "h265"])
@pytest.mark.parametrize(("seconds", "kept"), [(3, 0), (13, 7)])
def test_a_burst_of_losses(tmp_path: Path, seconds: int, kept: int, hevc: bool) -> None:
    """Of what is sent for some seconds, all is lost, or all but every seventh packet."""
    sender = RtpSender(hevc=hevc)
    media = [
        sent
        for number, units in enumerate(coded(100, 25, "" if hevc else ":slices=1", hevc=hevc) * 5)
        for sent in sender.picture(units, number * TICK, number / FPS)
    ]
    left = [
        sent
        for number, sent in enumerate(media)
        if not 4.04 <= sent.at_s < 4 + seconds or (kept and number % kept == 0)
    ]
    received = packets_of(left, "H265" if hevc else "H264")
    found = outputs(received, tmp_path)
    assert [each.errors for each in (*found.live, *found.files)] == [[]] * (len(found.live) + 1)
    assert sum(len(each.times) for each in found.files) >= (19 - seconds) * FPS
    if hevc or seconds < 12:
        assert len(found.live) == 1


def renumbered(media: list[Sent], change: Callable[[int], int]) -> list[Sent]:
    """With other sequence numbers."""
    return [
        replace(sent, data=sent.data[:2] + (change(number) & 0xFFFF).to_bytes(2, "big") + sent.data[4:])
        for number, sent in enumerate(media)
    ]


def unrelated(number: int) -> int:
    return Random(number).randrange(1 << 16)


def few_values(number: int) -> int:
    return Random(number).randrange(100)


def back_and_forth(number: int) -> int:
    return number + Random(number).randrange(-3, 4)


def now_and_then_unrelated(number: int) -> int:
    return number if number % 10 else Random(number).randrange(1 << 16)


@pytest.mark.parametrize(
    "change",
    [
        lambda number: number + (30_000 if number >= 230 else 0),
        lambda number: number - (30_000 if number >= 230 else 0),
        lambda number: 2 * number,
        lambda number: number << 8 | number >> 8,
        lambda number: -number,
        lambda number: number & 0xFF,
        unrelated,
        few_values,
        back_and_forth,
        now_and_then_unrelated,
    ],
    ids=[
        "jump",
        "jump-back",
        "every-second",
        "little-endian",
        "decreasing",
        "eight-bits",
        "unrelated",
        "few-values",
        "back-and-forth",
        "now-and-then-unrelated",
    ],
)
def test_sequence_numbers_that_say_nothing_over_tcp(tmp_path: Path, change: Callable[[int], int]) -> None:
    pictures = coded(100, 25, ":slices=4") * 2
    sender = RtpSender()
    media = [
        sent for number, units in enumerate(pictures) for sent in sender.picture(units, number * TICK, number / 25)
    ]
    is_good(outputs(packets_of(renumbered(media, change)), tmp_path), 200)


def test_sequence_numbers_that_count_all_tracks_together(tmp_path: Path) -> None:
    sound = RtpSender(1, 97, 9)
    media = [*good_video(8)]
    media += [sound.packet(bytes(160), number * 160, number / 50) for number in range(400)]
    media.sort(key=lambda sent: sent.at_s)
    description = sdp(video_section(), audio_section("PCMA/8000"))
    received, _ = receive(description, renumbered(media, lambda number: number))
    is_good(outputs(received, tmp_path), 175, 175 / 8)


@pytest.mark.parametrize("kind", ["unannounced", "announced later", "changes", "interspersed", "static"])
def test_payload_types_that_are_not_announced(tmp_path: Path, kind: str) -> None:
    sender = RtpSender()
    media: list[Sent] = []
    for number, units in enumerate(coded(100, 25, ":slices=4") * 2):
        other = {"unannounced": True, "announced later": number < 30, "changes": number >= 40}.get(kind, False)
        sender.payload_type = 99 if other else 0 if kind == "static" else 96
        media += sender.picture(units, number * TICK, number / FPS)
        if kind == "interspersed":
            sender.payload_type = 101
            media.append(sender.packet(b"other", number * TICK, number / FPS))
    # Where it is known that types mean something, a few packets of another one are not enough. Nor are they of a type
    # that has a meaning of its own.
    count = {"changes": 190, "static": 175}.get(kind, 200)
    is_good(outputs(packets_of(media), tmp_path), count, FPS if kind == "static" else count / 8)
