"""The window of frames in flight, on simulated paths."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.frame_window import WINDOW_MAX, FrameWindow


def simulate(seconds: float, fps: float, delay_s: float, taken_per_s: float = 1e9) -> tuple[FrameWindow, list[float]]:
    """Send frames over a path with a delay, to a peer that takes so many a second. Returns each frame's delay."""
    window = FrameWindow()
    coming: list[tuple[float, int, float]] = []
    delays: list[float] = []
    free_at = 0.0
    for frame in range(int(seconds * fps)):
        now = frame / fps
        while coming and coming[0][0] <= now:
            at, number, sent = heapq.heappop(coming)
            window.arrived(number, at)
            delays.append(at - sent)
        if window.is_open:
            free_at = max(now + delay_s / 2, free_at) + 1 / taken_per_s
            heapq.heappush(coming, (free_at + delay_s / 2, window.sent(now), now))
    return window, delays


@pytest.mark.parametrize("delay_s", [0.001, 0.05, 0.2, 0.5])
def test_the_delay_of_the_path_costs_no_frames(delay_s: float) -> None:
    _, delays = simulate(10, 25, delay_s)
    assert len(delays) >= 7 * 25, "after the first seconds every frame is sent"


def test_a_slow_peer_gets_new_frames() -> None:
    _, delays = simulate(60, 25, 0.1, taken_per_s=5)
    assert len(delays) >= 0.75 * 60 * 5, "it gets most of what it could take"
    assert max(delays[50:]) < 1


def test_one_frame_is_in_flight_at_first() -> None:
    window = FrameWindow()
    window.sent(0)
    assert not window.is_open


def test_a_frame_that_arrives_twice_counts_once() -> None:
    window = FrameWindow()
    number = window.sent(0)
    window.arrived(number, 1)
    window.arrived(number, 2)
    assert window.in_flight == 0
    assert window.size <= 2


@given(st.lists(st.floats(0, 3), max_size=300))
def test_it_is_bounded_and_never_closed_for_good(delays: list[float]) -> None:
    window = FrameWindow()
    now = 0.0
    waiting: list[tuple[float, int]] = []
    for delay in delays:
        if window.is_open:
            waiting.append((now + delay, window.sent(now)))
        else:
            waiting.sort()
            now, number = max(now, waiting[0][0]), waiting.pop(0)[1]
            window.arrived(number, now)
        assert 1 <= window.size <= WINDOW_MAX
        assert window.in_flight <= WINDOW_MAX
        assert window.in_flight == len(waiting)
