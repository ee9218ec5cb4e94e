"""The SQL of tokens and signed links. Blocking; in the thread of the index."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, delete, insert, or_, select, update

from gateway.access import Scope
from gateway.errors import ConflictError
from hls.archive.access_schema import access_token, signed_link


class AccessDatabase(Protocol):
    """The part of :class:`~hls.archive.database.Database` that is used here."""

    def transaction(self, *, is_synced: bool = False) -> AbstractContextManager[Connection]:
        """One transaction; ``is_synced``: on the disk when it ends. Raises ``StorageError``."""
        ...


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A bearer token that was made over the API. Times are 90 kHz since the Unix epoch."""

    id: str
    name: str
    sha256: str
    role: str | None
    scopes: frozenset[Scope]
    cameras: frozenset[str] | None
    """``None``: all."""
    created_90k: int
    created_by: str
    expires_90k: int | None
    last_used_90k: int | None = None


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """A signed URL, without its token."""

    id: str
    name: str | None
    url: str
    created_90k: int
    created_by: str
    expires_90k: int
    revoked_90k: int | None = None


def load_tokens(database: AccessDatabase) -> list[IssuedToken]:
    """All tokens, the oldest first."""
    with database.transaction() as connection:
        rows = connection.execute(select(access_token).order_by(access_token.c.created_90k, access_token.c.id)).all()
    return [
        IssuedToken(
            id=row.id,
            name=row.name,
            sha256=row.sha256,
            role=row.role,
            scopes=frozenset(Scope(scope) for scope in row.scopes),
            cameras=None if row.cameras is None else frozenset(row.cameras),
            created_90k=row.created_90k,
            created_by=row.created_by,
            expires_90k=row.expires_90k,
            last_used_90k=row.last_used_90k,
        )
        for row in rows
    ]


def load_links(database: AccessDatabase) -> list[IssuedLink]:
    """All links, the oldest first."""
    with database.transaction() as connection:
        rows = connection.execute(select(signed_link).order_by(signed_link.c.created_90k, signed_link.c.id)).all()
    return [
        IssuedLink(
            id=row.id,
            name=row.name,
            url=row.url,
            created_90k=row.created_90k,
            created_by=row.created_by,
            expires_90k=row.expires_90k,
            revoked_90k=row.revoked_90k,
        )
        for row in rows
    ]


def add_token(database: AccessDatabase, token: IssuedToken, count_max: int) -> None:
    """Keep a new token. Raises ``ConflictError`` for a name that there is, and beyond ``count_max``."""
    with database.transaction(is_synced=True) as connection:
        names = list(connection.scalars(select(access_token.c.name)))
        if token.name in names:
            raise ConflictError(
                f"there is a token with the name {token.name!r} already: choose another, or revoke that"
            ).because("token_name_taken", name=token.name)
        if len(names) >= count_max:
            raise ConflictError(f"there are {count_max} tokens, the limit; revoke one that is not needed").because(
                "limit_reached", limit=count_max
            )
        connection.execute(insert(access_token).values(_token_row(token)))


def remove_token(database: AccessDatabase, token_id: str) -> None:
    """Forget a token."""
    with database.transaction(is_synced=True) as connection:
        connection.execute(delete(access_token).where(access_token.c.id == token_id))


def note_uses(database: AccessDatabase, used_90k: Mapping[str, int]) -> None:
    """Keep when tokens were used last, by id."""
    with database.transaction() as connection:
        for token_id, time_90k in sorted(used_90k.items()):
            table = access_token.c
            is_later = or_(table.last_used_90k.is_(None), table.last_used_90k < time_90k)
            used = update(access_token).where(table.id == token_id, is_later)
            connection.execute(used.values(last_used_90k=time_90k))


def write_links(database: AccessDatabase, links: Sequence[IssuedLink], forgotten: Collection[str] = ()) -> None:
    """Keep links, new or changed, and forget others, by id."""
    ids = [link.id for link in links] + list(forgotten)
    with database.transaction(is_synced=bool(links)) as connection:
        for at in range(0, len(ids), _IDS_MAX):
            connection.execute(delete(signed_link).where(signed_link.c.id.in_(ids[at : at + _IDS_MAX])))
        if links:
            connection.execute(insert(signed_link), [_link_row(link) for link in links])


def replace_all(database: AccessDatabase, tokens: Sequence[IssuedToken], links: Sequence[IssuedLink]) -> None:
    """Let the tables have these rows and no others."""
    with database.transaction(is_synced=True) as connection:
        connection.execute(delete(access_token))
        connection.execute(delete(signed_link))
        if tokens:
            connection.execute(insert(access_token), [_token_row(token) for token in tokens])
        if links:
            connection.execute(insert(signed_link), [_link_row(link) for link in links])


_IDS_MAX = 500
"""Parameters of one statement: SQLite has a limit."""


def _token_row(token: IssuedToken) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "sha256": token.sha256,
        "role": token.role,
        "scopes": sorted(token.scopes),
        "cameras": None if token.cameras is None else sorted(token.cameras),
        "created_90k": token.created_90k,
        "created_by": token.created_by,
        "expires_90k": token.expires_90k,
        "last_used_90k": token.last_used_90k,
    }


def _link_row(link: IssuedLink) -> dict[str, object]:
    return {
        "id": link.id,
        "name": link.name,
        "url": link.url,
        "created_90k": link.created_90k,
        "created_by": link.created_by,
        "expires_90k": link.expires_90k,
        "revoked_90k": link.revoked_90k,
    }
