"""Work that is finished although its caller is cancelled, and what becomes of its error."""

import asyncio
import logging
from typing import Any

import pytest

from gateway.errors import ConflictError
from gateway.uninterrupted import uninterrupted


async def interrupted(error: Exception | None) -> bool:
    """Cancel the caller of work that ends with ``error``. Whether the work has ended by itself."""
    running: set[asyncio.Future[Any]] = set()
    goes_on, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await goes_on.wait()
        ended.set()
        if error is not None:
            raise error

    caller = asyncio.create_task(uninterrupted(work(), running))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert len(running) == 1, "a shutdown waits for it"
    goes_on.set()
    await asyncio.wait(running)
    await asyncio.sleep(0)
    assert not running
    return ended.is_set()


async def test_a_caller_that_stays_gets_result_and_error() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ConflictError("it is in use")

    running: set[asyncio.Future[Any]] = set()
    assert await uninterrupted(answer(), running) == 42
    with pytest.raises(ConflictError):
        await uninterrupted(fail(), running)
    assert not running


@pytest.mark.parametrize("error", [None, ConflictError("it is in use")])
async def test_work_is_finished_without_its_caller_and_its_answer_is_forgotten(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert await interrupted(error)
    assert not caplog.records


async def test_a_fault_of_the_gateway_is_logged_although_nobody_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    assert await interrupted(ZeroDivisionError("a fault"))
    assert [(each.levelno, each.exc_info is not None) for each in caplog.records] == [(logging.ERROR, True)]
