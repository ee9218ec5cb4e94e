"""Misbehaving cameras: each gives one clear error, can be interrupted at once, and leaves no thread."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import count, cycle, pairwise

import pytest

from gateway.capture.engine import CaptureSource
from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.capture.engines.test_pattern import ClockPattern
from gateway.capture.packets import KEYFRAME_TIMEOUT_S
from gateway.clock import CLOCK_RATE
from gateway.codec.annexb import nal_units
from gateway.errors import (
    CameraEndedError,
    CameraRefusedError,
    CameraTimeoutError,
    CameraUnauthorizedError,
    CameraUnreachableError,
    CaptureError,
    NoVideoError,
)
from gateway.media import Packet
from tests.support import hostile
from tests.support.blocking_engine import BlockingRtspEngine
from tests.support.hostile import Handler, HostileServer, interleaved, rtsp
from tests.support.rtsp import RtspServer

SPROP = ";sprop-parameter-sets=Z0LAFdoGx+hAAAADAEAAAAyjxYuo,aM48gA=="
LONG_S = 60.0
"""A timeout in seconds that an interrupt must not wait for."""


def slices() -> Iterator[bytes]:
    """A stream without SPS and PPS."""
    return interleaved((b"\x65" + bytes(range(1, 200)), number * 3600) for number in count())


def garbage_after_play() -> Iterator[bytes]:
    return cycle([bytes(range(256)) * 16])


def garbage_as_video() -> Iterator[bytes]:
    """Valid RTP with invalid NAL units."""
    kinds = cycle([b"\x00", b"\x7c\x85", b"\x78\xff\xff", b"\x65", b"\x67", b"\x1f"])
    return interleaved((next(kinds) + b"\xff" * 50, number * 3600) for number in count())


Engine = type[PyAVCaptureEngine] | type[BlockingRtspEngine]


@pytest.fixture(params=[PyAVCaptureEngine, BlockingRtspEngine], ids=["pyav", "rtsp"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the engines that pull RTSP."""
    chosen: Engine = request.param
    return chosen


class Pull:
    """An engine in a thread of its own, as the runner drives it."""

    def __init__(self, kind: Engine, url: str, timeout_s: float = LONG_S) -> None:
        self.engine = kind(CaptureSource("camera", url, timeout_s))
        self.packets: list[Packet] = []
        self.error: Exception | None = None
        self.first = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for packet in self.engine.packets():
                self.packets.append(packet)
                self.first.set()
        except Exception as error:
            self.error = error

    def end(self) -> Exception | None:
        """Wait until it ends without an interrupt."""
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.error

    def interrupt(self) -> None:
        """Interrupt it; it must end soon and without an error."""
        self.engine.interrupt()
        self.thread.join(5)
        assert not self.thread.is_alive(), "the interrupt did not end it"
        assert self.error is None


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread.name


@pytest.mark.parametrize(
    ("handler", "error", "says"),
    [
        (hostile.say_nothing, CameraTimeoutError, "did not answer within 0.4 s.*CAPTURE_TIMEOUT"),
        (hostile.drip, CameraTimeoutError, "CAPTURE_TIMEOUT"),
        (hostile.hang_up, CaptureError, "check the port|RTSP port"),
        (hostile.talk_garbage, CaptureError, "check|CAPTURE_TIMEOUT"),
        (hostile.speak_http, NoVideoError, "not RTSP"),
        (rtsp({"DESCRIBE": 400}), CameraRefusedError, "web page"),
        (rtsp({"DESCRIBE": 401}), CameraUnauthorizedError, "user and password"),
        (rtsp({"DESCRIBE": 403}), CameraUnauthorizedError, "right"),
        (rtsp({"DESCRIBE": 404}), CameraRefusedError, "path"),
        (rtsp({"DESCRIBE": 503}), CameraRefusedError, "restart"),
        (rtsp({"SETUP": 453}), CameraRefusedError, "too many viewers"),
        (rtsp({"SETUP": 461}), CameraRefusedError, "TCP or UDP"),
        (rtsp({"PLAY": 455}), CameraRefusedError, "refused"),
        (rtsp(sprop=SPROP), CameraTimeoutError, "CAPTURE_TIMEOUT"),
        (rtsp(sprop=SPROP, play=garbage_after_play), CameraEndedError, "not RTSP in its stream"),
    ],
)
def test_each_gives_one_clear_error(engine: Engine, handler: Handler, error: type[CaptureError], says: str) -> None:
    with HostileServer(handler) as server:
        # Where the camera answers, the time is not what is tested.
        raised = Pull(engine, server.url, timeout_s=0.4 if error is CameraTimeoutError else 5.0).end()
    assert isinstance(raised, error), raised
    message = str(raised)
    assert "\n" not in message
    assert "hunter2" not in message
    assert f"127.0.0.1:{server.port}" in message
    with pytest.raises(error, match=says):
        raise raised


