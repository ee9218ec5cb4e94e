"""What the nodes of a cluster share besides cameras: changes of it, marks of cameras, and documents.

Rules:

1. A transaction that changes any of it calls :func:`tell` first: the number that this raises is a lock, so that what
   the transaction reads after it stays as it is until its end (PostgreSQL, §13.2.1). Nodes look at the number, and are
   told on :data:`CHANNEL` besides.
2. Of a document, only its kind, its id and its place in the list are known here.

All functions run in a transaction. Workers use the number and the sign-ins in a file (:mod:`web.auth.access_file`).
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, TextClause, delete, func, insert, select, text, update

from hls.cluster import schema

CHANNEL = "liveedge_cluster"
"""Of NOTIFY."""

SHARED = "shared"
"""What NOTIFY says of a change of what is shared here."""

MARK_BYTES = 6

MARKS_MAX = 4096
"""Of the latest removals."""

Check = Callable[[Mapping[str, str]], None]
"""Raises what refuses another document, when it gets those that there are."""


def number(connection: Connection) -> int:
    """Another one after each change."""
    found: int = connection.exec_driver_sql("SELECT number FROM cluster_change").scalar_one()
    return found


def tell(connection: Connection) -> None:
    """Something changes in this transaction (rule 1)."""
    connection.execute(update(schema.change).values(number=schema.change.c.number + 1))
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}, '{SHARED}'"))


# --- marks of cameras


def give_marks(connection: Connection, insert_: Callable[..., Any], removed: Iterable[str], now: TextClause) -> None:
    """Cameras are removed. ``insert_``: that of the dialect."""
    tell(connection)
    table = schema.camera_mark.c
    for camera_id in sorted(removed):
        values = {"mark": secrets.token_urlsafe(MARK_BYTES), "removed_at": now}
        written = insert_(schema.camera_mark).values(camera_id=camera_id, **values)
        connection.execute(written.on_conflict_do_update(index_elements=["camera_id"], set_=values))
    newest = select(table.camera_id).order_by(table.removed_at.desc()).limit(MARKS_MAX)
    if (connection.scalar(select(func.count()).select_from(schema.camera_mark)) or 0) > MARKS_MAX:
        connection.execute(delete(schema.camera_mark).where(table.camera_id.not_in(newest)))


def marks(connection: Connection) -> dict[str, str]:
    """The marks of the ids of which a camera was removed."""
    return {row.camera_id: row.mark for row in connection.execute(select(schema.camera_mark))}


# --- documents


def documents(connection: Connection, kind: str) -> dict[str, str]:
    """The documents of a kind by their ids, in the order in which they were made."""
    table = schema.document.c
    query = select(table.id, table.body).where(table.kind == kind).order_by(table.position, table.id)
    return {row.id: row.body for row in connection.execute(query)}


def put_document(connection: Connection, kind: str, document_id: str, body: str, check: Check) -> bool:
    """Keep a document; whether it is new. A new one is checked against those that there are."""
    tell(connection)
    table = schema.document.c
    same = table.kind == kind, table.id == document_id
    if connection.execute(update(schema.document).where(*same).values(body=body)).rowcount:
        return False
    check(documents(connection, kind))
    position = (connection.scalar(select(func.max(table.position)).where(table.kind == kind)) or 0) + 1
    connection.execute(insert(schema.document).values(kind=kind, id=document_id, position=position, body=body))
    return True


def keep_document(connection: Connection, kind: str, document_id: str, body: str) -> str:
    """Keep a document, unless there is one of this id; the one that is there then."""
    tell(connection)
    table = schema.document.c
    query = select(table.body).where(table.kind == kind, table.id == document_id)
    found: str | None = connection.scalar(query)
    if found is None:
        connection.execute(insert(schema.document).values(kind=kind, id=document_id, position=0, body=body))
    return body if found is None else found


def remove_documents(connection: Connection, kind: str, ids: Collection[str]) -> bool:
    """Remove documents; whether any was there."""
    tell(connection)
    table = schema.document.c
    return connection.execute(delete(schema.document).where(table.kind == kind, table.id.in_(ids))).rowcount > 0
