"""CaptureRuns: the runs of one stream of a camera, one after the other, and what their engines count.

Rules:

1. A run without video for ``CAPTURE_TIMEOUT`` is ended, even if the engine does not end it.
2. Runs are numbered from 1 for the life of the process (:attr:`gateway.media.Packet.run`).
3. The next run may begin beside the present one (:meth:`CaptureRuns.take_over`). It takes over where both have the same
   picture (:mod:`gateway.splice`), and consumers see one run; or after :data:`SAME_S`, or when the present one ends, as
   a run of its own. The present one is published until then.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.capture.counters import CaptureCounters
from gateway.capture.engine import AsyncCaptureEngine, CaptureSource, EngineFactory
from gateway.capture.runner import AsyncEngineRunner, EngineRunner, engine_runner
from gateway.clock import Clock
from gateway.errors import CameraTimeoutError, CaptureError
from gateway.media import Packet
from gateway.splice import Splice

ENGINE_GRACE_S = 1.0
"""Seconds that an engine has to end the run itself before rule 1 does: it knows better why the camera is silent."""

THREAD_END_S = 1.0
"""How long a stop waits for the engine's thread, in seconds. A thread that hangs in a C library is left behind."""

SAME_S = 2.0
"""How long is waited for the same picture in both runs, once the next one has a keyframe."""

AGAIN_S = 0.5
"""After an attempt to take over that failed, another is made so much later."""

Runner = EngineRunner | AsyncEngineRunner


class _Next:
    """The run that is about to take over."""

    def __init__(self, runner: Runner, splice: Splice) -> None:
        self.runner = runner
        self.splice = splice
        self.ended: asyncio.Future[Any] = _ended(runner)
        self.has_keyframe = asyncio.Event()
        self.took_over = asyncio.Event()


