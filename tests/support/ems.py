"""The EMS of the tests: a real Socket.IO server in its own process, which takes orders and can be killed."""

import asyncio
import base64
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.node import NODE

SCRIPT = Path(__file__).with_name("ems_server.py")

NODE_PROGRAM = (NODE, str(Path(__file__).with_name("ems_node.mjs")))
"""The same on the reference server of Socket.IO, with options of its own."""

LISTENER = "ems-listener"
"""The name of the task that reads the output of the EMS. Tests that look for leaked tasks ignore it."""

PATIENCE_S = 20.0
"""For steps that take milliseconds, on a machine that is busy with other tests."""


class Ems:
    """``tests/support/ems_server.py`` with ``options``; the events that it received are in ``seen``."""

    def __init__(self, *options: str, port: int = 0, program: Sequence[str] = (sys.executable, str(SCRIPT))) -> None:
        self.options = options
        self.program = program
        self.port = port
        self.seen: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Self:
        """Start it, on its earlier port if it had one, and wait until it listens."""
        assert self._process is None, "it runs already"
        self._process = await asyncio.create_subprocess_exec(
            *self.program,
            f"--port={self.port}",
            *self.options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        assert self._process.stdout is not None
        self.port = json.loads(await self._process.stdout.readline())["port"]
        self._listener = asyncio.create_task(self._listen(self._process.stdout), name=LISTENER)
        return self

    async def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it. It may have ended already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        await process.wait()
        assert self._listener is not None
        await self._listener
        # Otherwise the pipe outlives the loop.
        process._transport.close()  # type: ignore[attr-defined]

    def freeze(self) -> None:
        """Stop the process: its sockets stay open, and it answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def order(self, **order: Any) -> None:
        """Send it an order; see the script."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    async def emit(self, event: str, *data: Any) -> None:
        await self.order(emit=[event, *data])

    async def expect(
        self, event: str, where: Callable[[Any], bool] = lambda _: True, after: int = 0
    ) -> tuple[int, dict[str, Any]]:
        """The first event of that name, from index ``after`` on, whose data fits; and the index to go on from."""
        position = after

        def found() -> bool:
            nonlocal position
            while position < len(self.seen):
                seen = self.seen[position]
                position += 1
                if seen["on"] == event and where(seen.get("data")):
                    return True
            return False

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(found), PATIENCE_S)
            except TimeoutError:
                names = [seen["on"] for seen in self.seen[after:]]
                raise AssertionError(f"no {event} that fits came; came: {names[:50]}") from None
        return position, self.seen[position - 1]

    def count(self, event: str) -> int:
        return sum(seen["on"] == event for seen in self.seen)

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        while line := await stdout.readline():
            async with self._news:
                self.seen.append(json.loads(line))
                self._news.notify_all()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def jpeg_of(event: dict[str, Any]) -> bytes:
    """The JPEG of a ``video_frame_from_service`` as :class:`Ems` saw it."""
    return base64.b64decode(event["data"]["frame_data"]["base64"])
