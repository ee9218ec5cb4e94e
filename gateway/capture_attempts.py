"""CaptureAttempts: makes the attempts of one session to capture its stream, each when it is due.

An attempt is made earlier than it is due by order (:meth:`CaptureAttempts.now`), and where a camera that nothing
answered at answers again (:mod:`gateway.port_probe`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.camera_settings import CameraSettings, RecordMode, StartMode
from gateway.capture.engine import CaptureSource, EngineFactory
from gateway.capture_runs import CaptureRuns
from gateway.clock import Clock
from gateway.errors import CameraEndedError, CameraUnauthorizedError, CaptureError
from gateway.port_probe import when_reachable
from gateway.session import CaptureSession, RetryPolicy, SessionState

log = logging.getLogger(__name__)


class CaptureAttempts:
    """See the module. ``label`` names the stream in messages. ``is_watched`` as of :meth:`CaptureSession.lost`."""

    def __init__(
        self,
        camera_id: str,
        label: str,
        session: CaptureSession,
        runs: CaptureRuns,
        clock: Clock,
        is_watched: Callable[[], bool],
    ) -> None:
        self._camera_id = camera_id
        self._label = label
        self._session = session
        self._runs = runs
        self._clock = clock
        self._is_watched = is_watched
        self._now = asyncio.Event()

    def now(self) -> None:
        """Make the next attempt at once, also where the present one has not ended yet."""
        self._now.set()

    async def run(
        self,
        source_of_run: Callable[[int], CaptureSource],
        engine_factory: Callable[[], EngineFactory],
        on_lost: Callable[[], None],
    ) -> None:
        """Make attempts until the session plans no more. ``on_lost`` is called after the end of each."""
        session, error = self._session, None
        while session.attempt_at is not None:
            await self._wait_until_due(session.attempt_at, error)
            session.attempt()
            error = await self._attempt(source_of_run, engine_factory())
            session.lost(
                self._clock.monotonic(),
                str(error),
                error.retry_after_s,
                is_final=isinstance(error, CameraUnauthorizedError),
                is_watched=self._is_watched(),
                error_code=error.reason or error.code,
            )
            level = logging.ERROR if session.state is SessionState.FAILED else logging.WARNING
            extra = {"camera": self._camera_id}
            log.log(level, "camera %s: %s: %s", self._label, session.state, error, extra=extra)
            if error.__cause__ is not None:
                log.debug("camera %s: the cause", self._label, exc_info=error.__cause__, extra=extra)
            on_lost()

    async def _attempt(
        self, source_of_run: Callable[[int], CaptureSource], engine_factory: EngineFactory
    ) -> CaptureError:
        """One run. Returns why it has ended."""
        try:
            await self._runs.pull(source_of_run, engine_factory)
        except CaptureError as error:
            return error
        return CameraEndedError("the camera ended the stream")

    async def _wait_until_due(self, attempt_at: float, error: CaptureError | None) -> None:
        port_probe = asyncio.create_task(when_reachable(error, self._now.set), name=f"port-probe-{self._camera_id}")
        try:
            # Not wait_for: Python 3.11's may swallow a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, attempt_at - self._clock.monotonic())):
                    await self._now.wait()
        finally:
            port_probe.cancel()
            self._now.clear()


def retry_policy(settings: CameraSettings) -> RetryPolicy:
    """How a stream with these settings is tried again."""
    return RetryPolicy(
        attempts=settings.connection_retry_attempts,
        delay_s=settings.connection_retry_delay,
        persistent=settings.start is StartMode.ALWAYS or settings.record is not RecordMode.NEVER,
    )
