"""Activity of several nodes: the values of all, and what an answer must be to count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.codec.loudness import LEVEL_FULL
from hls.archive.activity import PERCENT, UNKNOWN
from hls.playback.activity import ActivitySteps
from tests.support.sources.encoded import START_90K
from web.cluster.all_activity import merge_steps, read_steps

AT_90K = START_90K // CLOCK_RATE * CLOCK_RATE


def written(steps: ActivitySteps) -> dict[str, Any]:
    """As ``/api/cameras/{camera}/activity`` writes them."""
    return {
        "start": to_rfc3339(steps.start_90k),
        "step_s": steps.step_s,
        "activity": [None if level == UNKNOWN else (level - 1) / PERCENT for level in steps.levels],
        "sound_db": [None if level == UNKNOWN else level - LEVEL_FULL for level in steps.sound],
    }


@given(st.lists(st.integers(0, 1 + PERCENT), max_size=20), st.lists(st.integers(0, LEVEL_FULL), max_size=20))
def test_the_values_of_another_node_are_read_as_they_were(levels: list[int], sound: list[int]) -> None:
    steps = ActivitySteps(AT_90K, 10, bytes(levels), bytes(sound))
    assert read_steps(written(steps), steps) == steps


@pytest.mark.parametrize(
    "change",
    [
        {"start": "2026-01-01T00:00:00Z"},
        {"step_s": 9},
        {"activity": [0.5]},
        {"activity": [7.0, 1.0]},
        {"sound_db": "x"},
    ],
)
def test_an_answer_of_other_steps_is_left_out(change: dict[str, Any]) -> None:
    steps = ActivitySteps(AT_90K, 10, bytes([1, 2]), bytes([0, 0]))
    assert read_steps(written(steps) | change, steps) is None
    assert read_steps(None, steps) is None


def test_each_step_has_the_largest_value_of_any_node() -> None:
    before = ActivitySteps(AT_90K, 1, bytes([50, 60, 0, 0]), bytes([0, 9, 0, 0]))
    after = ActivitySteps(AT_90K, 1, bytes([0, 20, 30, 0]), bytes([0, 0, 8, 0]))
    third = ActivitySteps(AT_90K, 1, bytes(4), bytes(4))
    assert merge_steps([before]) == before
    assert merge_steps([before, after, third]) == ActivitySteps(AT_90K, 1, bytes([50, 60, 30, 0]), bytes([0, 9, 8, 0]))
