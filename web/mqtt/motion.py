"""Motion: whether a camera's motion sensor is on. Sans-IO.

Rules:

1. It is on while an event is open that has one of the labels.
2. An event that is over when it becomes known switches it on and off again, if it is not older than :data:`NEWS_S`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from gateway.clock import CLOCK_RATE
from gateway.event import ChangeKind, Event, EventChange

NEWS_S = 60


class Motion:
    """See the module."""

    def __init__(self, labels: Collection[str]) -> None:
        self.labels = frozenset(labels)
        self._open: defaultdict[str, set[str]] = defaultdict(set)

    def restore(self, events: Iterable[Event]) -> None:
        """Begin with these events."""
        self._open.clear()
        for event in events:
            if event.is_open and event.label in self.labels:
                self._open[event.camera_id].add(event.id)

    def note(self, change: EventChange, now_90k: int) -> bool:
        """An event has changed. Whether the sensor has to be on, at least for a moment."""
        event = change.event
        is_motion = event.label in self.labels
        if change.kind is not ChangeKind.DELETED and event.is_open and is_motion:
            self._open[event.camera_id].add(event.id)
            return True
        self._open[event.camera_id].discard(event.id)
        is_news = event.end_90k is not None and now_90k - event.end_90k <= NEWS_S * CLOCK_RATE
        return change.kind is ChangeKind.CREATED and is_motion and is_news

    def is_on(self, camera_id: str) -> bool:
        """Rule 1."""
        return bool(self._open.get(camera_id))

    def forget(self, camera_id: str) -> None:
        """The camera was removed."""
        self._open.pop(camera_id, None)
