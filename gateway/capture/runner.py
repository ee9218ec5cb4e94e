"""EngineRunner: the thread that drives one CaptureEngine, and the bounded hand-over of its packets to the event loop.

Rules:

1. There is one daemon thread for each run. It only takes packets from the engine: a camera that hangs blocks no other
   thread.
2. Packets wait for the loop in one queue, bounded in packets and bytes. When it is full, packets are dropped up to the
   next video keyframe that fits, and counted.
3. The loop is woken once for each batch, not once for each packet.
4. :meth:`ended` returns or raises as the engine ended. After :meth:`interrupt` nothing is delivered any more.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from gateway.capture.engine import AsyncCaptureEngine, CaptureEngine
from gateway.capture.packet_rules import PacketRules
from gateway.errors import CaptureError, redact
from gateway.media import Packet

HANDOVER_MAX_PACKETS = 512
"""About 10 s of video and audio. A loop that is further behind has other problems."""

HANDOVER_MAX_BYTES = 64 * 1024 * 1024
"""Room for the largest keyframes. In practice the number of packets is the limit that is reached."""


def engine_runner(
    engine: CaptureEngine | AsyncCaptureEngine, on_packet: Callable[[Packet], None]
) -> "EngineRunner | AsyncEngineRunner":
    """What drives this engine: a thread, or a task of the running loop."""
    return (
        AsyncEngineRunner(engine, on_packet)
        if isinstance(engine, AsyncCaptureEngine)
        else EngineRunner(engine, on_packet)
    )


class EngineRunner:
    """Drives ``engine`` in a thread and calls ``on_packet`` on the running loop; see the module's rules."""

    def __init__(self, engine: CaptureEngine, on_packet: Callable[[Packet], None]) -> None:
        self.engine = engine
        self._on_packet = on_packet
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._lock = threading.Lock()
        self._queue: deque[Packet] = deque()
        self._bytes = 0
        self._skipping = False
        self._scheduled = False
        self._interrupted = False
        self.dropped = 0
        """Packets that rule 2 dropped."""
        self._own_thread = threading.Thread(target=self._run, name=f"capture-{engine.source.camera_id}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._own_thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread is still running."""
        return self._own_thread.is_alive()

    async def ended(self) -> None:
        """Wait for the engine's end. Raises what the engine raised, always a :class:`~gateway.errors.CaptureError`."""
        await asyncio.shield(self._ended)

    def interrupt(self) -> None:
        """Ask the engine to end, and deliver nothing more."""
        self._interrupted = True
        self.engine.interrupt()

    def _run(self) -> None:
        error: BaseException | None = None
        packets = None
        try:
            packets = self.engine.packets()
            rules = PacketRules(self.engine.source.run)
            for packet in packets:
                if self._interrupted:
                    break
                rules.check(packet)
                self._offer(packet)
        except CaptureError as raised:
            error = raised
        except Exception as raised:
            # An engine may be third-party code. What it raises ends this run and nothing else.
            error = CaptureError(f"the capture engine failed: {redact(f'{type(raised).__name__}: {raised}')}")
            error.__cause__ = raised
        finally:
            close = getattr(packets, "close", None)
            if close is not None:
                close()
        self._call_soon(self._finish, error)

    def _offer(self, packet: Packet) -> None:
        with self._lock:
            full = len(self._queue) >= HANDOVER_MAX_PACKETS or self._bytes + len(packet.data) > HANDOVER_MAX_BYTES
            if (full and self._queue) or (self._skipping and not (packet.is_video and packet.is_keyframe)):
                self._skipping = True
                self.dropped += 1
                return
            self._skipping = False
            self._queue.append(packet)
            self._bytes += len(packet.data)
            wake = not self._scheduled
            self._scheduled = True
        if wake:
            self._call_soon(self._drain)

    def _drain(self) -> None:
        with self._lock:
            batch, self._queue = self._queue, deque()
            self._bytes = 0
            self._scheduled = False
        for packet in batch:
            if self._interrupted:
                return
            self._on_packet(packet)

    def _finish(self, error: BaseException | None) -> None:
        self._drain()
        # The thread has nothing left to do but end, so the join takes microseconds.
        self._own_thread.join()
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
            # Mark it as retrieved: after an interrupt nobody may be waiting any more.
            self._ended.exception()

    def _call_soon(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop is closed: the process is ending.
            return


class AsyncEngineRunner:
    """Drives an engine that lives on the event loop, by the rules 3 and 4 of the module; there is nothing to queue."""

    def __init__(self, engine: AsyncCaptureEngine, on_packet: Callable[[Packet], None]) -> None:
        self.engine = engine
        self._on_packet = on_packet
        self._rules = PacketRules(engine.source.run)
        self._task: asyncio.Task[None] | None = None
        self._interrupted = False

    @property
    def dropped(self) -> int:
        """Packets that the engine dropped."""
        return self.engine.dropped

    def start(self) -> None:
        """Start the task."""
        name = f"capture-{self.engine.source.camera_id}"
        self._task = asyncio.create_task(self.engine.run(self._deliver), name=name)

    @property
    def is_running(self) -> bool:
        """Whether the task is still running."""
        return self._task is not None and not self._task.done()

    async def ended(self) -> None:
        """Wait for the engine's end. Raises what the engine raised, always a :class:`~gateway.errors.CaptureError`."""
        assert self._task is not None
        await asyncio.wait({self._task})
        if self._task.cancelled():
            return
        error = self._task.exception()
        if error is None or isinstance(error, CaptureError):
            if error is not None:
                raise error
            return
        failure = CaptureError(f"the capture engine failed: {redact(f'{type(error).__name__}: {error}')}")
        raise failure from error

    def interrupt(self) -> None:
        """Ask the engine to end, and deliver nothing more."""
        self._interrupted = True
        if self._task is not None:
            self._task.cancel()

    def _deliver(self, packet: Packet) -> None:
        if not self._interrupted:
            self._rules.check(packet)
            self._on_packet(packet)
