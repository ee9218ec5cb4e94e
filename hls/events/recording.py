"""EventRecording: tells the archive what events want to have recorded, of cameras with ``record = "events"`` or
``record_sub = "events"``.

Theory of operation. An event wants the time from ``PRE_ROLL`` before its start to ``POST_ROLL`` after its end. The
archive gets these spans of each camera, and records what it has in memory of them, and what comes.

Rules:

1. An event without an end wants what comes, for ``RECORD_EVENT_MAX`` at most from when it began or was heard of.
2. A restart forgets nothing: events that are open, or ended just now, are read from the database.
3. A camera that is on demand is captured while an event wants its main stream. What was before is recorded if it was
   captured then.
4. An event that ended before what is in memory wants nothing any more.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from gateway.camera import Camera
from gateway.camera_settings import RecordMode, StartMode
from gateway.clock import CLOCK_RATE, Clock, seconds_90k
from gateway.errors import LiveedgeError
from gateway.event import ChangeKind, Event, EventChange, EventFilter, EventOrder
from gateway.hold import Hold
from gateway.rendition import Rendition
from gateway.service import CaptureService
from hls.archive.event_gate import Span, merged
from hls.archive.service import Archive
from hls.events.service import EventService
from hls.settings import RecordingSettings, recording_settings

log = logging.getLogger(__name__)

SPANS_AT_ONCE = 256
COALESCE_S = 0.05
"""A change is passed on at once; of a camera with more spans than :data:`SPANS_AT_ONCE`, with those that come soon."""

PAST_S = 300.0
"""How long a span is passed on after its end: longer than anything is in memory, and than a camera is late."""

TICK_S = 5.0
"""The longest time without a look at the clock, which may be set."""

PAGE = 1000

RETRY_S = 5.0
"""After the events could not be read."""

READS_MAX = 5
"""How often the events are read again, because one has changed meanwhile."""


@dataclass(slots=True)
class _Wanted:
    """What the events of one camera want, by event."""

    camera: Camera
    spans: dict[str, Span] = field(default_factory=dict)
    hold: Hold[Rendition] | None = None
    timer: asyncio.TimerHandle | None = None
    retry: asyncio.TimerHandle | None = None
    changes: int = 0
    """Changes of its events so far."""

    def release(self) -> None:
        """Let the camera go, and stop the timer."""
        for timer in filter(None, (self.timer, self.retry)):
            timer.cancel()
        if self.hold is not None:
            self.hold.release()
        self.timer = self.retry = self.hold = None


class EventRecording:
    """See the module. Lives on the event loop."""

    def __init__(self, events: EventService, archive: Archive, service: CaptureService, clock: Clock) -> None:
        self._events = events
        self._archive = archive
        self._service = service
        self._clock = clock
        self._cameras: dict[str, _Wanted] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = events.on_change(self._on_change)

    async def start(self) -> None:
        """Rule 2; after the events were read. A database that fails is no reason not to start."""
        for camera in self._service.cameras.values():
            await self.set_camera(camera)

    def close(self) -> None:
        """Pass nothing on any more. May be called twice."""
        self._stop()
        for wanted in self._cameras.values():
            wanted.release()
        self._cameras.clear()
        for task in self._tasks:
            task.cancel()

    async def set_camera(self, camera: Camera, *, is_retry: bool = False) -> None:
        """A camera is new, or its settings have changed. What the index does not tell now is asked again."""
        is_recorded = any(each.settings.record is RecordMode.EVENTS for each in camera.renditions.values())
        if not (is_recorded and camera.is_own):
            self.remove_camera(camera.id)
            return
        wanted = self._cameras.setdefault(camera.id, _Wanted(camera))
        if wanted.retry is not None:
            wanted.retry.cancel()
        spans = wanted.spans
        try:
            for _ in range(READS_MAX):
                before = wanted.changes
                spans = await self._read(camera)
                if wanted.changes == before:
                    break
        except LiveedgeError as error:
            if not is_retry:
                log.warning("camera %s: events from before are not recorded yet: %s", camera.id, error)
            wanted.retry = asyncio.get_running_loop().call_later(RETRY_S, self._set_again, wanted)
        if self._cameras.get(camera.id) is wanted:
            wanted.spans = spans
            self._apply(wanted)

    def _set_again(self, wanted: _Wanted) -> None:
        if self._cameras.get(wanted.camera.id) is wanted:
            task = asyncio.create_task(self.set_camera(wanted.camera, is_retry=True), name="event-spans")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def remove_camera(self, camera_id: str) -> None:
        """A camera is gone, or is not recorded on events any more."""
        wanted = self._cameras.pop(camera_id, None)
        if wanted is not None:
            wanted.release()
            self._archive.set_event_spans(camera_id, ())

    async def _read(self, camera: Camera) -> dict[str, Span]:
        """The spans of the events that may still want something."""
        settings = recording_settings(camera.settings)
        since_90k = max(0, self._clock.wall_90k() - seconds_90k(PAST_S + settings.post_roll))
        # All open events, however old, are in the answer.
        asked = EventFilter(cameras=frozenset({camera.id}), start_90k=since_90k)
        spans: dict[str, Span] = {}
        cursor: str | None = None
        while True:
            page = await self._events.page(asked, EventOrder.NEWEST, PAGE, cursor)
            spans |= {event.id: self._span(event, settings) for event in page.events}
            if (cursor := page.next_cursor) is None:
                return {key: span for key, span in spans.items() if self._is_recent(span)}

    def _on_change(self, change: EventChange) -> None:
        event = change.event
        wanted = self._cameras.get(event.camera_id)
        if wanted is None:
            return
        span = self._span(event, recording_settings(wanted.camera.settings))
        wanted.changes += 1
        if change.kind is not ChangeKind.DELETED and self._is_recent(span):
            wanted.spans[event.id] = span
        elif wanted.spans.pop(event.id, None) is None:
            return
        if len(wanted.spans) <= SPANS_AT_ONCE:
            self._apply(wanted)
        else:
            self._schedule(wanted, COALESCE_S)

    def _span(self, event: Event, settings: RecordingSettings) -> Span:
        start_90k = event.start_90k - seconds_90k(settings.pre_roll)
        last_90k = max(event.start_90k, event.created_90k) + seconds_90k(settings.record_event_max)
        end_90k = last_90k if event.end_90k is None else min(event.end_90k, last_90k)
        # A moment has no duration, and a clip has a frame.
        return start_90k, max(end_90k + seconds_90k(settings.post_roll), event.start_90k + 1)

    def _is_recent(self, span: Span) -> bool:
        return span[1] > self._clock.wall_90k() - seconds_90k(PAST_S)

    def _schedule(self, wanted: _Wanted, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if wanted.timer is not None:
            if wanted.timer.when() <= loop.time() + delay_s:
                return
            wanted.timer.cancel()
        wanted.timer = loop.call_later(delay_s, self._apply, wanted)

    def _apply(self, wanted: _Wanted) -> None:
        """Pass the spans of a camera on, and hold it if one of them is now (rule 3)."""
        if wanted.timer is not None:
            wanted.timer.cancel()
            wanted.timer = None
        wanted.spans = {key: span for key, span in wanted.spans.items() if self._is_recent(span)}
        camera = wanted.camera
        spans = merged(list(wanted.spans.values()))
        self._archive.set_event_spans(camera.id, spans)
        now_90k = self._clock.wall_90k()
        is_now = any(start_90k <= now_90k < end_90k for start_90k, end_90k in spans)
        settings = camera.main.settings
        is_held = settings.record is RecordMode.EVENTS and settings.start is StartMode.ON_DEMAND
        if is_now and is_held and wanted.hold is None:
            wanted.hold = camera.hold("")
        elif not (is_now and is_held) and wanted.hold is not None:
            wanted.hold.release()
            wanted.hold = None
        if spans:
            edges = [edge - now_90k for span in spans for edge in span if edge > now_90k]
            self._schedule(wanted, min(TICK_S, min(edges, default=TICK_S * CLOCK_RATE) / CLOCK_RATE))