def test_nothing_listens(engine: Engine, free_port: int) -> None:
    raised = Pull(engine, f"rtsp://u:hunter2@127.0.0.1:{free_port}/x").end()
    assert isinstance(raised, CameraUnreachableError)
    assert "nothing listens" in str(raised)
    assert "hunter2" not in str(raised)


@pytest.mark.parametrize("url", ["ftp://u:hunter2@camera/x", "tcp://u:hunter2@camera:1/x", "file:x", "camera", ""])
def test_urls_that_are_not_of_a_camera(engine: Engine, url: str) -> None:
    raised = Pull(engine, url).end()
    assert isinstance(raised, CaptureError)
    assert "rtsp://" in str(raised)
    assert "hunter2" not in str(raised)


def test_no_such_name(engine: Engine) -> None:
    raised = Pull(engine, "rtsp://u:hunter2@camera.invalid/x").end()
    assert isinstance(raised, CameraUnreachableError)
    assert "camera.invalid" in str(raised)
    assert "hunter2" not in str(raised)


@pytest.mark.parametrize(
    "handler",
    [
        hostile.say_nothing,
        hostile.drip,
        rtsp(),
        rtsp(sprop=SPROP),
        rtsp(sprop=SPROP, play=garbage_after_play),
        rtsp(sprop=SPROP, play=garbage_as_video),
        rtsp(play=slices),
    ],
    ids=["silent", "drip", "silent-after-play", "silent-with-sdp", "garbage", "garbage-in-rtp", "no-parameter-sets"],
)
def test_an_interrupt_ends_it_in_every_state(engine: Engine, handler: Handler) -> None:
    with HostileServer(handler) as server:
        pull = Pull(engine, server.url)
        assert server.connected.wait(5)
        pull.interrupt()


@pytest.mark.parametrize("freeze", [False, True])
def test_an_interrupt_ends_it_while_it_plays(engine: Engine, own_rtsp_server: RtspServer, freeze: bool) -> None:
    pull = Pull(engine, own_rtsp_server.url("/cam"))
    assert pull.first.wait(10)
    if freeze:
        own_rtsp_server.freeze()
    pull.interrupt()


def test_audio_alone_does_not_keep_a_run_alive(engine: Engine, own_rtsp_server: RtspServer) -> None:
    pull = Pull(engine, own_rtsp_server.url("/halfdead"), timeout_s=1.0)
    raised = pull.end()
    assert isinstance(raised, CameraTimeoutError)
    assert "no picture" in str(raised)
    assert not pull.packets[-1].is_video


def video_and_then(tail: Iterator[bytes]) -> Callable[[], Iterator[bytes]]:
    def play() -> Iterator[bytes]:
        encoder, picture = H264Encoder(160, 96, Fraction(25), 1.0), ClockPattern(160, 96)
        for number in range(10):
            planes = picture.draw(datetime(2026, 1, 1, tzinfo=UTC), number * 40)
            packets = encoder.encode(planes, number * 3600, 0)
            yield from interleaved((unit, number * 3600) for packet in packets for unit in nal_units(packet.data))
        yield from tail

    return play


def test_stray_bytes_between_packets_are_skipped_and_counted() -> None:
    def stray() -> Iterator[bytes]:
        for chunk in video_and_then(iter(()))():
            yield b"\x00stray\x00"
            yield chunk

    with HostileServer(rtsp(play=stray)) as server:
        pulling = BlockingRtspEngine(CaptureSource("camera", server.url))
        packets = pulling.packets()
        assert next(packets).is_keyframe
        packets.close()  # type: ignore[attr-defined]
    assert pulling.counters.rtsp_bytes_skipped >= 7


