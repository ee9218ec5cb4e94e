"""The limits of viewers, with a clock in hand: who is refused, and who gives way."""

from dataclasses import dataclass

import pytest

from gateway.errors import UnavailableError
from gateway.webrtc.limits import UNCONNECTED_S, VIEWERS_PER_CAMERA_AND_CLIENT, Place, ViewerLimits
from gateway.webrtc.stats import ViewerState
from tests.support.manual_clock import ManualClock


@dataclass
class Occupant:
    created_s: float
    state: ViewerState = ViewerState.NEW
    reason: str | None = None

    def close_soon(self, reason: str) -> None:
        self.reason = reason


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def occupy(limits: ViewerLimits, clock: ManualClock, client: str, state: ViewerState = ViewerState.NEW) -> Occupant:
    occupant = Occupant(clock.monotonic(), state)
    limits.take("yard", client).occupant = occupant
    return occupant


def test_a_camera_a_client_and_both_together_have_limits(clock: ManualClock) -> None:
    limits = ViewerLimits(clock, per_camera=3, per_client=2)
    places = [limits.take("yard", "ada"), limits.take("door", "ada")]
    with pytest.raises(UnavailableError, match="your address has 2"):
        limits.take("gate", "ada")
    limits.take("yard", "bob")
    limits.take("yard", "eve")
    with pytest.raises(UnavailableError, match="camera yard has 3"):
        limits.take("yard", "dan")
    limits.free(places[0])
    limits.take("yard", "dan")
    assert limits.refused == 2


def test_one_client_cannot_take_a_whole_camera(clock: ManualClock) -> None:
    limits = ViewerLimits(clock)
    for _ in range(VIEWERS_PER_CAMERA_AND_CLIENT):
        limits.take("yard", "ada")
    with pytest.raises(UnavailableError, match=r"your address has 192 WebRTC viewers of camera yard"):
        limits.take("yard", "ada")
    limits.take("yard", "bob")
    limits.take("door", "ada")


def test_a_place_is_freed_once(clock: ManualClock) -> None:
    limits = ViewerLimits(clock, per_camera=1)
    place = limits.take("yard", "ada")
    limits.free(place)
    limits.free(place)
    limits.take("yard", "bob")
    with pytest.raises(UnavailableError):
        limits.take("yard", "eve")
    limits.free(Place("nobody", ("camera:yard",)))
    with pytest.raises(UnavailableError):
        limits.take("yard", "eve")


def test_the_oldest_of_the_client_with_most_that_are_not_connected_gives_way(clock: ManualClock) -> None:
    limits = ViewerLimits(clock, per_camera=4)
    watching = occupy(limits, clock, "ada", ViewerState.CONNECTED)
    lonely = occupy(limits, clock, "bob")
    first, second = occupy(limits, clock, "eve"), occupy(limits, clock, "eve")
    with pytest.raises(UnavailableError):
        limits.take("yard", "dan")  # all of them may still connect
    clock.now += UNCONNECTED_S
    limits.take("yard", "dan")
    assert first.reason is not None
    assert (watching.reason, lonely.reason, second.reason) == (None, None, None)
    assert limits.evicted == 1


def test_the_client_with_the_most_makes_room_for_one_with_fewer(clock: ManualClock) -> None:
    limits = ViewerLimits(clock, per_camera=5)
    limits.take("yard", "admin", is_limited=False).occupant = admin = Occupant(0.0, ViewerState.CONNECTED)
    limits.take("yard", "admin", is_limited=False).occupant = Occupant(0.0, ViewerState.CONNECTED)
    many = [occupy(limits, clock, "eve", ViewerState.CONNECTED) for _ in range(3)]
    limits.take("yard", "dan").occupant = Occupant(0.0, ViewerState.CONNECTED)
    assert [each.reason is not None for each in many] == [False, False, True], "the newest one"
    with pytest.raises(UnavailableError):
        limits.take("yard", "dan")
    with pytest.raises(UnavailableError):
        limits.take("yard", "eve")
    assert admin.reason is None
    limits.take("yard", "admin", is_limited=False)
    assert (limits.evicted, limits.refused) == (1, 2)


def test_pending_joins_do_not_give_way(clock: ManualClock) -> None:
    limits = ViewerLimits(clock, per_camera=1)
    limits.take("yard", "ada")
    clock.now += 2 * UNCONNECTED_S
    with pytest.raises(UnavailableError):
        limits.take("yard", "bob")


def test_who_is_not_limited_is_counted(clock: ManualClock) -> None:
    limits = ViewerLimits(clock, per_camera=1)
    limits.take("yard", "root", is_limited=False)
    limits.take("yard", "root", is_limited=False)
    with pytest.raises(UnavailableError, match="camera yard has 2"):
        limits.take("yard", "ada")
