"""IssuedTokens: bearer tokens that administrators make and revoke while the gateway runs.

Rules:

1. The token itself is in the answer to who made it, and nowhere else. Only its SHA-256 is kept: it has 256 random bits,
   so that a hash without salt or work cannot be guessed.
2. A token is in the database before the answer is sent. It is out of the database before its revocation is confirmed.
   What it opened ends at once (:meth:`web.auth.sessions.AuthSessions.tokens_changed`).
3. At most :data:`TOKENS_MAX`, those that have expired included. Their names differ.
4. When a token was used last is written every :data:`web.auth.issued.FLUSH_S`: a crash loses that much of it.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace

from gateway.access import Scope
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import NotFoundError
from web.auth import access_table
from web.auth.access_index import AccessIndex
from web.auth.access_table import IssuedToken
from web.auth.grant import ExpiredError, Grant
from web.auth.roles import Role

TOKENS_MAX = 500

TOKEN_BYTES = 32
PREFIX = "le_"
"""So that scanners of published secrets, and people, know one when they see it."""

ID_BYTES = 6


class IssuedTokens:
    """See the module. Runs on the event loop."""

    def __init__(self, index: AccessIndex | None, clock: Clock, on_revoked: Callable[[], None]) -> None:
        self._index = index
        self._clock = clock
        self._on_revoked = on_revoked
        self._lock = asyncio.Lock()
        self._tokens: dict[str, IssuedToken] = {}
        self._grants: dict[bytes, tuple[str, Grant]] = {}
        """Id and grant, by hash. A look-up takes a hash and not the token, so its duration tells nothing of that."""
        self._used_90k: dict[str, int] = {}
        """Not written yet; rule 4."""

    @property
    def tokens(self) -> list[IssuedToken]:
        """All tokens, the oldest first."""
        return [
            replace(token, last_used_90k=self._used_90k.get(token.id, token.last_used_90k))
            for token in self._tokens.values()
        ]

    async def load(self) -> None:
        """Read the tokens; after the index was opened. Raises ``StorageError``."""
        if self._index is not None:
            self._set({token.id: token for token in await self._index.call(access_table.load_tokens)})

    async def reload(self) -> None:
        """Take over what others have changed. Raises ``StorageError``."""
        if self._index is None:
            return
        async with self._lock:
            before = self._tokens
            self._set({token.id: token for token in await self._index.call(access_table.load_tokens)})
            ended = before.keys() - self._tokens.keys()
            for token_id in ended:
                self._used_90k.pop(token_id, None)
        if ended:
            self._on_revoked()

    async def create(
        self,
        name: str,
        role: Role | None,
        scopes: frozenset[Scope],
        cameras: frozenset[str] | None,
        expires_90k: int | None,
        created_by: str,
    ) -> tuple[IssuedToken, str]:
        """Make a token; returns it with its text. Raises ``ConflictError`` and ``StorageError``."""
        assert self._index is not None
        async with self._lock:
            text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
            token = IssuedToken(
                id=secrets.token_hex(ID_BYTES),
                name=name,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                role=role,
                scopes=scopes,
                cameras=cameras,
                created_90k=self._clock.wall_90k(),
                created_by=created_by,
                expires_90k=expires_90k,
            )
            await self._index.call(access_table.add_token, token, TOKENS_MAX)
            self._set({**self._tokens, token.id: token})
            return token, text

    async def revoke(self, token_id: str) -> IssuedToken:
        """End a token, and what it opened. Raises ``NotFoundError`` and ``StorageError``."""
        async with self._lock:
            token = self._tokens.get(token_id)
            if token is None or self._index is None:
                raise NotFoundError(f"no token {token_id[:64]!r} can be revoked; GET /api/tokens lists all").because(
                    "token_gone"
                )
            await self._index.call(access_table.remove_token, token_id)
            self._set({key: token for key, token in self._tokens.items() if key != token_id})
            self._used_90k.pop(token_id, None)
        self._on_revoked()
        return token

    def find(self, token: str) -> Grant | None:
        """The grant of a token; ``None`` for an unknown one. Raises :class:`~web.auth.grant.ExpiredError`."""
        found = self._grants.get(hashlib.sha256(token.encode(errors="surrogateescape")).digest())
        if found is None:
            return None
        token_id, grant = found
        now_90k = self._clock.wall_90k()
        if grant.expires_at_s is not None and now_90k / CLOCK_RATE >= grant.expires_at_s:
            raise ExpiredError("this token has expired; ask for a new one")
        self._used_90k[token_id] = now_90k
        return grant

    def named(self, name: str) -> Grant | None:
        """The grant with a name."""
        return next((grant for _, grant in self._grants.values() if grant.name == name), None)

    def digest_of(self, name: str) -> bytes | None:
        """The hash of the token whose grant has a name."""
        return next((digest for digest, (_, grant) in self._grants.items() if grant.name == name), None)

    async def flush(self) -> None:
        """Write when tokens were used; rule 4. Raises ``StorageError``; it is tried again then."""
        if self._index is None or not self._used_90k:
            return
        used_90k = dict(self._used_90k)
        await self._index.call(access_table.note_uses, used_90k)
        self._tokens = {token.id: token for token in self.tokens}
        for token_id, time_90k in used_90k.items():
            if self._used_90k.get(token_id) == time_90k:
                del self._used_90k[token_id]

    def _set(self, tokens: dict[str, IssuedToken]) -> None:
        self._tokens = tokens
        self._grants = {bytes.fromhex(token.sha256): (token.id, _grant(token)) for token in tokens.values()}


def _grant(token: IssuedToken) -> Grant:
    expires_at_s = None if token.expires_90k is None else token.expires_90k / CLOCK_RATE
    return Grant(f"token {token.name} ({token.id})", token.scopes, token.cameras, expires_at_s)
