"""The writes of all recordings in a few threads."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from hls.archive import write_pool
from hls.archive.write_pool import RESULTS_MAX, WritePool

WORKERS = 3


class CountingExecutor(ThreadPoolExecutor):
    """Counts its hand-overs."""

    handed_over = 0

    def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.handed_over += 1
        return super().submit(*arguments, **named)


@pytest.fixture
async def executor() -> AsyncIterator[CountingExecutor]:
    with CountingExecutor(WORKERS) as executor:
        yield executor


async def test_writes_that_are_due_together_are_handed_over_once(
    executor: CountingExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_pool, "LOOK_S", 60.0)
    pool = WritePool(executor, WORKERS)
    numbers = range(3 * RESULTS_MAX)
    assert await asyncio.gather(*(pool.run(str, number) for number in numbers)) == [*map(str, numbers)]
    assert executor.handed_over == 1


async def test_a_write_that_hangs_holds_up_no_other(executor: CountingExecutor) -> None:
    pool = WritePool(executor, WORKERS)
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hang(number: int) -> int:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(30)
        return number

    try:
        hanging = asyncio.create_task(pool.run(hang, 1))
        await begun.wait()
        for number in range(5):
            assert await pool.run(str, number) == str(number)
        assert not hanging.done()
    finally:
        go_on.set()
    assert await hanging == 1


async def test_a_write_that_hangs_holds_up_none_of_those_that_were_due_with_it(executor: CountingExecutor) -> None:
    pool = WritePool(executor, WORKERS)
    go_on = threading.Event()
    try:
        before = asyncio.create_task(pool.run(str, 1))
        hanging = asyncio.create_task(pool.run(go_on.wait, 30.0))
        after = asyncio.create_task(pool.run(str, 2))
        async with asyncio.timeout(60):
            assert (await before, await after) == ("1", "2")
        assert not hanging.done()
    finally:
        go_on.set()
    assert await hanging


async def test_where_all_hang_those_that_wait_are_written_afterwards(executor: CountingExecutor) -> None:
    pool = WritePool(executor, WORKERS)
    go_on = threading.Event()
    loop = asyncio.get_running_loop()

    def hang(begun: asyncio.Event) -> bool:
        loop.call_soon_threadsafe(begun.set)
        return go_on.wait(30)

    hanging = []
    for _ in range(WORKERS):
        begun = asyncio.Event()
        hanging.append(asyncio.create_task(pool.run(hang, begun)))
        await begun.wait()
    waiting = [asyncio.create_task(pool.run(str, number)) for number in range(5)]
    await asyncio.sleep(0)
    assert executor.handed_over == WORKERS
    go_on.set()
    assert await asyncio.gather(*waiting) == [*map(str, range(5))]
    assert all(await asyncio.gather(*hanging))


async def test_an_error_reaches_its_caller_alone(executor: CountingExecutor) -> None:
    pool = WritePool(executor, WORKERS)
    bad, good = pool.run(int, "one"), pool.run(int, "2")
    results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], ValueError)
    assert results[1] == 2
