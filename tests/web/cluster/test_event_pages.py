"""Pages of events of several nodes: whatever their times and sizes, every event is listed once and in order."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.event import Event, EventOrder, EventPage, cursor_of, parse_cursor
from web.cluster.event_pages import merge_pages


def event(number: int, start_90k: int) -> Event:
    return Event(f"00000000-0000-4000-8000-{number:012x}", "door", start_90k, None, "ring", "api")


def page(events: list[Event], order: EventOrder, limit: int, cursor: str | None) -> EventPage:
    """As a node makes it (:func:`hls.events.table.page`)."""
    is_newest = order is EventOrder.NEWEST
    listed = sorted(events, key=lambda each: (each.start_90k, each.id), reverse=is_newest)
    if cursor is not None:
        after = parse_cursor(cursor)
        listed = [
            each
            for each in listed
            if ((each.start_90k, each.id) < after if is_newest else (each.start_90k, each.id) > after)
        ]
    return EventPage(listed[:limit], cursor_of(listed[limit - 1]) if len(listed) > limit else None)


# Many begin in the same tick, as those of an import do, or in the same millisecond.
NODES = st.lists(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 200)), max_size=12), min_size=1, max_size=6)


@given(NODES, st.sampled_from(EventOrder), st.integers(1, 9))
def test_the_pages_have_every_event_once_and_in_order(starts: list[list[int]], order: EventOrder, limit: int) -> None:
    numbers = iter(range(1000))
    nodes = [[event(next(numbers), start_90k) for start_90k in of_node] for of_node in starts]
    listed: list[Event] = []
    cursor: str | None = None
    pages = 0
    while True:
        merged = merge_pages([page(events, order, limit, cursor) for events in nodes], order, limit)
        listed += merged.events
        pages += 1
        if merged.next_cursor is None:
            break
        assert len(merged.events) == limit, "only the last page is short"
        cursor = merged.next_cursor
    every = sorted(
        (each for events in nodes for each in events),
        key=lambda each: (each.start_90k, each.id),
        reverse=order is EventOrder.NEWEST,
    )
    assert listed == every
    assert pages == max(1, -(-len(every) // limit)), "no page is empty but that of an empty list"


def test_nodes_that_are_away_are_named_once() -> None:
    merged = merge_pages([EventPage([event(1, 5)], None)], EventOrder.NEWEST, 10, ["c", "b", "c"])
    assert (len(merged.events), merged.away, merged.next_cursor) == (1, ("b", "c"), None)
