"""What ``liveedge probe`` says of the rates of a camera."""

from gateway.media import MediaKind, Packet
from tests.support.sources.scripted import INFO
from web.probe import Received, measured_lines

FPS = 15
GOP = 30


def frame(time_90k: int, *, is_keyframe: bool) -> Packet:
    return Packet(MediaKind.VIDEO, bytes(5000), time_90k, time_90k, 0, is_keyframe, 0, INFO, 1)


def frames(count: int, *, burst: int = 0) -> list[Received]:
    """A camera with a keyframe every 2 s. Its first ``burst`` frames come at once, with the times of 0.1 s."""
    live_s = [(burst + number) / FPS for number in range(count - burst)]
    start_s = live_s[0]
    times_s = [start_s - 0.1 * (burst - number) / burst for number in range(burst)] + live_s
    return [
        (max(time_s, start_s) - start_s, frame(round(time_s * 90_000), is_keyframe=number % GOP == 0))
        for number, time_s in enumerate(times_s)
    ]


MEASURED = ["measured   15.00 fps, 0.60 Mbit/s", "keyframes  every 2.00 s"]


def test_rates_are_those_of_the_first_gop() -> None:
    assert list(measured_lines(frames(31))) == MEASURED
    assert list(measured_lines(frames(45))) == MEASURED


def test_a_gop_that_came_as_a_burst_is_measured_by_the_frames_behind_it() -> None:
    assert list(measured_lines(frames(50, burst=20))) == MEASURED
    assert list(measured_lines(frames(60, burst=5))) == MEASURED


def test_a_camera_without_a_second_keyframe_has_a_longer_interval() -> None:
    assert list(measured_lines(frames(16))) == [
        "measured   15.00 fps, 0.64 Mbit/s",
        "keyframes  every longer than 1.0 s",
    ]


def test_nothing_is_said_of_a_single_frame() -> None:
    assert not list(measured_lines(frames(1)))
