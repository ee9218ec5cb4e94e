"""SignInSessions: who has signed in on the page, by the secret in their cookie.

Rules:

1. A session ends when it was not used for ``idle_s``, ``lifetime_s`` after the sign-in, and by signing out. What it
   opened ends then, too (:mod:`web.auth.sessions`); after idleness within a minute.
2. Sessions are in memory, by the hash of their secret. A restart ends them: the provider, where people are still signed
   in, lets them in again.
3. At most :data:`SESSIONS_MAX`. A further one replaces the one that was not used for the longest time.
"""

import hashlib
import secrets
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE, Clock
from web.auth.grant import Grant

SESSIONS_MAX = 10_000

SECRET_BYTES = 32


@dataclass(slots=True)
class SignInSession:
    """``id_token`` tells the provider who signs out. ``used_at_s`` is monotonic."""

    grant: Grant
    id_token: str
    used_at_s: float


class SignInSessions:
    """See the module."""

    def __init__(self, clock: Clock, idle_s: int, lifetime_s: int) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self.lifetime_s = lifetime_s
        self._sessions: dict[str, SignInSession] = {}
        """In the order of their last use."""

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def ends_at_s(self) -> float:
        """When a session ends at the latest that begins now; Unix seconds."""
        return self._clock.wall_90k() / CLOCK_RATE + self.lifetime_s

    def open(self, grant: Grant, id_token: str) -> str:
        """Begin a session; returns its secret. The grant ends with the session."""
        if len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._sessions[_key(secret)] = SignInSession(grant, id_token, self._clock.monotonic())
        return secret

    def find(self, secret: str) -> SignInSession | None:
        """The session of a secret; ``None`` if it has ended. This does not count as use."""
        key = _key(secret)
        session = self._sessions.get(key)
        if session is None:
            return None
        expires_at_s = session.grant.expires_at_s
        is_idle = self._clock.monotonic() - session.used_at_s >= self._idle_s
        if is_idle or (expires_at_s is not None and self._clock.wall_90k() / CLOCK_RATE >= expires_at_s):
            del self._sessions[key]
            return None
        return session

    def touch(self, secret: str) -> None:
        """A request came."""
        key = _key(secret)
        if (session := self._sessions.pop(key, None)) is not None:
            session.used_at_s = self._clock.monotonic()
            self._sessions[key] = session

    def close(self, secret: str) -> SignInSession | None:
        """End a session; returns it."""
        return self._sessions.pop(_key(secret), None)


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
