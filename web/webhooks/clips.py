"""Clips: which events have ended and wait for their recording, for ``clip.ready``.

Rules:

1. An event waits from its end until the recording has reached the end of its clip, as
   ``GET /api/events/{event}/clip.mp4`` cuts it, or will not reach it any more. An event without any recording is not
   reported.
2. At most :data:`PENDING_MAX` wait; the oldest is dropped. They are kept over restarts.
3. A change that is not one of the times does not report the clip again.
"""

import json
from collections.abc import Iterator

from gateway.event import ChangeKind, Event, EventChange
from web.api.event_clips import clip_span, is_still_coming
from web.gateway import Gateway

PENDING_MAX = 1000

TOLD_MAX = 1000


class Clips:
    """See the module. ``text`` is what :meth:`text` returned before a restart."""

    def __init__(self, text: str | None) -> None:
        self.dropped = 0
        kept = json.loads(text) if text else {}
        self._pending: dict[str, int] = kept.get("pending", {})
        """The end of each event that waits."""
        self._told: dict[str, int] = kept.get("told", {})
        """The end of events whose clip was reported."""

    def text(self) -> str:
        """What is kept over restarts."""
        return json.dumps({"pending": self._pending, "told": self._told}, separators=(",", ":"))

    def note(self, change: EventChange) -> None:
        """An event has changed."""
        event = change.event
        self._pending.pop(event.id, None)
        if change.kind is ChangeKind.DELETED or event.end_90k is None:
            self._told.pop(event.id, None)
        elif self._told.get(event.id) != event.end_90k:
            self._pending[event.id] = event.end_90k
            if len(self._pending) > PENDING_MAX:
                del self._pending[next(iter(self._pending))]
                self.dropped += 1

    def due(self, now_90k: int) -> Iterator[str]:
        """The events that have ended."""
        for event_id, end_90k in tuple(self._pending.items()):
            if end_90k <= now_90k:
                yield event_id

    def done(self, event: Event | None, event_id: str) -> None:
        """The clip of an event was reported, or there is none."""
        self._pending.pop(event_id, None)
        if event is not None and event.end_90k is not None:
            self._told[event_id] = event.end_90k
            if len(self._told) > TOLD_MAX:
                del self._told[next(iter(self._told))]


def is_settled(gateway: Gateway, event: Event) -> bool:
    """Whether the recording has all of an event's clip that it will ever have (rule 1)."""
    return not is_still_coming(gateway, event.camera_id, clip_span(gateway, event)[1])


async def has_recording(gateway: Gateway, event: Event) -> bool:
    """Whether anything of an event's clip is recorded. Raises ``LiveedgeError``."""
    start_90k, end_90k = clip_span(gateway, event)
    if any(each.segment.overlaps(start_90k, end_90k) for each in gateway.archive.unindexed(event.camera_id)):
        return True
    return bool(await gateway.archive.index.page(event.camera_id, start_90k, end_90k, 1))
