"""OpenCVCaptureEngine at real servers: the frames are the camera's, and the packets follow the rules."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np
import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.capture.engines.opencv import OpenCVCaptureEngine
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.capture.engines.test_pattern import ClockPattern
from gateway.codec.annexb import nal_units
from gateway.errors import (
    CameraRefusedError,
    CameraUnauthorizedError,
    CameraUnreachableError,
    CaptureError,
    NoVideoError,
)
from gateway.media import Packet
from tests.support import hostile
from tests.support.hostile import Handler, HostileServer, interleaved, rtsp
from tests.support.rtsp import RtspServer


def pull(url: str, count: int, timeout_s: float = 5.0, buffer_size: int = 1) -> list[Packet]:
    source = CaptureSource("camera", url, timeout_s, buffer_size, run=2)
    packets = OpenCVCaptureEngine(source).packets()
    taken = list(islice(packets, count))
    packets.close()  # type: ignore[attr-defined]
    return taken


@pytest.mark.parametrize("mount", ["/video", "/mjpeg", "/hevc", "/bframes"])
def test_every_codec_becomes_h264(rtsp_server: RtspServer, mount: str) -> None:
    packets = pull(rtsp_server.url(mount), 20)
    assert packets[0].is_keyframe
    assert all(after.dts_90k > before.dts_90k for before, after in pairwise(packets))
    assert all(after.captured_at_90k >= before.captured_at_90k for before, after in pairwise(packets))
    assert all(packet.pts_90k == packet.dts_90k and packet.run == 2 for packet in packets)
    video = packets[0].info.video
    assert (video.codec, video.width, video.height, video.has_b_frames) == ("h264", 320, 240, False)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = [picture for packet in packets for picture in decoder.decode(av.Packet(packet.data))]
    assert len(pictures) > 10
    assert pictures[-1].to_ndarray(format="rgb24").std() > 20, "the picture is not blank"


def test_a_slow_consumer_gets_new_frames_and_the_old_ones_are_counted(rtsp_server: RtspServer) -> None:
    engine = OpenCVCaptureEngine(CaptureSource("camera", rtsp_server.url("/video"), buffer_size=1))
    packets = engine.packets()
    first = next(packets)
    threading.Event().wait(0.5)
    next(packets)
    newest = next(packets)
    assert engine.counters.frames_dropped > 5
    assert newest.captured_at_90k - first.captured_at_90k > 30_000
    engine.interrupt()
    assert list(packets) == []


def test_why_it_cannot_be_opened(rtsp_server: RtspServer, free_port: int, capfd: pytest.CaptureFixture[str]) -> None:
    cases: list[tuple[str, type[CaptureError], str]] = [
        (f"rtsp://u:hunter2@127.0.0.1:{free_port}/x", CameraUnreachableError, "nothing listens"),
        (f"rtsp://u:hunter2@127.0.0.1:{rtsp_server.guarded_port}/video", CameraUnauthorizedError, "password"),
        (f"rtsp://u:hunter2@127.0.0.1:{rtsp_server.port}/nowhere", CameraRefusedError, "path"),
        (f"rtsp://u:hunter2@127.0.0.1:{rtsp_server.port}/audio", NoVideoError, "another of its streams"),
        ("rtsp://u:hunter2@camera.invalid/x", CameraUnreachableError, "spelling"),
    ]
    for url, error, says in cases:
        with pytest.raises(error, match=says) as raised:
            pull(url, 1)
        assert "hunter2" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("handler", [hostile.say_nothing, hostile.talk_garbage, hostile.hang_up, rtsp()])
def test_hostile_servers(handler: Handler) -> None:
    with HostileServer(handler) as server, pytest.raises(CaptureError, match="check"):
        pull(server.url, 1, timeout_s=0.4)


@pytest.mark.parametrize("handler", [hostile.say_nothing, rtsp()])
def test_an_interrupt_does_not_wait_for_opencv(handler: Handler) -> None:
    with HostileServer(handler) as server:
        engine = OpenCVCaptureEngine(CaptureSource("camera", server.url, timeout_s=1.5))
        taken: list[Packet] = []
        thread = threading.Thread(target=lambda: taken.extend(engine.packets()))
        thread.start()
        assert server.connected.wait(5)
        engine.interrupt()
        thread.join(1)
        assert not thread.is_alive()
        assert taken == []
    for reader in [thread for thread in threading.enumerate() if thread.name.startswith("opencv-")]:
        reader.join(5)
        assert not reader.is_alive()


_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def stream_with_broken_frames() -> Iterator[bytes]:
    """Every fourth frame is broken."""

    def units() -> Iterator[tuple[bytes, int]]:
        encoder, picture = H264Encoder(160, 96, Fraction(25), 1.0), ClockPattern(160, 96)
        for number in range(400):
            pts_90k = number * 3600
            if number % 4 == 3:
                yield b"\x41\x9a" + bytes((number * 7 + index) % 251 for index in range(300)), pts_90k
                continue
            planes = picture.draw(_MOMENT, number * 40)
            for packet in encoder.encode(np.ascontiguousarray(planes), pts_90k, 0):
                for unit in nal_units(packet.data):
                    yield unit, pts_90k

    return interleaved(units(), 0.005)


@pytest.mark.parametrize("engine", [OpenCVCaptureEngine, PyAVCaptureEngine])
def test_single_unreadable_frames_are_skipped(
    engine: type[OpenCVCaptureEngine | PyAVCaptureEngine], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), HostileServer(rtsp(play=stream_with_broken_frames)) as server:
        packets = list(islice(engine(CaptureSource("camera", server.url)).packets(), 30))
    assert len(packets) == 30
    assert all(after.dts_90k > before.dts_90k for before, after in pairwise(packets))
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "mount",
    ["cam", "video", "aac", "large", "high", "bframes", "sdponly", "gop1", "hevc", "resize", "mjpeg", "udp", "ts"],
)
def test_every_kind_of_camera_with_video(rtsp_server: RtspServer, mount: str) -> None:
    first, *more = pull(rtsp_server.url(mount), 4)
    assert first.is_keyframe
    assert all(packet.is_video for packet in more)
