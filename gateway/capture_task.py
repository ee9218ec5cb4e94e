"""CaptureTask: the task that captures one stream while it is wanted.

Rules:

1. It begins as soon as the stream is wanted, and ends ``CAPTURE_LINGER`` seconds after that: most viewers come back.
2. Where the event loop ends it, and nobody else did, it is closed: the loop takes no new tasks.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.clock import Clock
from gateway.session import CaptureSession, SessionState

log = logging.getLogger(__name__)


class CaptureTask:
    """See the module. Lives on the event loop.

    ``label`` names the stream in messages. ``attempt`` makes attempts until the session plans no more. ``on_change`` is
    called when the task begins and ends, ``on_stop`` when it is stopped before the session gave up.
    """

    def __init__(
        self,
        camera_id: str,
        label: str,
        session: CaptureSession,
        clock: Clock,
        *,
        is_wanted: Callable[[], bool],
        linger_s: Callable[[], float],
        attempt: Callable[[], Awaitable[None]],
        on_change: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        self.is_closed = False
        self._camera_id = camera_id
        self._label = label
        self._session = session
        self._clock = clock
        self._is_wanted = is_wanted
        self._linger_s = linger_s
        self._attempt = attempt
        self._on_change = on_change
        self._on_stop = on_stop
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._is_cancelled = False

    @property
    def is_running(self) -> bool:
        """Whether the stream is captured, or the next attempt is awaited."""
        return self._task is not None

    def update(self, *, is_asked: bool = True) -> None:
        """Begin if the stream is wanted and the task does not run; end after the linger if it is not wanted (rule 1).

        If it ``is_asked`` for, the first attempt is made at once, else when it is due.
        """
        if self._is_wanted():
            self._cancel_linger()
            if self._task is None or self._task.done():
                begin = self._session.start if is_asked else self._session.resume
                begin(self._clock.monotonic())
                self._is_cancelled = False
                self._task = asyncio.create_task(self._run(), name=f"capture-{self._camera_id}")
                self._on_change()
        elif self._task is not None and self._linger is None and not self.is_closed:
            self._linger = asyncio.get_running_loop().call_later(self._linger_s(), self._linger_over)

    def restart(self) -> None:
        """Begin again with other settings."""
        if self._task is None:
            # What had failed may work with these settings.
            self._session.stop()
            return
        log.info("camera %s: restarts with other settings", self._label, extra={"camera": self._camera_id})
        # A task that has not run yet never reaches its own call of update() at its end.
        self._task.add_done_callback(lambda _: self.update())
        self._cancel(self._task)

    async def stop(self) -> None:
        """End now, without the linger. Returns when it has ended."""
        self._cancel_linger()
        task = self._task
        if task is not None:
            self._cancel(task)
            await asyncio.wait([task])
            if self._task is task:
                # It was cancelled before its first step, and so has not cleaned up; see the end of _run().
                self._task = None
                self._session.stop()
                self.update()

    async def aclose(self) -> None:
        """Stop. The task does not begin again."""
        self.is_closed = True
        await self.stop()

    def _cancel_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _linger_over(self) -> None:
        self._linger = None
        if not self._is_wanted() and self._task is not None:
            self._cancel(self._task)

    def _cancel(self, task: "asyncio.Task[None]") -> None:
        self._is_cancelled = True
        task.cancel()

    async def _run(self) -> None:
        try:
            await self._attempt()
        except asyncio.CancelledError:
            self.is_closed = self.is_closed or not self._is_cancelled  # rule 2
            self._session.stop()
            self._on_stop()
            log.info("camera %s: stopped", self._label, extra={"camera": self._camera_id})
        finally:
            self._task = None
            self._on_change()
            if self._session.state is SessionState.STOPPED:
                # A client or viewer may have come while the run was ending.
                self.update()
