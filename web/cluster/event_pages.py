"""Merge the pages of a list of events that several nodes have made into one. Sans-IO.

Every node makes its page with the same filter and the same cursor, so that the first events of all of them are the
first of the list. A cursor is the start and the id of the last event (:func:`~gateway.event.cursor_of`) and means the
same at every node, also one that has not got that event.
"""

from collections.abc import Sequence

from gateway.event import EventOrder, EventPage, cursor_of


def merge_pages(pages: Sequence[EventPage], order: EventOrder, limit: int, away: Sequence[str] = ()) -> EventPage:
    """One page of at most ``limit`` events. ``away``: the nodes that have made none."""
    events = sorted(
        (event for page in pages for event in page.events),
        key=lambda event: (event.start_90k, event.id),
        reverse=order is EventOrder.NEWEST,
    )
    has_more = len(events) > limit or any(page.next_cursor is not None for page in pages)
    events = events[:limit]
    return EventPage(events, cursor_of(events[-1]) if has_more and events else None, tuple(sorted(set(away))))
