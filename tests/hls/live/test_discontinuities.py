"""Discontinuity sequence numbers: small, never used twice, also over restarts within one hour and with a full disk."""

import asyncio

import pytest

from gateway.clock import CLOCK_RATE
from hls.live.discontinuities import RESERVED, UNIT_90K, DiscontinuityNumbers
from tests.support.sources.packets import START_90K


class Disk:
    """What is kept over restarts; it may be full."""

    def __init__(self) -> None:
        self.limit = 0
        self.is_full = False
        self.writes = 0

    def load(self) -> int:
        return self.limit

    def save(self, limit: int) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.limit = limit
        self.writes += 1


async def started(disk: Disk, wall_90k: int = START_90K) -> DiscontinuityNumbers:
    numbers = DiscontinuityNumbers(disk.load, disk.save)
    await numbers.start(wall_90k)
    return numbers


@pytest.mark.parametrize("later_90k", [0, CLOCK_RATE, -UNIT_90K, UNIT_90K])
@pytest.mark.parametrize("used", [0, 1, RESERVED, 10 * RESERVED])
async def test_no_number_is_used_by_two_processes(used: int, later_90k: int) -> None:
    disk = Disk()
    numbers = await started(disk)
    first = numbers.first(START_90K)
    for number in range(first, first + used + 1):
        numbers.note(number)
        await asyncio.sleep(0)
    await numbers.close()
    after = await started(disk, START_90K + later_90k)
    assert after.first(START_90K + later_90k) > first + used


async def test_a_process_that_is_killed_has_used_no_number_that_is_not_reserved() -> None:
    disk = Disk()
    numbers = await started(disk)
    first = numbers.first(START_90K)
    for number in range(first, first + RESERVED // 2 - 1):
        numbers.note(number)
    assert disk.writes == 1
    assert disk.limit > first + RESERVED // 2


async def test_numbers_stay_small_over_many_restarts() -> None:
    disk = Disk()
    for _ in range(100):
        numbers = await started(disk)
        numbers.note(numbers.first(START_90K))
        await numbers.close()
    assert numbers.first(START_90K) < START_90K // UNIT_90K + 100 * RESERVED


async def test_a_full_disk_is_told_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.is_full = True
    numbers = await started(disk)
    assert "No space left" in caplog.text
    numbers.note(numbers.first(START_90K) + RESERVED)
    disk.is_full = False
    await numbers.close()
    assert numbers.first(START_90K + UNIT_90K) == numbers.first(START_90K) + 1
