"""Sources: turns what the gateway reports already into messages.

Theory of operation. Each kind has one source, which others use too: the log of events (as the event stream over HTTP),
the changes of a camera's status (as Socket.IO), ``problems`` of ``GET /api/status``, the retention job's measurement of
the disk, and the post-processing of recorded files.

Rules:

1. Nothing is lost in a crash that can be read again afterwards: the place in the log of events, the clips that wait and
   what was reported of cameras and problems are written together with the messages. A recorded file counts as processed
   after its message is on the disk.
2. What is read twice gets the same id twice, so that a receiver can tell.
3. Recorded files that ended more than :data:`NEWS_S` ago are not reported: the index may be rebuilt from old files.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable

from pydantic import ValidationError

from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import LiveedgeError, NotFoundError
from gateway.event import EventChange
from gateway.session import SessionState
from gateway.status import CaptureStatus
from hls.archive.segment import Segment
from web.api import models
from web.api.webhook_messages import (
    CameraData,
    CameraState,
    Data,
    Disk,
    DiskData,
    EventData,
    Message,
    SegmentData,
    message,
)
from web.gateway import Gateway
from web.observability.health import problems
from web.webhooks.clips import Clips, has_recording, is_settled
from web.webhooks.outbox import Outbox
from web.webhooks.watch import Report, Seen, Told, Watch

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often problems and the disk are checked."""

STATUS_INTERVAL_S = 0.2

WAIT_S = 60.0
RETRY_S = 5.0

NEWS_S = 86_400

NAMESPACE = uuid.UUID("5bd1b1a2-8c5e-4a7e-9a63-0d8f6f7f9a55")

Emit = Callable[[str, Message], None]
"""Called with the webhook-id and the message."""


