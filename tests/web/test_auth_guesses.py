"""What a wrong guess costs, whichever way it comes."""

import asyncio

import pytest

from gateway.access import Scope
from tests.support.guarded import ADMIN_TOKEN, HandClock, gate
from web.auth.throttle import ADDRESSES_MAX, DELAY_MAX_S, WAITING_PER_ADDRESS_MAX, GuessThrottle, TooManyError

pytestmark = pytest.mark.usefixtures("empty_place")


async def test_wrong_guesses_wait_longer_and_longer_and_the_right_token_never() -> None:
    throttle = GuessThrottle(HandClock())
    delays = [throttle.note("192.0.2.7") for _ in range(12)]
    assert delays[0] < 0.2
    assert delays[-1] > DELAY_MAX_S / 2
    assert max(delays) <= DELAY_MAX_S
    assert throttle.note("192.0.2.8") < 0.2, "another address"
    assert throttle.note("2001:db8::1") < throttle.note("2001:db8::2"), "one /64 is one client"
    door = gate(auth_token=ADMIN_TOKEN)
    door.throttle = GuessThrottle(HandClock())
    for _ in range(50):
        door.throttle.note("192.0.2.7")
    guess = asyncio.create_task(door.identify("a-wrong-guess-of-a-token", "192.0.2.7"))
    assert (await door.identify(ADMIN_TOKEN, "192.0.2.7")).grant.may(Scope.ADMIN)
    assert not guess.done()
    guess.cancel()


async def test_the_table_of_guesses_is_bounded_and_forgets() -> None:
    clock = HandClock()
    throttle = GuessThrottle(clock)
    for number in range(ADDRESSES_MAX + 100):
        throttle.note(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(throttle._guesses) == ADDRESSES_MAX
    for _ in range(20):
        throttle.note("192.0.2.7")
    clock.ahead_s += 3600
    assert throttle.note("192.0.2.7") < 0.2


async def test_only_so_many_wrong_guesses_wait_at_a_time() -> None:
    throttle = GuessThrottle(HandClock(), delay_max_s=0.3)
    results = await asyncio.gather(*(throttle.punish("192.0.2.7") for _ in range(30)), return_exceptions=True)
    assert sum(result is None for result in results) == WAITING_PER_ADDRESS_MAX
    assert sum(isinstance(result, TooManyError) for result in results) == 30 - WAITING_PER_ADDRESS_MAX


async def test_a_storm_of_guesses_is_no_storm_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    throttle = GuessThrottle(HandClock())
    for _ in range(1000):
        throttle.note("192.0.2.7")
    assert len(caplog.records) == 10
