"""The widths that pictures are encoded in."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.jpeg.renditions import CHOSEN_MAX, STEPS, rendition


@given(st.integers(16, 7680), st.lists(st.none() | st.integers(16, 7680), max_size=200))
def test_whatever_is_requested_there_are_few_renditions_and_none_above_the_source(
    source: int, requests: list[int | None]
) -> None:
    present: list[int | None] = []
    for requested in requests:
        width = rendition(requested, source, present)
        assert width is None or width < source or source <= 16
        assert width is None or width % 2 == 0
        present.append(width)
    assert len(set(present)) <= CHOSEN_MAX + STEPS


def test_the_first_widths_are_exact() -> None:
    assert [rendition(width, 1280, []) for width in (640, 641, 333, 1280, 1920, None)] == [
        640,
        640,
        332,
        None,
        None,
        None,
    ]


def test_further_ones_get_the_nearest_that_exists_or_a_step() -> None:
    bad = [16, 18, 20, 22]
    assert rendition(1270, 1280, bad) is None
    assert rendition(600, 1280, bad) == 640
    assert rendition(90, 1280, bad) == 160
    assert rendition(40, 1280, bad) == 22
    assert rendition(400, 1280, [*bad[:3], 410]) == 410