def test_garbage_while_it_plays(engine: Engine) -> None:
    with HostileServer(rtsp(play=video_and_then(cycle([bytes(range(256)) * 16])))) as server:
        pull = Pull(engine, server.url, timeout_s=0.5)
        raised = pull.end()
    assert isinstance(raised, CameraTimeoutError | CameraEndedError)
    assert pull.packets


def test_payloads_that_make_no_frame_do_not_keep_a_run_alive(engine: Engine) -> None:
    nothing = interleaved((b"\x1f" + b"\xff" * 50, number * 3600) for number in count(10))
    with HostileServer(rtsp(play=video_and_then(nothing))) as server:
        pull = Pull(engine, server.url, timeout_s=0.5)
        raised = pull.end()
    assert isinstance(raised, CameraTimeoutError)
    assert pull.packets


def test_a_session_name_that_is_not_utf_8(engine: Engine) -> None:
    def one_picture() -> Iterator[bytes]:
        encoder, picture = H264Encoder(160, 96, Fraction(25), 1.0), ClockPattern(160, 96)
        for number in range(10):
            packets = encoder.encode(picture.draw(datetime(2026, 1, 1, tzinfo=UTC), number * 40), number * 3600, 0)
            yield from interleaved((unit, number * 3600) for packet in packets for unit in nal_units(packet.data))

    with HostileServer(rtsp(play=one_picture, name="정문 카메라".encode("euc-kr"))) as server:
        pull = Pull(engine, server.url)
        assert pull.first.wait(10), pull.error
        pull.interrupt()


def test_a_jump_of_the_camera_s_clock(engine: Engine) -> None:
    def jumping() -> Iterator[bytes]:
        encoder, picture = H264Encoder(160, 96, Fraction(25), 1.0), ClockPattern(160, 96)
        for number in range(200):
            planes = picture.draw(datetime(2026, 1, 1, tzinfo=UTC), number * 40)
            packets = encoder.encode(planes, number * 3600, 0)
            at = number * 3600 + (0 if number < 20 else 2**31 - 7)
            yield from interleaved(((unit, at) for packet in packets for unit in nal_units(packet.data)), 0.005)

    with HostileServer(rtsp(play=jumping)) as server:
        pull = Pull(engine, server.url)
        while len(pull.packets) < 40:
            assert pull.thread.is_alive()
            threading.Event().wait(0.02)
        pull.interrupt()
    steps = [after.dts_90k - before.dts_90k for before, after in pairwise(pull.packets)]
    assert all(0 < step < 90_000 for step in steps)


def test_an_interrupt_before_the_start_is_kept(engine: Engine, rtsp_server: RtspServer) -> None:
    interrupted = engine(CaptureSource("camera", rtsp_server.url()))
    interrupted.interrupt()
    interrupted.interrupt()
    assert list(interrupted.packets()) == []


def test_an_interrupt_affects_its_own_engine_only(engine: Engine, rtsp_server: RtspServer) -> None:
    one, other = Pull(engine, rtsp_server.url("/cam")), Pull(engine, rtsp_server.url("/cam"))
    assert one.first.wait(10)
    assert other.first.wait(10)
    one.interrupt()
    so_far = len(other.packets)
    while len(other.packets) < so_far + 5:
        assert other.thread.is_alive()
        threading.Event().wait(0.02)
    other.interrupt()


class FastClock:
    """A clock that advances by a second with each reading."""

    def __init__(self) -> None:
        self._now = count()

    def monotonic(self) -> float:
        return float(next(self._now))

    def wall_90k(self) -> int:
        return next(self._now) * CLOCK_RATE


@pytest.mark.parametrize("play", [slices, garbage_as_video])
def test_parameter_sets_that_never_come(engine: Engine, play: Callable[[], Iterator[bytes]]) -> None:
    with HostileServer(rtsp(play=play)) as server:
        source = CaptureSource("camera", server.url, KEYFRAME_TIMEOUT_S * 10)
        with pytest.raises((NoVideoError, CameraEndedError), match=r"restart|keyframe|broke"):
            list(engine(source, FastClock()).packets())
