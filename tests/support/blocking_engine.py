"""RtspCaptureEngine behind the port of blocking engines, so that one suite of tests runs over both kinds."""

import asyncio
import threading
from collections.abc import Iterator

from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.capture.engines.rtsp import RtspCaptureEngine
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.media import Packet


class BlockingRtspEngine(CaptureEngine):
    """Runs the engine on an event loop of its own, in the thread that asks for packets."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._engine = RtspCaptureEngine(source, clock)
        self.counters = self._engine.counters
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._is_stopped = False

    @property
    def is_low_latency(self) -> bool:
        return self._engine.is_low_latency

    def packets(self) -> Iterator[Packet]:
        loop = asyncio.new_event_loop()
        with self._lock:
            if self._is_stopped:
                loop.close()
                return
            self._loop = loop
        waiting: asyncio.Queue[Packet] = asyncio.Queue()

        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(self._engine.run(waiting.put_nowait))

        task = loop.run_until_complete(start())
        try:
            while True:
                packet = loop.run_until_complete(self._next(waiting, task))
                if packet is None:
                    break
                yield packet
            if not self._is_stopped:
                task.result()
        finally:
            task.cancel()
            loop.run_until_complete(asyncio.wait({task}))
            with self._lock:
                self._loop = None
            loop.close()

    async def _next(self, waiting: "asyncio.Queue[Packet]", task: "asyncio.Task[None]") -> Packet | None:
        """The next packet; ``None`` once the engine has ended or was interrupted."""
        get = asyncio.ensure_future(waiting.get())
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({get, stop, task}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self._is_stopped or not get.done():
            get.cancel()
            return None
        return get.result()

    def interrupt(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
