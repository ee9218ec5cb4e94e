"""gateway.forward.process: no process is left behind."""

import asyncio
import contextlib
import signal

import pytest

from gateway.forward.process import ForwardProcess


@pytest.mark.integration
async def test_a_process_is_ended_also_where_closing_it_is_cancelled() -> None:
    process = await ForwardProcess.start("gateway.forward.whip_worker")
    closing = asyncio.create_task(process.close())
    await asyncio.sleep(0)
    closing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await closing
    assert await process._process.wait() == -signal.SIGKILL
