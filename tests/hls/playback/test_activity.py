"""Activity over time: steps and periods, of segments in the index and of what is not in it yet."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE
from hls.archive.activity_table import RecordedActivity
from hls.playback.activity import PAUSE_S, _begins, _steps

segments = st.lists(
    st.builds(
        RecordedActivity,
        st.just("segment"),
        st.integers(0, 60 * CLOCK_RATE),
        st.binary(max_size=40),
        st.just(b""),
    ),
    max_size=4,
)


@given(segments, segments, st.integers(0, 30), st.integers(1, 9), st.integers(1, 20))
def test_each_second_is_in_the_step_in_which_it_begins(
    main: list[RecordedActivity], sub: list[RecordedActivity], start_s: int, step_s: int, count: int
) -> None:
    def expected(recordings: list[RecordedActivity]) -> list[int]:
        steps = [0] * count
        for each in recordings:
            for second, level in enumerate(each.levels):
                step = (each.start_90k + second * CLOCK_RATE - start_s * CLOCK_RATE) // (step_s * CLOCK_RATE)
                if 0 <= step < count:
                    steps[step] = max(steps[step], level)
        return steps

    levels, _ = _steps([main, sub], start_s * CLOCK_RATE, step_s * CLOCK_RATE, count)
    assert list(levels) == [a or b for a, b in zip(expected(main), expected(sub), strict=True)]


@given(st.binary(max_size=60), st.booleans())
def test_a_period_begins_after_a_pause(seconds: bytes, forward: bool) -> None:
    least = 128
    begins = [
        at for at in range(PAUSE_S, len(seconds)) if seconds[at] >= least and max(seconds[at - PAUSE_S : at]) < least
    ]
    assert _begins(seconds, least, forward=forward) == (begins[0 if forward else -1] if begins else None)