class Sources:
    """See the module. Lives on the event loop. :meth:`start` begins where the texts in the outbox say.

    ``what`` names the receiver in the log. Without ``has_recordings``, nothing is said of recorded files and clips.
    """

    def __init__(
        self,
        gateway: Gateway,
        outbox: Outbox,
        emit: Emit,
        *,
        what: str = "webhooks",
        has_recordings: bool = True,
    ) -> None:
        self._what = what
        self._has_recordings = has_recordings
        self._gateway = gateway
        self._outbox = outbox
        self._emit = emit
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._detach: Callable[[], None] = lambda: None
        self._clips = Clips(outbox.get("clips"))
        self._watch = Watch(_told(outbox.get("watch")), gateway.clock.monotonic())

    @property
    def clips_dropped(self) -> int:
        """Events that gave way to newer ones while they waited for their clip."""
        return self._clips.dropped

    def start(self) -> None:
        """Begin to report."""
        self._detach = self._gateway.service.on_status(self._on_status)
        if self._has_recordings:
            self._gateway.archive.post_processor.on_finished.append(self._on_segment)
        self._tasks = [
            asyncio.create_task(self._follow_events(), name=f"{self._what}-events"),
            asyncio.create_task(self._run_watch(), name=f"{self._what}-watch"),
        ]

    async def close(self) -> None:
        """Stop. The texts in the outbox stay."""
        self._detach()
        with contextlib.suppress(ValueError):
            self._gateway.archive.post_processor.on_finished.remove(self._on_segment)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _tell(self, kind: str, data: Data, time_90k: int, key: str | None = None) -> None:
        """Emit a message. ``key`` is the same for what is the same (rule 2)."""
        unique = uuid.uuid4() if key is None else uuid.uuid5(NAMESPACE, f"{kind}/{key}")
        self._emit(f"msg_{unique.hex}", message(kind, to_rfc3339(time_90k), data))

    # --- events and their clips

    async def _follow_events(self) -> None:
        events = self._gateway.events
        position = self._outbox.get("events") or events.position
        while not events.is_closed:
            try:
                changes = await events.changes_after(position)
            except LiveedgeError as error:
                log.warning("%s: changes of events are delayed: %s", self._what, error)
                await asyncio.sleep(RETRY_S)
                continue
            if changes is None:
                why = "too many were made, or the index is another one"
                log.warning("%s: changes of events are missing: %s", self._what, why)
                position = events.position
            for change in changes or ():
                self._tell_event(change, events.position_of(change.number))
                position = events.position_of(change.number)
            self._outbox.set("events", position)
            self._outbox.set("clips", self._clips.text())
            if not changes:
                await events.wait_for_change(position, WAIT_S)

    def _tell_event(self, change: EventChange, position: str) -> None:
        event = change.event
        self._tell(f"event.{change.kind}", EventData(event=models.Event.of(event)), event.updated_90k, position)
        if self._has_recordings:
            self._clips.note(change)

    async def _check_clips(self, now_90k: int) -> None:
        for event_id in self._clips.due(now_90k):
            try:
                event = await self._gateway.events.get(event_id)
                if event is None or event.end_90k is None:
                    self._clips.done(None, event_id)
                elif is_settled(self._gateway, event):
                    if await has_recording(self._gateway, event):
                        key = f"{event.id}/{event.start_90k}/{event.end_90k}"
                        self._tell("clip.ready", EventData(event=models.Event.of(event)), now_90k, key)
                    self._clips.done(event, event_id)
            except LiveedgeError as error:
                log.warning("webhooks: the clip of an event is reported later: %s", error)
                return
        self._outbox.set("clips", self._clips.text())

    # --- recorded files

    async def _on_segment(self, segment: Segment) -> None:
        if self._gateway.clock.wall_90k() - segment.end_90k <= NEWS_S * CLOCK_RATE:
            data = SegmentData(segment=models.Segment.of(segment))
            self._tell("segment.closed", data, segment.end_90k, f"{segment.camera_id}/{segment.name}")
            await self._outbox.flush()

    # --- cameras, problems, the disk

    def _on_status(self, _status: CaptureStatus) -> None:
        self._woken.set()

    async def _run_watch(self) -> None:
        while True:
            self._woken.clear()
            try:
                now_90k = self._gateway.clock.wall_90k()
                self._report(self._watch.update(self._gateway.clock.monotonic(), now_90k, self._see()), now_90k)
                self._outbox.set("watch", self._watch.told.model_dump_json())
                await self._check_clips(now_90k)
            except Exception:
                log.exception("%s: a check of the gateway's state failed", self._what)
            await asyncio.sleep(STATUS_INTERVAL_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._woken.wait()

    def _see(self) -> Seen:
        cameras = self._gateway.service.cameras
        disk = self._disk()
        return Seen(
            problems=problems(self._gateway),
            cameras=tuple(cameras),
            live=[each.id for each in cameras.values() if each.session.state is SessionState.LIVE],
            is_disk_low=None if disk is None else disk.free_bytes < disk.min_free_bytes,
        )

    def _disk(self) -> Disk | None:
        space = self._gateway.archive.disk_space
        if space is None:
            return None
        return Disk(
            free_bytes=space.free_bytes,
            total_bytes=space.total_bytes,
            min_free_bytes=self._gateway.settings.archive_min_free_bytes,
            measured_at=to_rfc3339(space.measured_at_90k),
        )

    def _report(self, report: Report, now_90k: int) -> None:
        for camera_id, is_up in report.cameras:
            with contextlib.suppress(NotFoundError):
                state = CameraState.of(self._gateway.service.camera(camera_id).status())
                self._tell("camera.up" if is_up else "camera.down", CameraData(camera=state), now_90k)
        for data in report.problems:
            self._tell("problem.begun" if data.ended is None else "problem.ended", data, now_90k)
        disk = self._disk()
        if report.is_disk_low is not None and disk is not None:
            self._tell("disk.low" if report.is_disk_low else "disk.ok", DiskData(disk=disk), now_90k)


def _told(text: str | None) -> Told:
    try:
        return Told.model_validate_json(text) if text else Told()
    except ValidationError:
        return Told()  # of another version
