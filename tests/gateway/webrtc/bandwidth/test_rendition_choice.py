"""The choice of a rendition, with a manual clock."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webrtc.bandwidth.rendition_choice import (
    RELAPSE_S,
    TILE_DOWN_AFTER_S,
    UP_AFTER_MAX_S,
    UP_AFTER_S,
    Choice,
    Rendition,
    RenditionChooser,
)

MAIN = Rendition("main", 4_000_000, 1920, 1080)
MIDDLE = Rendition("middle", 1_000_000, 1280, 720)
SUB = Rendition("sub", 250_000, 640, 360)


class Viewer:
    """A chooser and its clock."""

    def __init__(self, *renditions: Rendition) -> None:
        self.renditions = renditions or (MAIN, SUB)
        self.chooser = RenditionChooser()
        self.now = 1000.0
        self.tile: tuple[int, int] | None = None

    def at(self, estimate_bps: float | None) -> Choice:
        return self.chooser.choose(self.now, self.renditions, estimate_bps=estimate_bps, tile=self.tile)

    def during(self, seconds: float, estimate_bps: float | None) -> list[str]:
        names = []
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            names.append(self.at(estimate_bps).rendition.name)
        return names


def test_without_an_estimate_the_best_is_chosen_and_nothing_is_wanted() -> None:
    choice = Viewer().at(None)
    assert (choice.rendition, choice.wanted_bps) == (MAIN, None)


def test_a_narrow_network_gets_the_sub_stream_at_once_and_main_back_soon() -> None:
    viewer = Viewer()
    viewer.at(None)
    choice = viewer.at(280_000)
    assert choice.rendition is SUB
    assert choice.reason == "its network carries about 280 kbit/s"
    assert choice.wanted_bps is not None
    assert choice.wanted_bps >= MAIN.bits_per_s
    viewer.during(10, 290_000)
    assert viewer.during(UP_AFTER_S + 0.3, choice.wanted_bps)[-1] == "main"
    assert viewer.chooser.switches == 2


def test_an_estimate_that_is_low_for_a_moment_changes_nothing() -> None:
    viewer = Viewer()
    viewer.at(5_000_000)
    assert set(viewer.during(0.3, 3_500_000) + viewer.during(5, 5_000_000)) == {"main"}
    assert viewer.during(0.8, 3_500_000)[-1] == "sub"


def test_an_estimate_between_the_thresholds_never_flaps() -> None:
    viewer = Viewer()
    viewer.at(300_000)
    names = [name for turn in range(200) for name in viewer.during(0.2, 3_900_000 if turn % 2 else 4_300_000)]
    assert set(names) == {"sub"}


def test_a_link_that_does_not_carry_main_for_long_is_tried_less_and_less_often() -> None:
    viewer = Viewer()
    viewer.at(300_000)
    names: list[str] = []
    for _ in range(9000):
        names += viewer.during(0.1, 300_000 if viewer.chooser._chosen == "main" else 6_000_000)
    ups = [place for place, (one, two) in enumerate(pairwise(names)) if (one, two) == ("sub", "main")]
    waits = [(two - one) / 10 for one, two in pairwise(ups)]
    assert waits[0] < 3
    assert waits[-1] > UP_AFTER_MAX_S - 1
    assert len(ups) < 25
    # Once main has lasted, the next wait is short again.
    viewer.during(UP_AFTER_MAX_S + RELAPSE_S + 1, 6_000_000)
    viewer.at(300_000)
    assert viewer.during(UP_AFTER_S + 0.3, 6_000_000)[-1] == "main"


def test_a_tile_that_changes_its_size_each_second_keeps_the_larger_rendition() -> None:
    viewer = Viewer()
    viewer.tile = (640, 360)
    assert viewer.at(None).rendition is SUB
    chosen = []
    for second in range(30):
        viewer.tile = (320, 180) if second % 2 else (1920, 1080)
        chosen += viewer.during(1.0, None)
    assert set(chosen) == {"main"}
    assert viewer.during(TILE_DOWN_AFTER_S + 0.5, None)[-1] == "sub"


def test_the_tile_sets_the_ceiling_but_not_for_a_few_pixels() -> None:
    viewer = Viewer()
    viewer.tile = (640, 360)
    choice = viewer.at(None)
    assert (choice.rendition, choice.wanted_bps) == (SUB, None)
    viewer.tile = (860, 480)
    assert viewer.at(None).rendition is MAIN
    viewer.tile = (800, 450)
    assert viewer.at(None).rendition is MAIN
    viewer.tile = (740, 416)
    assert viewer.during(TILE_DOWN_AFTER_S + 0.5, None)[-1] == "sub"


def test_of_three_the_largest_that_fits_is_chosen() -> None:
    viewer = Viewer(SUB, MAIN, MIDDLE)
    assert viewer.at(1_200_000).rendition is MIDDLE
    assert viewer.at(200_000).rendition is SUB
    assert viewer.during(2, 1_200_000)[-1] == "middle"
    viewer.tile = (1280, 720)
    assert viewer.at(1_200_000).wanted_bps is None


def test_a_rendition_that_goes_away_is_replaced() -> None:
    viewer = Viewer()
    viewer.at(300_000)
    viewer.renditions = (MAIN,)
    choice = viewer.at(300_000)
    assert (choice.rendition, choice.wanted_bps) == (MAIN, None)


@pytest.mark.parametrize("estimate", [0.0, 1.0, 1e12])
def test_any_estimate_gives_a_choice(estimate: float) -> None:
    assert Viewer(Rendition("main", 0)).at(estimate).rendition.name == "main"


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.none() | st.floats(0, 1e8), st.none() | st.just((320, 180))), max_size=60)
)
def test_every_schedule_keeps_to_the_ceiling_and_to_the_waits(
    schedule: list[tuple[float, float | None, tuple[int, int] | None]],
) -> None:
    viewer = Viewer(SUB, MIDDLE, MAIN)
    order = ["sub", "middle", "main"]
    before: Choice | None = None
    small_since_s: float | None = None
    for seconds, estimate, tile in schedule:
        viewer.now += seconds
        small_since_s = None if tile is None else viewer.now if small_since_s is None else small_since_s
        viewer.tile = tile
        choice = viewer.at(estimate)
        if small_since_s is not None and (before is None or viewer.now - small_since_s >= TILE_DOWN_AFTER_S):
            assert choice.rendition is SUB
        if before is not None and order.index(choice.rendition.name) > order.index(before.rendition.name):
            assert estimate is None or choice.rendition.needed_bps <= estimate
        before = choice
