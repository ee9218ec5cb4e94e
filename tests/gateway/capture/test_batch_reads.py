"""Connections are read together, and what somebody watches does not wait for all of them."""

import asyncio

import pytest

from gateway.capture import batch_reads
from gateway.capture.batch_reads import BatchReads
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock

READ_S = 0.0004


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reads, "BATCH_S", 0.01)


@pytest.mark.parametrize("is_watched", [True, False])
async def test_the_event_loop_gets_a_turn_between_reads_while_a_camera_is_watched(is_watched: bool) -> None:
    clock = ManualClock()
    batches = BatchReads(clock.monotonic)
    if is_watched:
        batches.prompt_at = clock.monotonic()
    order: list[str] = []

    def read(number: int) -> None:
        order.append(f"camera {number}")
        clock.now += READ_S
        if number == 0:
            asyncio.get_running_loop().call_soon(order.append, "viewer")

    for number in range(10):
        batches.add(lambda number=number: read(number))  # type: ignore[misc]
    await eventually(lambda: len(order) == 11, "all are read")
    assert [each for each in order if each != "viewer"] == [f"camera {number}" for number in range(10)]
    assert order.index("viewer") == (3 if is_watched else 10)


async def test_a_fault_of_one_connection_affects_no_other() -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    batches = BatchReads(asyncio.get_running_loop().time)
    order: list[int] = []
    for number in range(3):
        batches.add(lambda number=number: order.append(number // (number - 1)))  # type: ignore[misc]
    await eventually(lambda: order == [0, 2], "the others are read")
    assert len(faults) == 1


async def test_a_connection_is_read_once_for_each_time_it_is_added_and_not_after_it_is_closed() -> None:
    batches = BatchReads(asyncio.get_running_loop().time)
    order: list[str] = []

    def again() -> None:
        order.append("again")
        batches.discard(closed)
        if order.count("again") < 3:
            batches.add(again)

    def closed() -> None:
        order.append("closed")

    batches.add(again)
    batches.add(again)
    batches.add(closed)
    await eventually(lambda: len(order) == 3, "it is read")
    assert order == ["again"] * 3
    batches.add(closed)
    batches.discard(closed)
    assert batches._timer is None
