"""A whole gateway that times each frame and each callback of its event loop: a prefix of the command that starts it.

    python -m bench.support.timed_gateway FILE python -m web.cli serve

On SIGUSR1 it writes what it has measured since the last time to FILE, as JSON: that of
:meth:`~bench.support.frame_delays.FrameDelays.take`, and

- ``callbacks``: what kept the event loop longer than :data:`SLOW_S`: name, milliseconds, and milliseconds of CPU.
- ``collections``: how long the garbage collector ran, in milliseconds, for each collection longer than that.
"""

import asyncio
import gc
import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench.support.frame_delays import FrameDelays
from gateway.webrtc.server import WebRtcServer

SLOW_S = 0.001
"""Seconds. Below this a callback does not matter to latency."""

KEPT_MAX = 100_000


class LoopTimes:
    """Callbacks of the event loop and collections that took long. Make one in a process."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[str, float, float]] = []
        self.collections: list[float] = []
        self._collecting_s = 0.0
        gc.callbacks.append(self._on_collection)
        run = asyncio.Handle._run

        def timed_run(handle: asyncio.Handle) -> None:
            began, began_cpu = time.perf_counter(), time.thread_time()
            run(handle)
            took = time.perf_counter() - began
            if took >= SLOW_S and len(self.callbacks) < KEPT_MAX:
                cpu = time.thread_time() - began_cpu
                self.callbacks.append((_name(handle), took * 1000, cpu * 1000))

        asyncio.Handle._run = timed_run  # type: ignore[method-assign,assignment]

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_s = time.perf_counter()
            return
        took = time.perf_counter() - self._collecting_s
        if took >= SLOW_S:
            self.collections.append(took * 1000)


def _name(handle: asyncio.Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"task {getattr(owner.get_coro(), '__qualname__', owner.get_name())}"
    name = getattr(callback, "__qualname__", repr(callback))
    protocol = getattr(owner, "_protocol", None)
    return f"{name} of {type(protocol).__name__}" if protocol is not None else name


def main() -> None:
    target, command = Path(sys.argv[1]), sys.argv[2:]
    assert command[1] == "-m", "a Python module is what can be timed"
    delays, loop_times = FrameDelays(), LoopTimes()
    start = WebRtcServer.start

    async def noted_start(server: WebRtcServer) -> None:
        delays.server = server
        await start(server)

    WebRtcServer.start = noted_start  # type: ignore[method-assign,assignment]

    def report(*_: object) -> None:
        found = {**delays.take(), "callbacks": loop_times.callbacks, "collections": loop_times.collections}
        loop_times.callbacks, loop_times.collections = [], []
        text = json.dumps(found)
        # The bench waits for the file, and must not read half of it.
        partial = target.with_suffix(".partial")
        partial.write_text(text)
        os.replace(partial, target)

    signal.signal(signal.SIGUSR1, report)
    sys.argv = command[2:]
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