class CaptureRuns:
    """See the module. ``on_packet`` takes the packets of all runs; ``on_end`` is called at the end of each. ``recent``
    returns the packets of the present run that were published last, from a keyframe on."""

    def __init__(
        self,
        clock: Clock,
        on_packet: Callable[[Packet], None],
        on_end: Callable[[], None],
        recent: Callable[[], Sequence[Packet]] = tuple,
    ) -> None:
        self.last_video_s = 0.0
        """When the newest video packet came, or else the run began, in monotonic seconds."""
        self._clock = clock
        self._packet_sink = on_packet
        self._on_end = on_end
        self._recent = recent
        self._run = 0
        self._counters = CaptureCounters()
        """Of the runs that have ended."""
        self._handover_dropped = 0
        self._runner: Runner | None = None
        self._ended: asyncio.Future[Any] | None = None
        """Of the present run's engine."""
        self._published_run = 0
        """The number that the packets of the present run have."""
        self._next: _Next | None = None
        self._took_over = asyncio.Event()
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
        source, runner = self._make(source_of_run, engine_factory, self._on_packet)
        self._runner, self._published_run = runner, source.run
        self.last_video_s = self._clock.monotonic()
        runner.start()
        self._ended = _ended(runner)
        ended_early = self._ended_early = asyncio.get_running_loop().create_future()
        limit_s = source.timeout_s + ENGINE_GRACE_S
        took_over = asyncio.ensure_future(self._took_over.wait())
        try:
            while not self._ended.done() or self._follow_on():
                silent_s = self._clock.monotonic() - max(self.last_video_s, _video_at(self._runner))
                if silent_s > limit_s:
                    raise CameraTimeoutError(
                        f"no frame came for {silent_s:.1f} s; check the camera, or raise CAPTURE_TIMEOUT"
                    )
                await asyncio.wait(
                    {self._ended, ended_early, took_over},
                    timeout=limit_s - silent_s + 0.05,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ended_early.done():
                    raise ended_early.result()
                if took_over.done():
                    self._took_over.clear()
                    took_over = asyncio.ensure_future(self._took_over.wait())
            await self._ended
        finally:
            took_over.cancel()
            ended = self._ended
            self._give_up()
            self._retire(self._runner)
            self._runner = self._ended = self._ended_early = None
            self._on_end()
            await asyncio.wait({ended}, timeout=THREAD_END_S)
            ended.cancel()

    # --- the next run beside the present one

    async def take_over(
        self, source_of_run: Callable[[int], CaptureSource], engine_factory: EngineFactory, limit_s: float
    ) -> bool:
        """Have the next run take over from the present one (rule 3). Returns whether it did within ``limit_s``.

        It is tried again where it ends before. Nothing is left behind where this is cancelled.
        """
        deadline_s, run = self._clock.monotonic() + limit_s, self._published_run
        while self.is_running and self._published_run == run and (left_s := deadline_s - self._clock.monotonic()) > 0:
            if await self._try_to_take_over(source_of_run, engine_factory, left_s):
                return True
            await asyncio.sleep(AGAIN_S)
        return False

    async def _try_to_take_over(
        self, source_of_run: Callable[[int], CaptureSource], engine_factory: EngineFactory, limit_s: float
    ) -> bool:
        _, runner = self._make(source_of_run, engine_factory, lambda packet: self._on_next(coming, packet))
        runner.start()
        coming = self._next = _Next(runner, Splice(self._recent(), self._published_run))
        try:
            if await _within(coming, coming.has_keyframe, limit_s):
                await _within(coming, coming.took_over, SAME_S)
            if self._next is coming and coming.splice.has_keyframe and not coming.ended.done():
                self._separate(coming)
            return self._runner is runner
        finally:
            if self._next is coming:
                self._give_up()

    def _make(
        self,
        source_of_run: Callable[[int], CaptureSource],
        engine_factory: EngineFactory,
        on_packet: Callable[[Packet], None],
    ) -> tuple[CaptureSource, Runner]:
        self._run += 1
        source = source_of_run(self._run)
        return source, engine_runner(engine_factory(source, self._clock), on_packet)

    def _on_next(self, coming: _Next, packet: Packet) -> None:
        following = coming.splice.arrived(packet)
        if coming.splice.is_joined and self._next is coming:
            self._switch(coming)
        if self._runner is coming.runner:
            if not coming.splice.is_joined:
                following = [packet]
            for each in following:
                self._on_packet(each)
        elif coming.splice.has_keyframe:
            coming.has_keyframe.set()

    def _follow_on(self) -> bool:
        """The present run has ended: take over as a run of its own, if the next one has pictures."""
        coming = self._next
        if coming is None or not coming.splice.has_keyframe or coming.ended.done():
            return False
        self._separate(coming)
        return True

    def _separate(self, coming: _Next) -> None:
        self._on_end()
        waiting = coming.splice.separate()
        self._published_run = waiting[0].run
        self._switch(coming)
        for packet in waiting:
            self._on_packet(packet)

    def _switch(self, coming: _Next) -> None:
        if self._runner is not None:
            self._retire(self._runner)
        self._runner, self._ended, self._next = coming.runner, coming.ended, None
        self._took_over.set()
        coming.has_keyframe.set()
        coming.took_over.set()

    def _give_up(self) -> None:
        if self._next is not None:
            self._retire(self._next.runner)
            self._next = None

    def _retire(self, runner: Runner) -> None:
        runner.interrupt()
        self._counters.add(runner.engine.counters)
        self._handover_dropped += runner.dropped

    def _on_packet(self, packet: Packet) -> None:
        if packet.is_video:
            self.last_video_s = self._clock.monotonic()
        self._packet_sink(packet)
        if self._next is not None:
            coming = self._next
            following = coming.splice.published(packet)
            if coming.splice.is_joined:
                self._switch(coming)
                for each in following:
                    self._on_packet(each)


def _video_at(runner: Runner) -> float:
    """When video last came, as far as the engine knows: before its first keyframe, it has no packets."""
    return runner.engine.video_at if isinstance(runner.engine, AsyncCaptureEngine) else 0.0


def _ended(runner: Runner) -> asyncio.Future[Any]:
    ended = asyncio.ensure_future(runner.ended())
    # Read the error: asyncio would log one that comes after the run was cancelled.
    ended.add_done_callback(lambda task: task.cancelled() or task.exception())
    return ended


async def _within(coming: _Next, event: asyncio.Event, limit_s: float) -> bool:
    """Wait for an event of a run. False where the run has ended, or it did not come in time."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiting, coming.ended), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        return waiting.done() and not coming.ended.done()
    finally:
        waiting.cancel()
