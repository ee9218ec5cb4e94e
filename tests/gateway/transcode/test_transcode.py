"""A camera's stream through the real process, and what happens when that ends, is too slow, or is not wanted."""

import asyncio
import os
import signal
import time
from fractions import Fraction
from typing import Any

import av
import pytest

from gateway.errors import UnavailableError
from gateway.media import AudioInfo, Packet
from gateway.status import TranscodeState
from gateway.transcode.limit import TOLD_S, TranscodeLimit
from gateway.transcode.transcode import Transcode
from tests.support.eventually import eventually
from tests.support.sources.encoded import EncoderSettings, encode
from tests.support.sources.encoded_loop import AudioLoop, EncodedLoop, EncodedLoopEngine, encode_loop
from tests.support.webrtc import Cameras, camera_with

__all__ = ["camera_with"]

SOUND = AudioLoop(AudioInfo("pcm_alaw", "", 8000, 1), 1800, (b"\xd5\x95" * 80,))


def hevc_loop(width: int = 320, height: int = 180, seconds: float = 2) -> EncodedLoop:
    packets = encode(EncoderSettings(seconds=seconds, fps=10, gop=10, width=width, height=height, hevc=True))
    frames = tuple((packet.data, packet.is_keyframe, 0) for packet in packets)
    return EncodedLoop(packets[0].info.video, 10, frames)


def collect(transcode: Transcode) -> list[Packet]:
    """What is published from now on."""
    packets: list[Packet] = []
    transcode.hub.attach(packets.append)
    return packets


def decoded(packets: list[Packet]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames: list[av.VideoFrame] = []
    for packet in packets:
        if packet.is_video:
            coded: Any = av.Packet(packet.data)
            coded.pts, coded.time_base = packet.pts_90k, Fraction(1, 90_000)
            frames += decoder.decode(coded)
    return frames


def pictures(packets: list[Packet]) -> int:
    return sum(packet.is_video for packet in packets)


@pytest.mark.parametrize("kind", ["H.265", "B-frames"])
async def test_pictures_keep_their_times_and_sound_is_passed_on(kind: str, camera_with: Cameras) -> None:
    loop = hevc_loop() if kind == "H.265" else encode_loop(b_frames=2, profile="main")
    camera = camera_with(loop, SOUND)
    source: list[Packet] = []
    camera.hub.attach(source.append)
    transcode = camera.transcode
    made = collect(transcode)
    hold = transcode.hold("webrtc")
    await transcode.wait_for_keyframe(30)
    await eventually(lambda: pictures(made) > 15 and pictures(made) < len(made), "pictures and sound come")
    captured = {packet.pts_90k: packet.captured_at_90k for packet in source if packet.is_video}
    video = [packet for packet in made if packet.is_video]
    assert video[0].is_keyframe
    assert [packet.pts_90k for packet in video] == sorted({packet.pts_90k for packet in video})
    assert all(packet.dts_90k == packet.pts_90k for packet in video)
    assert all(packet.captured_at_90k == captured[packet.pts_90k] for packet in video)
    info = video[0].info
    assert (info.video.codec, info.video.has_b_frames, info.audio) == ("h264", False, source[0].info.audio)
    assert info.video.codec_string.startswith("avc1.42")
    assert {packet.run for packet in made} == {1}
    frames = decoded(made)
    assert len(frames) == len(video)
    assert (frames[0].width, frames[0].height) == (loop.video.width, loop.video.height)
    status = camera.status()
    assert status.transcode is not None
    assert (status.transcode.state, status.transcode.viewers) == (TranscodeState.RUNNING, {"webrtc": 1})
    assert status.viewers["webrtc"] == 1
    hold.release()


async def test_a_large_picture_becomes_720p(camera_with: Cameras) -> None:
    camera = camera_with(hevc_loop(1440, 810, 0.5))
    made = collect(camera.transcode)
    hold = camera.transcode.hold("webrtc")
    await eventually(lambda: pictures(made) > 2, "pictures come")
    assert {(frame.width, frame.height) for frame in decoded(made)} == {(1280, 720)}
    hold.release()


async def test_it_begins_with_the_first_viewer_and_ends_a_linger_after_the_last(camera_with: Cameras) -> None:
    camera = camera_with(hevc_loop(), capture_linger=0.2)
    transcode = camera.transcode
    assert transcode.pid is None
    assert camera.status().transcode is None
    holds = [transcode.hold("webrtc") for _ in range(2)]
    await transcode.wait_for_keyframe(30)
    pid = transcode.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    holds.pop().release()
    holds.pop().release()
    holds.append(transcode.hold("webrtc"))  # within the linger
    await asyncio.sleep(0.3)
    assert transcode.pid == pid
    holds.pop().release()
    await eventually(lambda: transcode.pid is None and not camera.is_wanted, "the process has ended")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not transcode.hub.gop
    assert transcode.counters.crashes == 0


async def test_a_process_that_is_killed_is_told_and_started_again(
    camera_with: Cameras, caplog: pytest.LogCaptureFixture
) -> None:
    camera = camera_with(hevc_loop())
    transcode = camera.transcode
    made = collect(transcode)
    hold = transcode.hold("webrtc")
    await transcode.wait_for_keyframe(30)
    pid = transcode.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: transcode.counters.crashes, "the crash is counted")
    assert "has ended by signal 9" in caplog.text
    await eventually(lambda: {packet.run for packet in made} == {1, 2}, "pictures come again")
    later = [packet for packet in made if packet.run == 2]
    assert later[0].is_keyframe
    assert later[0].captured_at_90k > made[0].captured_at_90k
    assert transcode.counters.crashes == 1
    assert transcode.status() is not None
    hold.release()


