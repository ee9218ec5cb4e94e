"""AuthSessions: what a token opened ends with the token.

Theory of operation. Most requests are over before anything changes. What lasts (a stream, a WebRTC viewer, a Socket.IO
connection and what was subscribed on it) is *held* by a visit: the proof that somebody came with, and the grant that it
was good for. :class:`AuthSessions` looks at all of them every :data:`REVIEW_S` and after each change of the tokens.

Rules:

1. A grant that is over ends what it holds, a file that is being sent excepted: that is over by itself, and was allowed
   when it was asked for.
2. When tokens have changed, and every :data:`RENEW_S` since an issuer takes keys back without telling, each proof is
   asked for its grant anew. What that reaches goes on; what it does not ends, files too.
3. An issuer that cannot be reached ends nothing.
4. Whatever is ended is told why, with the error that a request would get now.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import ForbiddenError, LiveedgeError, UnauthorizedError, UnavailableError
from web.auth.grant import ExpiredError, Grant

log = logging.getLogger(__name__)

REVIEW_S = 1.0
"""How long something may outlive its token. Nothing is computed but a comparison for each."""

RENEW_S = 60.0
"""A signature costs some 50 µs to check: a thousand viewers' are a thousandth of a core."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody came with: a bearer token, or the token of the signed ``address`` (path and query); or nothing."""

    token: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)


Ask = Callable[[Proof], Awaitable[Grant]]
"""What a proof is good for now. Raises ``UnauthorizedError`` and ``UnavailableError``."""

Require = Callable[[Grant], None]
"""Raises :class:`~gateway.errors.ForbiddenError` where a grant does not reach what is held."""

End = Callable[[LiveedgeError], None]
"""Ends what is held. Called once, at most."""

Release = Callable[[], None]


@dataclass(eq=False, slots=True)
class _Hold:
    require: Require
    end: End
    is_file: bool


class AuthSession:
    """Somebody's stay. ``grant`` is what they may do at this moment."""

    def __init__(self, visits: "AuthSessions", proof: Proof, grant: Grant, version: int) -> None:
        self.proof = proof
        self.grant = grant
        self.version = version
        """Of the tokens that the grant was made by."""
        self.holds: dict[_Hold, None] = {}
        self._visits = visits

    def hold(self, require: Require, end: End, *, is_file: bool = False) -> Release:
        """Have ``end`` called once the grant does not reach this any more; what is returned forgets it again."""
        hold = _Hold(require, end, is_file)
        self.holds[hold] = None
        self._visits.held[self] = None

        def release() -> None:
            self.holds.pop(hold, None)
            if not self.holds:
                self._visits.held.pop(self, None)

        return release


class AuthSessions:
    """See the module. Lives on the event loop."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self.held: dict[AuthSession, None] = {}
        """Those that hold something."""
        self.ended = 0
        """What was ended because its token was, since the start."""
        self._ask = ask
        self._clock = clock
        self._version = 0
        self._renewed_at_s = clock.monotonic()
        self._hurried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self, proof: Proof) -> AuthSession:
        """A visit by a proof. Raises ``UnauthorizedError`` and ``UnavailableError``."""
        # Read before the question: whoever changes the tokens meanwhile has it asked again.
        version = self._version
        return AuthSession(self, proof, await self._ask(proof), version)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch(), name="visits")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def tokens_changed(self) -> None:
        """Look again, at every proof, now."""
        self._version += 1
        self._hurried.set()

    async def review(self) -> None:
        """Look at all visits once."""
        now_s = self._clock.monotonic()
        if now_s - self._renewed_at_s > RENEW_S:
            self._renewed_at_s = now_s
            self._version += 1
        ended: Counter[str] = Counter()
        for visit in tuple(self.held):
            try:
                ended[visit.grant.name] += await self._review(visit)
            except Exception:
                log.exception("what %s holds could not be looked at", visit.grant.name)
        self.ended += ended.total()
        for name, count in ended.items():
            if count:
                log.info("%d stream(s) or connection(s) ended with their token: %s", count, name)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REVIEW_S):
                    await self._hurried.wait()
            self._hurried.clear()
            await self.review()

    async def _review(self, visit: AuthSession) -> int:
        """End what has to end; returns how much that was."""
        error: LiveedgeError | None = None
        if visit.version != self._version:
            version = self._version
            try:
                visit.grant = await self._ask(visit.proof)
            except UnavailableError:
                pass  # rule 3
            except UnauthorizedError as raised:
                visit.version, error = version, raised
            else:
                visit.version = version
            await asyncio.sleep(0)
        expires_at_s = visit.grant.expires_at_s
        if error is None and expires_at_s is not None and self._clock.wall_90k() / CLOCK_RATE >= expires_at_s:
            error = ExpiredError("the token that opened this has expired; come again with another")
        count = 0
        for hold in tuple(visit.holds):
            verdict = _verdict(hold, visit.grant, error)
            if verdict is not None and hold in visit.holds:
                del visit.holds[hold]
                count += 1
                hold.end(verdict)
        if not visit.holds:
            self.held.pop(visit, None)
        return count


def _verdict(hold: _Hold, grant: Grant, error: LiveedgeError | None) -> LiveedgeError | None:
    if error is not None and not (hold.is_file and isinstance(error, ExpiredError)):
        return error
    try:
        hold.require(grant)
    except ForbiddenError as raised:
        return raised
    return None
