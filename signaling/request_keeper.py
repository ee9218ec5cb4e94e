"""RequestKeeper: writes the requests of the EMS down, and starts their captures again after a restart.

Its rules are those of :mod:`signaling.ems_requests`. They are written after each change of the requests, within
:data:`POSITION_SAVE_S` after the EMS has heard of an event, and once a minute, so that it is known until when the
gateway ran. After a power cut the EMS may hear of the last events again. If the disk fails, the log has a warning, and
the EMS is served.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import LiveedgeError, redact
from gateway.service import CaptureService
from signaling.ems_requests import EmsRequests

log = logging.getLogger(__name__)

SAVE_INTERVAL_S = 60.0
POSITION_SAVE_S = 5.0


@dataclass(frozen=True, slots=True)
class RequestStore:
    """Where requests are kept. Both functions block, and may raise ``OSError``; ``load`` may return ``None``."""

    load: Callable[[], bytes | None]
    save: Callable[[bytes], None]


class RequestKeeper:
    """See the module."""

    def __init__(self, requests: EmsRequests, store: RequestStore, clock: Clock) -> None:
        self._requests = requests
        self._store = store
        self._clock = clock
        self._unsaved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self, service: CaptureService, keep_s: float) -> None:
        """Start what had been started, if the gateway was off for at most ``keep_s`` seconds (0: nothing)."""
        await self._restore(service, keep_s)
        self._task = asyncio.create_task(self._run(), name="ems-requests")

    def changed(self) -> None:
        """The requests have changed."""
        self._unsaved.set()

    async def close(self) -> None:
        """Write once more, and end."""
        self._closing = True
        self._unsaved.set()
        if self._task is not None:
            # Not cancelled: what is being written would be, by a thread, while this writes as well.
            await asyncio.wait([self._task])

    async def _restore(self, service: CaptureService, keep_s: float) -> None:
        try:
            written = await asyncio.to_thread(self._store.load)
        except OSError as error:
            log.warning("the requests of the EMS before the restart cannot be read: %s", redact(error))
            return
        if written is None or not self._requests.restore(written, self._now_s(), keep_s):
            return
        for request in tuple(self._requests):
            try:
                await service.start_capture(request.client_id, request.camera_id, request.metadata)
            except LiveedgeError as error:
                log.warning("a request of the EMS is not restored: %s", redact(error))
                self._requests.remove(request.camera_id, request.client_id)
        log.info("%d requests of the EMS are restored", len(self._requests))

    async def _run(self) -> None:
        is_last = False
        saved_at_s = self._clock.monotonic()
        position = self._requests.events_position
        while not is_last:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.0 if self._closing else POSITION_SAVE_S):
                    await self._unsaved.wait()
            is_last = self._closing
            is_due = self._clock.monotonic() - saved_at_s >= SAVE_INTERVAL_S
            if is_last or is_due or self._unsaved.is_set() or position != self._requests.events_position:
                self._unsaved.clear()
                saved_at_s, position = self._clock.monotonic(), self._requests.events_position
                await self._save()

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(self._store.save, self._requests.dump(self._now_s()))
        except OSError as error:
            log.warning("the requests of the EMS cannot be kept for a restart: %s", redact(error))

    def _now_s(self) -> float:
        return self._clock.wall_90k() / CLOCK_RATE
