"""Widths whose JPEGs a peer accepts."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from signaling.frame_size import WIDER_AFTER_S, WIDTH_MIN, FrameSize

LIMIT = 1_000_000


def test_frames_that_fit_are_sent_as_wanted() -> None:
    size = FrameSize(None)
    assert size.accepts(LIMIT, 1920, LIMIT, 0)
    assert size.width is None


def test_a_frame_above_the_limit_is_not_sent_and_the_next_is_narrower() -> None:
    size = FrameSize(1920)
    assert not size.accepts(2 * LIMIT, 1920, LIMIT, 0)
    assert size.width is not None
    assert 1000 < size.width < 1920 / 2**0.5
    assert size.accepts(2 * LIMIT * size.width**2 // 1920**2, size.width, LIMIT, 0)


def test_a_width_that_is_refused_twice_is_halved() -> None:
    size = FrameSize(None)
    for _ in range(2):
        assert not size.accepts(2 * LIMIT, 1920, LIMIT, 0)
    assert size.width == 960


def test_the_wanted_width_is_tried_again_and_later_each_time() -> None:
    size = FrameSize(None)
    now, tries = 0.0, []
    size.accepts(2 * LIMIT, 1920, LIMIT, now)
    while now < 20 * WIDER_AFTER_S:
        now += 1
        size.accepts(LIMIT // 2, size.width or 1920, LIMIT, now)
        if not size.is_narrowed:
            tries.append(now)
            size.accepts(2 * LIMIT, 1920, LIMIT, now)
    waits = [b - a for a, b in pairwise(tries)]
    assert waits == sorted(waits)
    assert 3 <= len(tries) <= 5


@given(st.floats(0.01, 50), st.integers(WIDTH_MIN * 2, 7680), st.integers(20_000, 5_000_000))
def test_a_width_that_fits_is_found_soon(bytes_per_pixel: float, source: int, limit: int) -> None:
    size = FrameSize(None)
    for _ in range(12):
        width = min(size.width or source, source)
        frame = int(width * width * 0.5625 * bytes_per_pixel)
        if size.accepts(frame, width, limit, 0) or width == WIDTH_MIN:
            return
    raise AssertionError("no width fits")
