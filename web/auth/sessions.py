"""AuthSessions: revoke what a credential opened when the credential ends.

Theory of operation. Most requests are answered before a credential can change. Everything that lasts (a stream, a
download, a WebRTC viewer, a Socket.IO connection, a subscription on it) registers a callback with
:meth:`AuthSession.on_revoke`. An :class:`AuthSession` is a credential and its current grant. :class:`AuthSessions`
checks all sessions that have callbacks every :data:`CHECK_INTERVAL_S`, and at once when the configured tokens change.

Rules:

1. When a grant expires, its callbacks are called. Downloads are excepted: they finish, since they were allowed when
   they were requested.
2. Each credential is verified again when the tokens change, and every :data:`VERIFY_INTERVAL_S`, because an issuer
   gives no notice when it revokes a key. What the new grant allows goes on. Everything else is revoked, downloads too.
3. While an issuer cannot be reached, nothing is revoked for that reason.
4. A callback gets the error that a request with this credential would get now.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import ForbiddenError, LiveedgeError, UnauthorizedError, UnavailableError
from signaling.access import OnRevoke, Unsubscribe
from web.auth.grant import ExpiredError, Grant
from web.auth.target import Target

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0
"""How long something may outlive its credential. A check is one comparison for each callback."""

VERIFY_INTERVAL_S = 60.0
"""Verifying a signature takes about 50 µs: for a thousand viewers, a thousandth of a core."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer token; or the token of a signed URL, with the ``target`` of the request; or nothing.

    ``is_cookie``: the token is the secret of a sign-in (:mod:`web.auth.sign_in_sessions`).
    """

    token: str | None = field(default=None, repr=False)
    target: Target | None = None
    is_cookie: bool = False


NO_CREDENTIAL = Credential()

Verify = Callable[[Credential], Awaitable[Grant]]
"""Gives the current grant of a credential. Raises ``UnauthorizedError`` and ``UnavailableError``."""

Require = Callable[[Grant], None]
"""Raises :class:`~gateway.errors.ForbiddenError` for a grant that does not allow what was opened."""


def _require_nothing(_: Grant) -> None:
    return


class Subscription(Protocol):
    """Something that a credential opened; see :meth:`AuthSession.on_revoke`."""

    @property
    def callback(self) -> OnRevoke: ...

    @property
    def require(self) -> Require: ...

    @property
    def is_download(self) -> bool: ...


@dataclass(eq=False, slots=True)
class _Subscription:
    callback: OnRevoke
    require: Require
    is_download: bool


class AuthSession:
    """A verified credential. ``grant`` is what it allows at this moment."""

    def __init__(self, sessions: "AuthSessions", credential: Credential, grant: Grant, version: int = 0) -> None:
        self.credential = credential
        self.grant = grant
        self.version = version
        """Of the configured tokens that ``grant`` was made with."""
        self.subscriptions: dict[Subscription, None] = {}
        self._sessions = sessions

    def on_revoke(
        self, callback: OnRevoke, *, require: Require = _require_nothing, is_download: bool = False
    ) -> Unsubscribe:
        """Call ``callback`` once, with the reason, when the credential ends or ``require`` refuses its grant.

        Returns a function that removes the callback. ``is_download``: see rule 1.
        """
        subscription = _Subscription(callback, require, is_download)
        self.subscribe(subscription)
        return partial(self.unsubscribe, subscription)

    def subscribe(self, subscription: Subscription) -> None:
        """As :meth:`on_revoke`, until :meth:`unsubscribe`."""
        self.subscriptions[subscription] = None
        self._sessions.active[self] = None

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription. Twice is fine."""
        self.subscriptions.pop(subscription, None)
        if not self.subscriptions:
            self._sessions.active.pop(self, None)


class AuthSessions:
    """See the module. Runs on the event loop."""

    def __init__(self, verify: Verify, clock: Clock) -> None:
        self.active: dict[AuthSession, None] = {}
        """Sessions that have callbacks."""
        self.revoked = 0
        """Callbacks that were called."""
        self._verify = verify
        self._clock = clock
        self._version = 0
        self._verified_at_s = clock.monotonic()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self, credential: Credential) -> AuthSession:
        """Verify a credential. Raises ``UnauthorizedError`` and ``UnavailableError``."""
        # The version is read first: if the tokens change while this waits, the next check verifies again.
        version = self._version
        return AuthSession(self, credential, await self._verify(credential), version)

    def of(self, credential: Credential, grant: Grant) -> AuthSession:
        """A credential whose grant needs no verification at present."""
        return AuthSession(self, credential, grant, self._version)

    def start(self) -> None:
        """Start the checks."""
        self._task = asyncio.create_task(self._run(), name="auth-sessions")

    async def close(self) -> None:
        """Stop the checks."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def tokens_changed(self) -> None:
        """Verify every credential again, now."""
        self._version += 1
        self._wake.set()

    async def check(self) -> None:
        """Check all sessions once."""
        now_s = self._clock.monotonic()
        if now_s - self._verified_at_s > VERIFY_INTERVAL_S:
            self._verified_at_s = now_s
            self._version += 1
        revoked: Counter[str] = Counter()
        for session in tuple(self.active):
            try:
                revoked[session.grant.name] += await self._check(session)
            except Exception:
                log.exception("the credential of %s could not be checked", session.grant.name)
        self.revoked += revoked.total()
        for name, count in revoked.items():
            if count:
                log.info("%s: access revoked, %d stream(s) or connection(s) closed", name, count)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._wake.wait()
            self._wake.clear()
            await self.check()

    async def _check(self, session: AuthSession) -> int:
        """Revoke what a session no longer allows; returns how much that was."""
        error: LiveedgeError | None = None
        if session.version != self._version:
            version = self._version
            try:
                session.grant = await self._verify(session.credential)
            except UnavailableError:
                pass  # rule 3
            except UnauthorizedError as raised:
                session.version, error = version, raised
            else:
                session.version = version
            await asyncio.sleep(0)
        expires_at_s = session.grant.expires_at_s
        if error is None and expires_at_s is not None and self._clock.wall_90k() / CLOCK_RATE >= expires_at_s:
            error = ExpiredError("the token that opened this has expired; connect again with a new one")
        count = 0
        for subscription in tuple(session.subscriptions):
            reason = _reason(subscription, session.grant, error)
            if reason is not None and subscription in session.subscriptions:
                del session.subscriptions[subscription]
                count += 1
                subscription.callback(reason)
        if not session.subscriptions:
            self.active.pop(session, None)
        return count


def _reason(subscription: Subscription, grant: Grant, error: LiveedgeError | None) -> LiveedgeError | None:
    """Why a subscription is to be revoked; ``None`` if it is still allowed."""
    if error is not None and not (subscription.is_download and isinstance(error, ExpiredError)):
        return error
    try:
        subscription.require(grant)
    except ForbiddenError as raised:
        return raised
    return None
