"""EventLoopLag: how late the event loop runs a timer, which is how long a blocking call delays everything else."""

import asyncio

INTERVAL_S = 0.5
"""How often the lag is measured. A timer at this rate costs nothing."""


class EventLoopLag:
    """See the module. In seconds."""

    def __init__(self) -> None:
        self.last_s = 0.0
        self._worst_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to measure."""
        self._task = asyncio.create_task(self._measure(), name="event-loop-lag")

    async def close(self) -> None:
        """Stop to measure."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def take_worst_s(self) -> float:
        """The worst lag since the last call."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.last_s = max(0.0, loop.time() - due_s)
            self._worst_s = max(self._worst_s, self.last_s)
