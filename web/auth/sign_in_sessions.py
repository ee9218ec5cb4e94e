"""SignInSessions: who has signed in on the page, by the secret in their cookie.

Rules:

1. A session ends when it was not used for ``idle_s``, ``lifetime_s`` after the sign-in, and by signing out. What it
   opened ends then, too (:mod:`web.auth.sessions`); after idleness within a minute.
2. Sessions are in memory, by the hash of their secret. A restart ends them: the provider, where people are still signed
   in, lets them in again.
3. At most :data:`SESSIONS_MAX`. A further one replaces the one that was not used for the longest time.
4. Several workers, or nodes of a cluster, share them (:mod:`web.auth.shared_access`): each has those in memory that it
   was asked for, and goes on with them while what they share fails. Before it takes one for idle, it asks whether
   another was asked for it. When one was used is shared every :data:`SHARE_USES_S`.
"""

import hashlib
import secrets
from dataclasses import dataclass

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import UnavailableError
from web.auth.grant import Grant
from web.auth.shared_access import SharedAccess
from web.auth.sign_in_table import SharedSignIn

SESSIONS_MAX = 10_000

SECRET_BYTES = 32

SHARE_USES_S = 5.0
"""Much less than the shortest idle time."""


@dataclass(slots=True)
class SignInSession:
    """``id_token`` tells the provider who signs out. ``used_at_s`` is monotonic."""

    grant: Grant
    id_token: str
    used_at_s: float


class SignInSessions:
    """See the module."""

    def __init__(self, clock: Clock, idle_s: int, lifetime_s: int, shared: SharedAccess | None = None) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self.lifetime_s = lifetime_s
        self._sessions: dict[str, SignInSession] = {}
        """In the order of their last use."""
        self._shared = shared
        self._used_s: dict[str, float] = {}
        """Not shared yet; rule 4."""
        self._shared_at_s = clock.monotonic()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def ends_at_s(self) -> float:
        """When a session ends at the latest that begins now; Unix seconds."""
        return self._clock.wall_90k() / CLOCK_RATE + self.lifetime_s

    async def open(self, grant: Grant, id_token: str) -> str:
        """Begin a session; returns its secret. The grant ends with the session. Raises ``UnavailableError``."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        key, now_s = _key(secret), self._clock.monotonic()
        if self._shared is not None:
            await self._shared.add(key, SharedSignIn(grant, id_token), SESSIONS_MAX, self._idle_s)
        self._keep(key, SignInSession(grant, id_token, now_s))
        return secret

    async def find(self, secret: str) -> SignInSession | None:
        """The session of a secret; ``None`` if it has ended. This is no use of it. Raises ``UnavailableError``."""
        key = _key(secret)
        session = self._sessions.get(key)
        if self._shared is not None and (session is None or self._is_over(session)):
            found = await self._shared.find(key)
            session = None if found is None else self._of(found)
            if session is not None and not self._is_over(session):
                self._keep(key, session)
        if session is not None and not self._is_over(session):
            return session
        self._sessions.pop(key, None)
        return None

    def touch(self, secret: str) -> None:
        """A request came."""
        key = _key(secret)
        if (session := self._sessions.pop(key, None)) is not None:
            session.used_at_s = self._clock.monotonic()
            self._sessions[key] = session
            if self._shared is not None:
                self._used_s[key] = session.used_at_s

    async def close(self, secret: str) -> SignInSession | None:
        """End a session; returns it. Raises ``UnavailableError``."""
        key = _key(secret)
        if self._shared is None:
            return self._sessions.pop(key, None)
        found = await self._shared.remove(key)
        self._sessions.pop(key, None)
        return None if found is None else self._of(found)

    async def share_uses(self) -> None:
        """Tell the others which sessions were used here (rule 4). Raises ``UnavailableError``."""
        now_s = self._clock.monotonic()
        if self._shared is None or not self._used_s or now_s - self._shared_at_s < SHARE_USES_S:
            return
        used_s, self._used_s, self._shared_at_s = self._used_s, {}, now_s
        try:
            await self._shared.note_uses({key: now_s - at_s for key, at_s in used_s.items()})
        except UnavailableError:
            self._used_s = {key: used_s[key] for key in used_s if key in self._sessions} | self._used_s
            raise

    async def forget_ended(self) -> bool:
        """Forget the sessions that were ended elsewhere; returns whether there are any."""
        if self._shared is None or not self._sessions:
            return False
        ended = await self._shared.missing(self._sessions)
        for key in ended:
            self._sessions.pop(key, None)
            self._used_s.pop(key, None)
        return bool(ended)

    def _of(self, shared: SharedSignIn) -> SignInSession:
        return SignInSession(shared.grant, shared.id_token, self._clock.monotonic() - shared.idle_s)

    def _keep(self, key: str, session: SignInSession) -> None:
        if key not in self._sessions and len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[key] = session

    def _is_over(self, session: SignInSession) -> bool:
        expires_at_s = session.grant.expires_at_s
        is_idle = self._clock.monotonic() - session.used_at_s >= self._idle_s
        return is_idle or (expires_at_s is not None and self._clock.wall_90k() / CLOCK_RATE >= expires_at_s)


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
