"""When a stream is silent, and when it is steady again."""

from gateway.stall_watch import MARGIN_MIN_S, RELAPSE_S, SILENT_S, STEADY_MAX_S, STEADY_S, USUAL_MAX_S, StallWatch


class Scene:
    def __init__(self) -> None:
        self.watch, self.now = StallWatch(), 1000.0

    def play(self, seconds: float, interval_s: float = 0.04) -> None:
        """Pictures at a rate."""
        for _ in range(round(seconds / interval_s)):
            self.pause(interval_s)
            self.watch.picture(self.now)

    def pause(self, seconds: float) -> None:
        """Nothing comes, and a check is made when it is due."""
        end = self.now + seconds
        while (due := self.watch.check(self.now)) is not None and due <= end:
            self.now = due
        self.now = end

    def seconds_to_steady(self) -> float:
        began = self.now
        while not self.watch.is_steady:
            self.play(0.04)
        return self.now - began


def test_a_stream_is_silent_a_moment_after_its_usual_interval() -> None:
    scene = Scene()
    scene.play(10)
    scene.pause(MARGIN_MIN_S)
    assert not scene.watch.is_silent
    scene.pause(0.1)
    assert scene.watch.is_silent
    assert not scene.watch.is_steady
    scene.play(0.04)
    assert not scene.watch.is_silent
    assert not scene.watch.is_steady
    assert scene.watch.stalls == 1


def test_a_stream_with_short_pauses_is_not_left_for_each_of_them() -> None:
    scene = Scene()
    scene.play(10)
    for _ in range(20):
        scene.pause(0.9)
        scene.play(RELAPSE_S / 2)
    assert scene.watch.stalls == 1
    scene.pause(SILENT_S + 0.1)
    assert scene.watch.is_silent
    scene.play(2 * RELAPSE_S)
    scene.pause(MARGIN_MIN_S + 0.1)
    assert scene.watch.is_silent


def test_a_slow_stream_is_not_silent_between_its_pictures() -> None:
    scene = Scene()
    scene.play(30, interval_s=3.0)
    for _ in range(20):
        scene.play(0.5, interval_s=0.1)
        scene.play(3, interval_s=1.0)
    assert scene.watch.stalls == 0
    assert scene.watch.is_steady


def test_nothing_is_silent_before_its_first_picture_and_after_its_end() -> None:
    scene = Scene()
    scene.pause(60)
    assert not scene.watch.is_silent
    assert scene.watch.is_steady
    scene.play(1)
    scene.watch.stopped()
    scene.pause(60)
    assert not scene.watch.is_silent
    assert scene.watch.is_steady


def test_a_stream_that_stalls_again_and_again_has_to_last_longer_each_time() -> None:
    scene = Scene()
    scene.play(10)
    waits = []
    for _ in range(7):
        scene.pause(3)
        waits.append(round(scene.seconds_to_steady()))
        scene.play(5)
    assert waits == [STEADY_S, 4, 8, 16, STEADY_MAX_S, STEADY_MAX_S, STEADY_MAX_S]
    scene.play(120)
    scene.pause(3)
    assert round(scene.seconds_to_steady()) == STEADY_S, "it was good for a long time"


def test_a_run_that_is_lost_counts_as_a_stall_and_one_stall_counts_once() -> None:
    scene = Scene()
    scene.play(10)
    scene.pause(3)
    scene.watch.lost(scene.now)
    scene.pause(10)
    assert not scene.watch.is_silent
    assert not scene.watch.is_steady
    scene.play(0.08)
    assert round(scene.seconds_to_steady()) == STEADY_S
    scene.play(1)
    scene.watch.lost(scene.now)
    scene.play(0.08)
    assert round(scene.seconds_to_steady()) == 2 * STEADY_S
    assert scene.watch.stalls == 1


def test_the_usual_interval_is_bounded() -> None:
    scene = Scene()
    scene.play(0.08)
    scene.pause(600)
    scene.play(0.04)
    scene.pause(USUAL_MAX_S + SILENT_S + 0.01)
    assert scene.watch.is_silent
