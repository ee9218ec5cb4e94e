"""The engines that pull RTSP at a real RTSP server: one suite over PyAV's and our own, much of it over OpenCV's too."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType

from gateway.capture.engine import CaptureSource
from gateway.capture.engines.opencv import OpenCVCaptureEngine
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.codec.annexb import nal_units
from gateway.codec.parameter_sets import find_parameter_sets
from gateway.errors import (
    CameraEndedError,
    CameraRefusedError,
    CameraTimeoutError,
    CameraUnauthorizedError,
    NoVideoError,
)
from gateway.media import Packet
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.certificate import self_signed
from tests.support.hostile import HostileServer, interleaved, rtsp
from tests.support.rtsp import AWKWARD, VIEWER, RtspServer

Engine = type[PyAVCaptureEngine] | type[BlockingRtspEngine] | type[OpenCVCaptureEngine]
Pull = Callable[..., list[Packet]]


@pytest.fixture(params=[PyAVCaptureEngine, BlockingRtspEngine], ids=["pyav", "rtsp"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the engines."""
    chosen: Engine = request.param
    return chosen


with_opencv = pytest.mark.parametrize(
    "engine",
    [PyAVCaptureEngine, BlockingRtspEngine, OpenCVCaptureEngine],
    ids=["pyav", "rtsp", "opencv"],
    indirect=True,
)
"""Also over the engine that decodes and encodes: what does not depend on the packets."""


@pytest.fixture
def pull(engine: Engine) -> Pull:
    """Takes the first ``count`` packets of a camera."""

    def take(url: str, count: int, run: int = 0) -> list[Packet]:
        packets = engine(CaptureSource("camera", url, run=run)).packets()
        taken = list(islice(packets, count))
        packets.close()  # type: ignore[attr-defined]
        return taken

    return take


def keeps_the_rules(packets: list[Packet]) -> None:
    """The rules of gateway.media, for one run."""
    video = [packet for packet in packets if packet.is_video]
    audio = [packet for packet in packets if not packet.is_video]
    assert packets[0].is_video
    assert packets[0].is_keyframe
    for track in (video, audio):
        assert all(after.dts_90k > before.dts_90k for before, after in pairwise(track))
        assert all(packet.pts_90k >= packet.dts_90k for packet in track)
    for before, after in pairwise(video):
        assert after.is_keyframe or before.info == after.info
    for packet in video:
        assert packet.data[:3] in {b"\x00\x00\x00", b"\x00\x00\x01"}
        if packet.is_keyframe and (inside := find_parameter_sets(packet.info.video.codec, packet.data)):
            assert inside.annex_b == packet.info.video.parameter_sets


