"""The SQL of sign-ins that several processes share. Blocking; each function runs in a transaction.

Rules:

1. The table has the hash of a secret, and not the secret.
2. ``now`` is the moment in SQL, in seconds of a clock that all these processes agree on. What goes in and out are
   spans: how long ago a sign-in was used. So nobody has to have the same clock otherwise.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, func, insert, select, update

from gateway.access import Scope
from hls.cluster.schema import sign_in
from hls.cluster.shared import tell
from web.auth.grant import Grant

Moment = ColumnElement[float]

KEYS_MAX = 500
"""Parameters of one statement: SQLite has a limit."""


@dataclass(frozen=True, slots=True)
class SharedSignIn:
    """A row. ``idle_s``: how long ago it was used, as far as the table knows."""

    grant: Grant
    id_token: str
    idle_s: float = 0.0


def add(connection: Connection, now: Moment, key: str, shared: SharedSignIn, count_max: int, idle_max_s: float) -> None:
    """Keep a sign-in. Those that are over are removed, and beyond ``count_max`` those that are idle longest."""
    table = sign_in.c
    connection.execute(delete(sign_in).where(table.used_s < now - idle_max_s))
    row = {"key": key, "body": _to_json(shared.grant), "id_token": shared.id_token, "used_s": now - shared.idle_s}
    connection.execute(insert(sign_in).values(row))
    over = (connection.scalar(select(func.count()).select_from(sign_in)) or 0) - count_max
    if over > 0:
        oldest = select(table.key).order_by(table.used_s).limit(over)
        connection.execute(delete(sign_in).where(table.key.in_(oldest)))
        tell(connection)


def find(connection: Connection, now: Moment, key: str) -> SharedSignIn | None:
    """A sign-in."""
    table = sign_in.c
    query = select(table.body, table.id_token, (now - table.used_s).label("idle_s")).where(table.key == key)
    row = connection.execute(query).one_or_none()
    return None if row is None else SharedSignIn(_from_json(row.body), row.id_token, row.idle_s)


def remove(connection: Connection, now: Moment, key: str) -> SharedSignIn | None:
    """End a sign-in, at all processes; returns it."""
    found = find(connection, now, key)
    if found is not None:
        connection.execute(delete(sign_in).where(sign_in.c.key == key))
        tell(connection)
    return found


def missing(connection: Connection, now: Moment, keys: Collection[str]) -> list[str]:
    """Those that are no sign-ins."""
    del now
    ordered, table, present = list(keys), sign_in.c, set[str]()
    for at in range(0, len(ordered), KEYS_MAX):
        present.update(connection.scalars(select(table.key).where(table.key.in_(ordered[at : at + KEYS_MAX]))))
    return [key for key in ordered if key not in present]


def note_uses(connection: Connection, now: Moment, idle_s: Mapping[str, float]) -> None:
    """Keep when sign-ins were used last: so many seconds ago."""
    table = sign_in.c
    used_s = now - bindparam("ago_s")
    newest = case((table.used_s > used_s, table.used_s), else_=used_s)
    statement = update(sign_in).where(table.key == bindparam("sign_in_key")).values(used_s=newest)
    # In one order, so that two processes do not wait for each other.
    rows = [{"sign_in_key": key, "ago_s": idle_s[key]} for key in sorted(idle_s)]
    if rows:
        connection.execute(statement, rows)


def _to_json(grant: Grant) -> str:
    """The grant of a person: it has no span."""
    return json.dumps(
        {
            "name": grant.name,
            "scopes": sorted(grant.scopes),
            "cameras": None if grant.cameras is None else sorted(grant.cameras),
            "expires_at_s": grant.expires_at_s,
            "subject": grant.subject,
        }
    )


def _from_json(text: str) -> Grant:
    body = json.loads(text)
    cameras = body["cameras"]
    return Grant(
        body["name"],
        frozenset(Scope(scope) for scope in body["scopes"]),
        None if cameras is None else frozenset(cameras),
        body["expires_at_s"],
        subject=body["subject"],
    )
