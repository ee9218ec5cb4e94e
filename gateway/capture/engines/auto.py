"""AutoCaptureEngine: the engine that suits the camera: liveedge's own for RTSP, PyAV for everything else.

Rules:

1. ``rtsp://`` and ``rtsps://`` go to :class:`~gateway.capture.engines.rtsp.RtspCaptureEngine`, ``publish:`` and
   ``whip:`` to
   :class:`~gateway.capture.engines.publish.PublishCaptureEngine`, ``fake://`` to
   :class:`~gateway.capture.engines.fake.FakeLiveStreamGenerator`, other schemes to
   :class:`~gateway.capture.engines.pyav.PyAVCaptureEngine`.
2. A camera whose video has a format that the first does not know (MPEG-TS in RTP, for example) is pulled by the second.
   This is remembered for :data:`REMEMBER_S`, so that a reconnect does not open the camera twice.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from gateway.capture.camera_errors import UnknownCodecError
from gateway.capture.engine import AsyncCaptureEngine, CaptureEngine, CaptureSource
from gateway.capture.engines.fake import FakeLiveStreamGenerator
from gateway.capture.engines.publish import PublishCaptureEngine
from gateway.capture.engines.pyav import PyAVCaptureEngine
from gateway.capture.engines.rtsp import RtspCaptureEngine
from gateway.capture.publish_point import PUBLISH_URLS
from gateway.capture.rtsp_connect import SCHEMES as RTSP_SCHEMES
from gateway.capture.runner import EngineRunner
from gateway.capture.url import FAKE_URL, file_path, parse
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.media import Packet

log = logging.getLogger(__name__)

REMEMBER_S = 3600.0
"""How long a camera is pulled by PyAV at once, in seconds. A camera that was set to another codec is found out then."""

REMEMBER_MAX = 1024
"""Cameras that are remembered; the oldest is forgotten."""

END_S = 1.0
"""How long the end of PyAV's thread is awaited, in seconds."""

_needs_pyav: OrderedDict[tuple[str, str], float] = OrderedDict()
"""Camera id and URL, and until when (monotonic)."""


class AutoCaptureEngine(AsyncCaptureEngine):
    """One connection to a camera; see the module's rules."""

    def __init__(self, source: CaptureSource, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(source, clock)
        self._key = (source.camera_id, source.url)
        self._inner: AsyncCaptureEngine | None = None
        """The one of ours that runs, or ran last."""
        self._runner: EngineRunner | None = None

    @property
    def is_low_latency(self) -> bool:
        """Whether frames are passed on before the next one begins."""
        inner = self._inner if self._runner is None else self._runner.engine
        return bool(getattr(inner, "is_low_latency", False))

    @property
    def video_at(self) -> float:
        return self._inner.video_at if self._inner is not None else 0.0

    @property
    def problem(self) -> str | None:
        return self._inner.problem if self._inner is not None else None

    async def run(self, on_packet: Callable[[Packet], None]) -> None:
        if self.source.url.strip() in PUBLISH_URLS:
            await self._run_inner(PublishCaptureEngine(self.source, self.clock), on_packet)
            return
        if self.source.url.strip().lower().startswith(FAKE_URL):
            await self._run_in_thread(FakeLiveStreamGenerator(self.source, self.clock), on_packet)
            return
        is_rtsp = file_path(self.source.url) is None and parse(self.source.url).scheme in RTSP_SCHEMES
        if is_rtsp and self.clock.monotonic() >= _needs_pyav.get(self._key, 0.0):
            try:
                await self._run_inner(RtspCaptureEngine(self.source, self.clock), on_packet)
                return
            except UnknownCodecError as error:
                camera_id = self.source.camera_id
                log.warning("camera %s: %s; PyAV (libav) is tried", camera_id, error, extra={"camera": camera_id})
                self._remember()
        await self._run_in_thread(PyAVCaptureEngine(self.source, self.clock), on_packet)

    async def _run_inner(self, engine: AsyncCaptureEngine, on_packet: Callable[[Packet], None]) -> None:
        engine.counters = self.counters
        self._inner = engine
        await engine.run(on_packet)

    def _remember(self) -> None:
        _needs_pyav[self._key] = self.clock.monotonic() + REMEMBER_S
        _needs_pyav.move_to_end(self._key)
        while len(_needs_pyav) > REMEMBER_MAX:
            _needs_pyav.popitem(last=False)

    async def _run_in_thread(self, engine: CaptureEngine, on_packet: Callable[[Packet], None]) -> None:
        engine.counters = self.counters
        runner = self._runner = EngineRunner(engine, on_packet)
        runner.start()
        ended = asyncio.ensure_future(runner.ended())
        try:
            await asyncio.shield(ended)
        finally:
            runner.interrupt()
            self.dropped = runner.dropped
            await asyncio.wait({ended}, timeout=END_S)
            ended.cancel()