def decodes(packets: list[Packet]) -> set[tuple[int, int]]:
    """Decode the video and return the sizes of its frames."""
    first = packets[0].info.video
    decoder = av.CodecContext.create(first.codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = first.parameter_sets
    video = [packet for packet in packets if packet.is_video]
    frames = [frame for packet in video for frame in decoder.decode(av.Packet(packet.data))]
    frames += decoder.decode(None)
    assert len(frames) == len(video)
    return {(frame.width, frame.height) for frame in frames}


@pytest.mark.parametrize(
    ("mount", "codec_string", "has_b_frames"),
    [
        ("/video", "avc1.42c0", False),
        ("/high", "avc1.64", False),
        ("/sdponly", "avc1.42c0", False),
        ("/bframes", "avc1.4d40", True),
        ("/hevc", "hvc1.1.6.L", False),
        ("/udp", "avc1.42c0", False),
    ],
)
def test_every_kind_of_video(
    pull: Pull, rtsp_server: RtspServer, mount: str, codec_string: str, has_b_frames: bool
) -> None:
    packets = pull(rtsp_server.url(mount), 16, run=4)
    keeps_the_rules(packets)
    video = packets[0].info.video
    assert video.codec_string.startswith(codec_string)
    assert (video.width, video.height, video.has_b_frames) == (320, 240, has_b_frames)
    assert video.frame_rate == 25
    assert {packet.run for packet in packets} == {4}
    assert decodes(packets) == {(320, 240)}
    if not has_b_frames:
        assert all(packet.pts_90k == packet.dts_90k for packet in packets)


@pytest.mark.parametrize(
    ("mount", "codec", "codec_string", "rate_hz", "channels"),
    [("/cam", "pcm_alaw", "alaw", 8000, 1), ("/aac", "aac", "mp4a.40.2", 48_000, 2)],
)
def test_audio_comes_with_the_video(
    pull: Pull, rtsp_server: RtspServer, mount: str, codec: str, codec_string: str, rate_hz: int, channels: int
) -> None:
    packets = pull(rtsp_server.url(mount), 36)
    keeps_the_rules(packets)
    audio = [packet for packet in packets if not packet.is_video]
    assert audio
    described = audio[0].info.audio
    assert described is not None
    assert (described.codec, described.codec_string) == (codec, codec_string)
    assert (described.sample_rate_hz, described.channels) == (rate_hz, channels)
    assert len(described.extradata) >= 2 or codec != "aac"
    # Both tracks are on one timeline: what came together is together in it.
    video = [packet for packet in packets if packet.is_video]
    assert abs(video[-1].dts_90k - audio[-1].dts_90k) < 90_000
    assert abs(video[-1].captured_at_90k - audio[-1].captured_at_90k) < 90_000


def test_a_change_of_size_is_a_new_stream(engine: Engine, rtsp_server: RtspServer) -> None:
    packets = []
    infos = []
    for packet in engine(CaptureSource("camera", rtsp_server.url("/resize"))).packets():
        packets.append(packet)
        if packet.info not in infos:
            infos.append(packet.info)
            assert packet.is_keyframe
        if len(infos) > 1 and len(packets) > 30:
            break
    keeps_the_rules(packets)
    assert {(info.video.width, info.video.height) for info in infos} == {(320, 240), (480, 360)}


def test_b_frames_are_still_reported_after_a_gop(pull: Pull, rtsp_server: RtspServer) -> None:
    packets = pull(rtsp_server.url("/bframes"), 60)
    assert sum(packet.is_keyframe for packet in packets) == 2
    assert all(packet.info.video.has_b_frames for packet in packets)
    assert len({id(packet.info) for packet in packets}) == 1
    keeps_the_rules(packets)
    assert any(packet.pts_90k > packet.dts_90k for packet in packets)
    presented = sorted(packet.pts_90k for packet in packets)
    assert all(after > before for before, after in pairwise(presented))


@pytest.mark.parametrize("mount", ["/cam", "/hevc"])
def test_frames_do_not_wait_for_the_next_one(engine: Engine, rtsp_server: RtspServer, mount: str) -> None:
    pulling = engine(CaptureSource("camera", rtsp_server.url(mount)))
    assert not isinstance(pulling, OpenCVCaptureEngine)
    seen = 0
    for packet in pulling.packets():
        seen += packet.is_video
        assert seen < 100
        if pulling.is_low_latency:
            pulling.interrupt()
    assert pulling.is_low_latency


@with_opencv
@pytest.mark.parametrize(("user", "password"), [VIEWER, AWKWARD])
def test_awkward_credentials(pull: Pull, rtsp_server: RtspServer, user: str, password: str) -> None:
    assert pull(rtsp_server.guarded_url(user=user, password=password), 1)
    raw = f"rtsp://{user}:{password.replace('%', '%25')}@127.0.0.1:{rtsp_server.guarded_port}/video"
    assert pull(raw, 1)


@with_opencv
@pytest.mark.parametrize("userinfo", ["viewer:hunter2@", "", "nobody:p%40ss%3Aword@"])
def test_wrong_credentials(pull: Pull, rtsp_server: RtspServer, userinfo: str) -> None:
    with pytest.raises(CameraUnauthorizedError, match="user and password") as raised:
        pull(f"rtsp://{userinfo}127.0.0.1:{rtsp_server.guarded_port}/video", 1)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@with_opencv
def test_a_wrong_path(pull: Pull, rtsp_server: RtspServer) -> None:
    with pytest.raises(CameraRefusedError, match="path"):
        pull(rtsp_server.url("/nowhere"), 1)


@with_opencv
def test_no_video_that_can_be_passed_on(pull: Pull, rtsp_server: RtspServer) -> None:
    with pytest.raises(NoVideoError, match="no video"):
        pull(rtsp_server.url("/audio"), 1)


def test_motion_jpeg_is_passed_on_picture_by_picture(pull: Pull, rtsp_server: RtspServer) -> None:
    packets = pull(rtsp_server.url("/mjpeg"), 5)
    assert all(each.is_keyframe and each.data.startswith(b"\xff\xd8") for each in packets)
    video = packets[0].info.video
    assert (video.codec, video.width, video.height, video.has_b_frames) == ("mjpeg", 320, 240, False)
    assert len({each.info for each in packets}) == 1
    times = [each.pts_90k for each in packets]
    assert times == sorted(set(times))
    picture = cv2.imdecode(np.frombuffer(packets[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (240, 320, 3)


@with_opencv
def test_a_camera_that_dies(pull: Pull, engine: Engine, own_rtsp_server: RtspServer) -> None:
    packets = engine(CaptureSource("camera", own_rtsp_server.url("/cam"))).packets()
    next(packets)
    own_rtsp_server.kill()
    with pytest.raises(CameraEndedError):
        list(packets)
    own_rtsp_server.start()
    assert pull(own_rtsp_server.url("/cam"), 1)


@with_opencv
def test_a_camera_that_freezes(engine: Engine, own_rtsp_server: RtspServer) -> None:
    packets = engine(CaptureSource("camera", own_rtsp_server.url("/video"), timeout_s=2.0)).packets()
    next(packets)
    own_rtsp_server.freeze()
    with pytest.raises(CameraTimeoutError, match="CAPTURE_TIMEOUT"):
        list(packets)


def test_parameter_sets_can_be_split(pull: Pull, rtsp_server: RtspServer) -> None:
    info = pull(rtsp_server.url("/hevc"), 1)[0].info
    assert len(list(nal_units(info.video.parameter_sets))) == 3


def test_b_frames_that_never_come_are_reported_for_one_gop(pull: Pull) -> None:
    def play() -> Iterator[bytes]:
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt, context.framerate = 160, 96, "yuv420p", Fraction(25)
        context.time_base = Fraction(1, 25)
        context.options = {"preset": "fast", "x264-params": "log=-1:bframes=2:keyint=10:rc-lookahead=3:threads=1"}
        picture = np.full((144, 160), 90, np.uint8)
        for number in range(200):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.pict_type = number, PictureType.I if number % 10 == 0 else PictureType.P
            units = [unit for packet in context.encode(frame) for unit in nal_units(bytes(packet))]
            yield from interleaved(iter([(unit, number * 3600) for unit in units]), 0.002)

    with HostileServer(rtsp(play=play)) as server:
        packets = pull(server.url, 30)
    reported = [packet.info.video.has_b_frames for packet in packets if packet.is_keyframe]
    assert reported == [True, False, False]
    assert [packet.info.video.has_b_frames for packet in packets] == [True] * 10 + [False] * 20
    keeps_the_rules(packets)


@with_opencv
@pytest.mark.integration
def test_rtsps_with_a_self_signed_certificate(pull: Pull, tmp_path: Path) -> None:
    with RtspServer(self_signed(tmp_path)) as server:
        packets = pull(f"rtsps://viewer:p@ss:word@127.0.0.1:{server.tls_port}/video", 5)
        keeps_the_rules(packets)
        with pytest.raises(CameraUnauthorizedError):
            pull(f"rtsps://viewer:hunter2@127.0.0.1:{server.tls_port}/video", 1)
