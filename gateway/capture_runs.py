"""CaptureRuns: the runs of one stream of a camera, one after the other, and what their engines count.

Rules:

1. A run without video for ``CAPTURE_TIMEOUT`` is ended, even if the engine does not end it.
2. Runs are numbered from 1 for the life of the process (:attr:`gateway.media.Packet.run`).
"""

import asyncio
from collections.abc import Callable

from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import AsyncCaptureEngine, CaptureSource, EngineFactory
from gateway.capture.runner import AsyncEngineRunner, EngineRunner, engine_runner
from gateway.clock import Clock
from gateway.errors import CameraTimeoutError, CaptureError
from gateway.media import Packet

ENGINE_GRACE_S = 1.0
"""Seconds that an engine has to end the run itself before rule 1 does: it knows better why the camera is silent."""

THREAD_END_S = 1.0
"""How long a stop waits for the engine's thread, in seconds. A thread that hangs in a C library is left behind."""


class CaptureRuns:
    """See the module. ``on_packet`` takes the packets of all runs; ``on_end`` is called at the end of each."""

    def __init__(self, clock: Clock, on_packet: Callable[[Packet], None], on_end: Callable[[], None]) -> None:
        self.last_video_s = 0.0
        """When the newest video packet came, or else the run began, in monotonic seconds."""
        self._clock = clock
        self._packet_sink = on_packet
        self._on_end = on_end
        self._run = 0
        self._counters = CaptureCounters()
        """Of the runs that have ended."""
        self._handover_dropped = 0
        self._runner: EngineRunner | AsyncEngineRunner | None = None
        self._ended_early: asyncio.Future[CaptureError] | None = None

    @property
    def counters(self) -> CaptureCounters:
        """What the engines of all runs counted, the present one included."""
        total = CaptureCounters()
        total.add(self._counters)
        if self._runner is not None:
            total.add(self._runner.engine.counters)
        return total

    @property
    def handover_dropped(self) -> int:
        """Packets dropped because the event loop was behind, in all runs."""
        return self._handover_dropped + (self._runner.dropped if self._runner is not None else 0)

    @property
    def problem(self) -> str | None:
        """Why the present run has no video, where the engine says so."""
        engine = self._runner.engine if self._runner is not None else None
        return engine.problem if isinstance(engine, AsyncCaptureEngine) else None

    @property
    def is_running(self) -> bool:
        """Whether there is a run at present."""
        return self._runner is not None

    def end(self, why: CaptureError) -> None:
        """End the present run as if its engine had raised ``why``. Nothing happens where there is none."""
        if self._ended_early is not None and not self._ended_early.done():
            self._ended_early.set_result(why)

    async def pull(self, source_of_run: Callable[[int], CaptureSource], engine_factory: EngineFactory) -> None:
        """One run, from opening to its end. Raises a :class:`~gateway.errors.CaptureError`."""
        self._run += 1
        source = source_of_run(self._run)
        runner = self._runner = engine_runner(engine_factory(source, self._clock), self._on_packet)
        self.last_video_s = self._clock.monotonic()
        runner.start()
        ended = asyncio.ensure_future(runner.ended())
        # Read the error: asyncio would log one that comes after the run was cancelled.
        ended.add_done_callback(lambda task: task.cancelled() or task.exception())
        ended_early = self._ended_early = asyncio.get_running_loop().create_future()
        limit_s = source.timeout_s + ENGINE_GRACE_S
        try:
            while not ended.done():
                silent_s = self._clock.monotonic() - max(self.last_video_s, _video_at(runner))
                if silent_s > limit_s:
                    raise CameraTimeoutError(
                        f"no frame came for {silent_s:.1f} s; check the camera, or raise CAPTURE_TIMEOUT"
                    )
                await asyncio.wait(
                    {ended, ended_early}, timeout=limit_s - silent_s + 0.05, return_when=asyncio.FIRST_COMPLETED
                )
                if ended_early.done():
                    raise ended_early.result()
            await ended
        finally:
            runner.interrupt()
            self._counters.add(runner.engine.counters)
            self._handover_dropped += runner.dropped
            self._runner = self._ended_early = None
            self._on_end()
            await asyncio.wait({ended}, timeout=THREAD_END_S)
            ended.cancel()

    def _on_packet(self, packet: Packet) -> None:
        if packet.is_video:
            self.last_video_s = self._clock.monotonic()
        self._packet_sink(packet)


def _video_at(runner: EngineRunner | AsyncEngineRunner) -> float:
    """When video last came, as far as the engine knows: before its first keyframe, it has no packets."""
    return runner.engine.video_at if isinstance(runner.engine, AsyncCaptureEngine) else 0.0