async def test_a_process_that_is_stopped_costs_the_camera_nothing_and_drops_to_a_keyframe(
    camera_with: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.transcode.transcode.QUEUE_MAX_PACKETS", 5)
    monkeypatch.setattr("gateway.transcode.transcode.QUEUE_MAX_BYTES", 1_000)
    # Two pictures fill the pipe.
    camera = camera_with(encode_loop(b_frames=2, profile="main", bit_rate=8_000_000))
    transcode = camera.transcode
    made = collect(transcode)
    hold = transcode.hold("webrtc")
    await transcode.wait_for_keyframe(30)
    assert transcode.pid is not None
    os.kill(transcode.pid, signal.SIGSTOP)
    published, dropped = camera.hub.packets_published, transcode.counters.packets_dropped
    await eventually(lambda: transcode.counters.packets_dropped > dropped + 10, "packets are dropped")
    assert camera.hub.packets_published > published + 10
    os.kill(transcode.pid, signal.SIGCONT)
    before = pictures(made)
    await eventually(lambda: pictures(made) > before + 10, "pictures come again")
    assert transcode.counters.crashes == 0
    hold.release()


async def test_the_limit_is_told_and_a_place_is_given_back(camera_with: Cameras) -> None:
    limit = TranscodeLimit(1)
    cameras = [camera_with(hevc_loop(), camera_id=name) for name in ("one", "two")]
    for camera in cameras:
        camera.transcode._limit = limit
    hold = cameras[0].transcode.hold("webrtc")
    second = cameras[0].transcode.hold("webrtc")
    with pytest.raises(UnavailableError, match=r"as many cameras are transcoded .* \(1, TRANSCODE_MAX\)"):
        cameras[1].transcode.hold("webrtc")
    assert (limit.running, limit.refused) == (1, 1)
    now = time.monotonic()
    assert limit.refused_cameras(now) == ["two"]
    assert limit.refused_cameras(now + TOLD_S + 1) == []
    hold.release()
    second.release()
    await eventually(lambda: limit.running == 0, "the place is given back")
    cameras[1].transcode.hold("webrtc")
    assert limit.refused_cameras(now) == []


async def test_a_transcode_without_a_viewer_leaves_its_place_to_another_camera(camera_with: Cameras) -> None:
    limit = TranscodeLimit(2)
    cameras = [camera_with(hevc_loop(), camera_id=name, capture_linger=60) for name in ("one", "two", "three")]
    one, two, three = (camera.transcode for camera in cameras)
    for transcode in (one, two, three):
        transcode._limit = limit
    holds = [one.hold("webrtc"), two.hold("webrtc")]
    await one.wait_for_keyframe(30)
    holds[1].release()
    holds[0].release()
    holds.append(two.hold("webrtc"))
    third = three.hold("webrtc")
    assert (limit.running, limit.refused) == (2, 0)
    with pytest.raises(UnavailableError, match="TRANSCODE_MAX"):
        one.hold("webrtc")
    await eventually(lambda: one.state is TranscodeState.IDLE, "the one that nobody watches has ended")
    await three.wait_for_keyframe(30)
    assert limit.running == 2
    third.release()
    fourth = one.hold("webrtc")
    await one.wait_for_keyframe(30)
    assert limit.running == 2
    fourth.release()
    await asyncio.gather(*(transcode.aclose() for transcode in (one, two, three)))
    assert limit.running == 0


async def test_a_viewer_that_comes_while_its_transcode_is_ended_for_another_gets_the_next_place(
    camera_with: Cameras,
) -> None:
    limit = TranscodeLimit(1)
    cameras = [camera_with(hevc_loop(), camera_id=name, capture_linger=60) for name in ("one", "two")]
    one, two = (camera.transcode for camera in cameras)
    one._limit = two._limit = limit
    one.hold("webrtc").release()
    other = two.hold("webrtc")
    with pytest.raises(UnavailableError, match="TRANSCODE_MAX"):
        one.hold("webrtc")
    other.release()
    hold = one.hold("webrtc")
    await one.wait_for_keyframe(30)
    assert limit.running == 1
    hold.release()
    await eventually(lambda: two.state is TranscodeState.IDLE, "the other one has ended")
    await asyncio.gather(one.aclose(), two.aclose())
    assert limit.running == 0


async def test_a_process_that_hangs_is_killed_and_started_again(
    camera_with: Cameras, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.transcode.watchdog.HUNG_S", 1.5)
    monkeypatch.setattr("gateway.transcode.transcode.WATCH_S", 0.1)
    camera = camera_with(hevc_loop())
    transcode = camera.transcode
    made = collect(transcode)
    hold = transcode.hold("webrtc")
    await transcode.wait_for_keyframe(30)
    assert transcode.pid is not None
    os.kill(transcode.pid, signal.SIGSTOP)
    await eventually(lambda: {packet.run for packet in made} == {1, 2}, "pictures come again")
    assert transcode.counters.crashes == 1
    assert "has made nothing of" in caplog.text
    hold.release()


async def test_a_camera_that_changes_its_stream_begins_another_run(camera_with: Cameras) -> None:
    camera = camera_with(hevc_loop())
    made = collect(camera.transcode)
    hold = camera.transcode.hold("webrtc")
    await camera.transcode.wait_for_keyframe(30)
    EncodedLoopEngine.showing["loop"] = (encode_loop(b_frames=2, profile="main", width=320, height=240), None)
    await eventually(lambda: made[-1].run > 1, "the other stream comes")
    first = next(packet for packet in made if packet.run > 1)
    assert first.is_keyframe
    assert (first.info.video.width, first.info.video.height) == (320, 240)
    hold.release()


async def test_a_join_makes_a_keyframe_but_not_more_than_one_a_second(camera_with: Cameras) -> None:
    camera = camera_with(hevc_loop())
    transcode = camera.transcode
    made = collect(transcode)
    holds = [transcode.hold("webrtc")]
    await transcode.wait_for_keyframe(30)
    await eventually(lambda: pictures(made) > 12, "the first second is over")
    holds += [transcode.hold("webrtc") for _ in range(5)]
    await eventually(lambda: sum(packet.is_keyframe and packet.is_video for packet in made) == 2, "a keyframe is made")
    count = pictures(made)
    await eventually(lambda: pictures(made) > count + 3, "more pictures come")
    assert sum(packet.is_keyframe and packet.is_video for packet in made) == 2
    for hold in holds:
        hold.release()
