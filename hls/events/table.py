"""The SQL of events. Blocking; :class:`~hls.events.service.EventService` calls it in the thread of the index.

Rules:

1. An event and the number of its change are written in one transaction, which is on the disk when it ends.
2. The log has the latest :data:`CHANGES_MAX` changes, and the table of keys the latest :data:`KEYS_MAX`.
3. Every list has a limit. A list by time is read from an index, newest or oldest first; events that are long or open
   are in an index of their own, so that a list need not look at everything before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, or_, select, update

from gateway.clock import CLOCK_RATE
from gateway.errors import ConflictError, NotFoundError, UnprocessableError
from gateway.event import ChangeKind, Event, EventChange, EventFilter, EventOrder, IdempotencyKey
from hls.archive.database import Database
from hls.archive.event_cover import Marked, change_cover
from hls.archive.event_schema import LONG_90K, event, event_change, event_key, event_log

CHANGES_MAX = 10_000
"""A client that was away for longer reads the list again."""

KEYS_MAX = 10_000
KEY_MAX_AGE_90K = 86_400 * CLOCK_RATE
"""For how long a repeated request is recognised: longer than any client repeats one."""

_COLUMNS = tuple(event.c[name] for name in (
    *("id", "camera_id", "start_90k", "end_90k", "label", "source", "score", "data"),
    *("is_reviewed", "is_protected", "created_90k", "updated_90k"),
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogState:
    """``epoch`` tells the log from that of another database. Changes after ``before`` up to ``newest`` are there."""

    epoch: str
    before: int
    newest: int
    events: int


# --- writing


def create(
    database: Database, new: Event, key: IdempotencyKey | None, events_max: int
) -> tuple[Event, list[EventChange]]:
    """Keep an event. Returns it and the changes: its own last; none if the key has been used for this request before.

    Beyond ``events_max`` the oldest event that does not protect recordings gives way. Raises ``ConflictError`` if all
    do, and ``UnprocessableError`` for a key that was used for another request.
    """
    with database.transaction(is_synced=True) as connection:
        if key is not None and (event_id := _known(connection, key, new.created_90k)) is not None:
            found = _get(connection, event_id)
            if found is None:
                raise ConflictError("the event that was created with this Idempotency-Key has been deleted")
            return found, []
        changes = []
        if (connection.scalar(select(func.count()).select_from(event)) or 0) >= events_max:
            changes = _remove_oldest(database, connection, None, 1)
            if not changes:
                raise ConflictError(
                    f"there are {events_max} events (EVENTS_MAX) and all of them protect recordings: delete some"
                )
        connection.execute(insert(event).values(_to_row(new)))
        change_cover(connection, new.camera_id, None, _marked(new), database.rolls_of(new.camera_id))
        changes.append(_log(connection, ChangeKind.CREATED, new))
        if key is not None:
            _remember(connection, key, new)
        return new, changes


def change(database: Database, event_id: str, apply: Callable[[Event], Event]) -> tuple[Event, list[EventChange]]:
    """Change an event by ``apply``. Raises ``NotFoundError``, and what ``apply`` raises."""
    with database.transaction(is_synced=True) as connection:
        before = _require(connection, event_id)
        after = apply(before)
        if after == before:
            return before, []
        _write(database, connection, before, after)
        return after, [_log(connection, ChangeKind.UPDATED, after)]


def remove(database: Database, event_id: str) -> list[EventChange]:
    """Delete an event. Raises ``NotFoundError``."""
    with database.transaction(is_synced=True) as connection:
        found = _require(connection, event_id)
        return [_delete(database, connection, found)]


def remove_oldest(database: Database, before_90k: int | None, limit: int) -> list[EventChange]:
    """Delete the oldest events that protect no recordings; with ``before_90k``, those that ended before it."""
    with database.transaction(is_synced=True) as connection:
        return _remove_oldest(database, connection, before_90k, limit)


def end_open(database: Database, camera_id: str, now_90k: int) -> list[EventChange]:
    """End the open events of a camera."""
    changes = []
    with database.transaction(is_synced=True) as connection:
        query = select(*_COLUMNS).where(
            event.c.is_long.is_(True), event.c.camera_id == camera_id, event.c.end_90k.is_(None)
        )
        for row in connection.execute(query.order_by(event.c.start_90k, event.c.id)).all():
            opened = Event(**row._mapping)
            ended = replace(opened, end_90k=max(opened.start_90k, now_90k), updated_90k=now_90k)
            _write(database, connection, opened, ended)
            changes.append(_log(connection, ChangeKind.UPDATED, ended))
    return changes


# --- reading


def get(database: Database, event_id: str) -> Event | None:
    """An event."""
    with database.transaction() as connection:
        return _get(connection, event_id)


def page(
    database: Database, wanted: EventFilter, order: EventOrder, limit: int, after: tuple[int, str] | None
) -> list[Event]:
    """Events in order, at most ``limit``, after ``after`` (start, id)."""
    is_newest = order is EventOrder.NEWEST
    keys = (event.c.start_90k, event.c.id)
    query = select(*_COLUMNS).where(*_conditions(wanted))
    if after is not None:
        start_90k, event_id = after
        # The first condition only helps the time index, which cannot use a condition with "or".
        if is_newest:
            query = query.where(keys[0] <= start_90k, or_(keys[0] < start_90k, keys[1] < event_id))
        else:
            query = query.where(keys[0] >= start_90k, or_(keys[0] > start_90k, keys[1] > event_id))
    query = query.order_by(*(key.desc() if is_newest else key for key in keys)).limit(limit)
    with database.transaction() as connection:
        rows = [Event(*row) for part in _by_length(query, wanted) for row in connection.execute(part)]
    rows.sort(key=lambda each: (each.start_90k, each.id), reverse=is_newest)
    return rows[:limit]


def _by_length(query: Select[Any], wanted: EventFilter) -> list[Select[Any]]:
    """Rule 3: the query for short events and for long ones; or for all, without a start."""
    start_90k = wanted.start_90k
    if start_90k is None:
        return [query]
    begins = event.c.start_90k
    overlaps = or_(begins >= start_90k, event.c.end_90k > start_90k)
    return [
        query.where(event.c.is_long.is_(False), begins > start_90k - LONG_90K, overlaps),
        query.where(event.c.is_long.is_(True), or_(overlaps, event.c.end_90k.is_(None))),
    ]


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    table = event.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.cameras is not None:
        cameras = sorted(wanted.cameras)
        conditions.append(table.camera_id == cameras[0] if len(cameras) == 1 else table.camera_id.in_(cameras))
    if wanted.end_90k is not None:
        conditions.append(table.start_90k < wanted.end_90k)
    if wanted.labels:
        conditions.append(table.label.in_(wanted.labels))
    if wanted.sources:
        conditions.append(table.source.in_(wanted.sources))
    if wanted.text:
        conditions.append(table.words.contains(_folded(wanted.text), autoescape=True))
    if wanted.is_reviewed is not None:
        conditions.append(table.is_reviewed.is_(wanted.is_reviewed))
    return conditions


def has_camera(database: Database, camera_id: str) -> bool:
    """Whether there is an event of a camera."""
    with database.transaction() as connection:
        return connection.scalar(select(event.c.id).where(event.c.camera_id == camera_id).limit(1)) is not None


def changes_after(database: Database, number: int, limit: int) -> list[EventChange]:
    """The changes after this number, oldest first. Each has its event as it is now.

    An event that is gone has only its deletion.
    """
    query = (
        select(event_change.c.number, event_change.c.kind, event_change.c.deleted, *_COLUMNS)
        .join(event, event.c.id == event_change.c.event_id, isouter=True)
        .where(event_change.c.number > number)
        .order_by(event_change.c.number)
        .limit(limit)
    )
    changes = []
    with database.transaction() as connection:
        for row in connection.execute(query):
            if row.kind == ChangeKind.DELETED:
                changes.append(EventChange(row.number, ChangeKind.DELETED, Event(**row.deleted)))
            elif row.id is not None:
                values: tuple[Any, ...] = row[3:]
                changes.append(EventChange(row.number, ChangeKind(row.kind), Event(*values)))
    return changes


def log_state(database: Database) -> LogState:
    """The log as it is."""
    number = event_change.c.number
    with database.transaction() as connection:
        epoch = connection.scalar(select(event_log.c.epoch)) or ""
        oldest, newest = connection.execute(select(func.min(number), func.max(number))).one()
        events = connection.scalar(select(func.count()).select_from(event)) or 0
    return LogState(epoch, (oldest or 1) - 1, newest or 0, events)


# --- rows


def _to_row(item: Event) -> dict[str, Any]:
    row = {column.name: getattr(item, column.name) for column in _COLUMNS}
    row["is_long"] = item.end_90k is None or item.end_90k - item.start_90k >= LONG_90K
    row["words"] = _words(item)
    return row


def _words(item: Event) -> str:
    """The label, the source and every text in the data, to search in."""
    words = [item.label, item.source]
    left: list[Any] = [item.data]
    while left:
        value = left.pop()
        if isinstance(value, str):
            words.append(value)
        elif isinstance(value, dict):
            left.extend(reversed(value.values()))
        elif isinstance(value, list):
            left.extend(reversed(value))
    return _folded("\n".join(words))


def _folded(text: str) -> str:
    return text.casefold().replace("\0", "")


def _get(connection: Connection, event_id: str) -> Event | None:
    row = connection.execute(select(*_COLUMNS).where(event.c.id == event_id)).first()
    return None if row is None else Event(**row._mapping)


def _require(connection: Connection, event_id: str) -> Event:
    found = _get(connection, event_id)
    if found is None:
        raise NotFoundError("there is no such event; it may have been deleted")
    return found


def _write(database: Database, connection: Connection, before: Event, after: Event) -> None:
    connection.execute(update(event).where(event.c.id == after.id).values(_to_row(after)))
    change_cover(connection, after.camera_id, _marked(before), _marked(after), database.rolls_of(after.camera_id))


def _marked(item: Event) -> Marked:
    return Marked(item.start_90k, item.end_90k, item.is_protected)


def _delete(database: Database, connection: Connection, item: Event) -> EventChange:
    connection.execute(delete(event).where(event.c.id == item.id))
    change_cover(connection, item.camera_id, _marked(item), None, database.rolls_of(item.camera_id))
    return _log(connection, ChangeKind.DELETED, item)


def _remove_oldest(database: Database, connection: Connection, before_90k: int | None, limit: int) -> list[EventChange]:
    query = select(*_COLUMNS).where(event.c.is_protected.is_(False))
    if before_90k is not None:
        query = query.where(event.c.start_90k < before_90k, event.c.end_90k < before_90k)
    rows = connection.execute(query.order_by(event.c.start_90k, event.c.id).limit(limit)).all()
    return [_delete(database, connection, Event(*row)) for row in rows]


def _log(connection: Connection, kind: ChangeKind, item: Event) -> EventChange:
    """Add a change to the log (rule 2)."""
    deleted = {column.name: getattr(item, column.name) for column in _COLUMNS} if kind is ChangeKind.DELETED else None
    added = connection.execute(insert(event_change).values(event_id=item.id, kind=kind.value, deleted=deleted))
    assert added.inserted_primary_key is not None
    number: int = added.inserted_primary_key[0]
    connection.execute(delete(event_change).where(event_change.c.number <= number - CHANGES_MAX))
    return EventChange(number, kind, item)


# --- idempotency keys


def _known(connection: Connection, key: IdempotencyKey, now_90k: int) -> str | None:
    table = event_key.c
    query = select(table.digest, table.event_id).where(table.owner == key.owner, table.key == key.key)
    row = connection.execute(query.where(table.created_90k >= now_90k - KEY_MAX_AGE_90K)).first()
    if row is None:
        return None
    if row.digest != key.digest:
        raise UnprocessableError("this Idempotency-Key was used for another request: use a new key for each event")
    return str(row.event_id)


def _remember(connection: Connection, key: IdempotencyKey, new: Event) -> None:
    table = event_key.c
    connection.execute(delete(event_key).where(table.created_90k < new.created_90k - KEY_MAX_AGE_90K))
    added = connection.execute(
        insert(event_key).values(
            owner=key.owner, key=key.key, digest=key.digest, event_id=new.id, created_90k=new.created_90k
        )
    )
    assert added.inserted_primary_key is not None
    connection.execute(delete(event_key).where(table.number <= added.inserted_primary_key[0] - KEYS_MAX))
