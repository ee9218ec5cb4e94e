"""gateway.forward.process: no process is left behind."""

import asyncio
import contextlib
import signal

import pytest

from gateway.forward.process import ForwardError, ForwardProcess


@pytest.mark.integration
async def test_a_process_is_ended_also_where_closing_it_is_cancelled() -> None:
    process = await ForwardProcess.start("gateway.forward.whip_worker")
    closing = asyncio.create_task(process.close())
    await asyncio.sleep(0)
    closing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await closing
    assert await process._process.wait() == -signal.SIGKILL


@pytest.mark.integration
async def test_a_process_that_does_not_start_is_not_the_servers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ForwardError, match="its process has ended"):
        await ForwardProcess.start("gateway.forward.no_such_worker")
    monkeypatch.setattr("gateway.forward.process.START_S", 0.0)
    with pytest.raises(ForwardError, match="did not start"):
        await ForwardProcess.start("gateway.forward.whip_worker")
