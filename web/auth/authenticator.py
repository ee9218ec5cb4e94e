"""Authenticator: who a request comes from, and whether it may; the same for Socket.IO.

Rules:

1. Auth is on once anything is configured that somebody could prove themselves by. Without it the gateway serves only
   the machine that it runs on, unless ``AUTH_DISABLED=true`` says that everybody may do everything.
2. A bearer token comes in ``Authorization: Bearer`` or in Socket.IO's ``auth``; never in an address, where it would
   stay in logs and histories. ``?token=`` takes signed URLs only.
3. A route that is not in the table of :mod:`web.auth.policy` is shut.
4. What a token opened ends with it (:mod:`web.auth.sessions`): requests that are still being answered, WebRTC viewers,
   Socket.IO connections and what they subscribed to. An answer that has not begun becomes the refusal; one that has is
   cut.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.clock import Clock
from gateway.errors import ForbiddenError, LiveedgeError, NotFoundError, SettingsError, UnauthorizedError
from gateway.settings import Settings
from gateway.webrtc.viewer import Viewer
from signaling.access import Access
from web.auth import policy
from web.auth.grant import EVERYBODY, Grant
from web.auth.jwt import JwtVerifier
from web.auth.policy import Rule, Signed
from web.auth.sessions import AuthSession, AuthSessions, Proof, Release
from web.auth.signing import PARAMETER, UrlSigner
from web.auth.signing_key import kept_key
from web.auth.throttle import GuessThrottle
from web.auth.tokens import StaticTokens

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_VISIT = web.RequestKey("visit", AuthSession)
_RULE = web.RequestKey("rule", Rule)
_HAS_BEGUN = web.RequestKey("has_begun", bool)
"""Whether an answer is on its way, so that no other can be given."""


class Authenticator:
    """See the module. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._host = settings.host
        self._data_dir = settings.data_dir
        self._kept_key: str | None = None
        self.throttle = GuessThrottle(clock)
        self._take(settings)
        self.visits = AuthSessions(self._ask, clock)
        if settings.auth_disabled and not is_loopback(settings.host):
            log.warning("AUTH_DISABLED: everybody who reaches %s may watch and change every camera", settings.host)

    def reload(self, settings: Settings) -> None:
        """Let other tokens be in force from now on. Raises ``SettingsError``, and leaves all as it was."""
        self._take(settings)
        self.visits.tokens_changed()

    def start(self) -> None:
        """Begin to end what tokens opened that are over."""
        self.visits.start()

    def _take(self, settings: Settings) -> None:
        is_on = settings.has_auth
        if is_on and settings.auth_disabled:
            raise SettingsError(
                "AUTH_DISABLED is true and tokens are configured: take one of them away, since it cannot be both"
            )
        if not is_on and not is_loopback(self._host) and not settings.auth_disabled:
            raise SettingsError(
                f"HOST is {self._host}, where other machines reach the gateway, and no token is configured: set"
                " AUTH_TOKEN to a secret of 16 characters or more (or [auth.tokens] or AUTH_JWT_…), or set"
                " AUTH_DISABLED=true if everybody who reaches it may see and do everything"
            )
        jwt = JwtVerifier(settings, self._clock)
        tokens = StaticTokens(settings)
        self.is_on, self.tokens, self.jwt = is_on, tokens, jwt
        if is_on and settings.auth_signing_key is None and self._kept_key is None:
            self._kept_key = kept_key(self._data_dir)
        self.signer = UrlSigner(settings, tokens, self._clock, self._kept_key or secrets.token_urlsafe(32))

    async def close(self) -> None:
        """Let go of what is under way."""
        await self.visits.close()
        await self.jwt.close()

    async def identify(self, token: object, address: str) -> AuthSession:
        """Who has this bearer token, and came from ``address``; anybody while auth is off.

        Raises :class:`~gateway.errors.UnauthorizedError`, for a wrong token after a delay.
        """
        return await self._enter(Proof(token if isinstance(token, str) and token else None), address)

    async def _enter(self, proof: Proof, address: str) -> AuthSession:
        if self.is_on and proof.token is not None:
            self.throttle.check(address, proof.token)
        try:
            visit = await self.visits.enter(proof)
        except _WrongTokenError:
            await self.throttle.punish(address)
            raise
        if proof.token is not None:
            self.throttle.remember(address, proof.token)
        return visit

    async def _ask(self, proof: Proof) -> Grant:
        if not self.is_on:
            return EVERYBODY
        if proof.token is None:
            raise UnauthorizedError(
                "this needs a token: as Authorization: Bearer over HTTP, as auth.token over Socket.IO"
            )
        if proof.address is not None:
            grant = self.signer.verify(proof.token, proof.address)
            if grant is None:
                raise _WrongTokenError("this URL is not signed by this gateway; ask POST /api/sign", is_invalid=True)
            return grant
        grant = self.tokens.find(proof.token) or await self.jwt.verify(proof.token)
        if grant is None:
            raise _WrongTokenError("this token is not known here", is_invalid=True)
        return grant

    async def admit_socket(self, request: web.Request, auth: object) -> Access:
        """Let a Socket.IO client in by its ``auth``, or by the header of the request that connects."""
        scheme, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is None and scheme.lower() == "bearer":
            token = bearer.strip()
        visit = await self.identify(token, request.remote or "")

        def authorize(event: str, camera_id: str | None) -> None:
            if event not in policy.EVENTS:
                raise ForbiddenError("nobody may do this")
            visit.grant.require(policy.EVENTS[event], camera_id)

        def may_view(camera_id: str) -> bool:
            return visit.grant.may(Scope.VIEW, camera_id)

        def keep(event: str | None, camera_id: str | None, end: Callable[[LiveedgeError], None]) -> Release:
            def require(grant: Grant) -> None:
                if event is not None:
                    grant.require(policy.EVENTS[event], camera_id)

            return visit.hold(require, end)

        return Access(authorize, may_view, keep)

    async def admit(self, request: web.Request) -> None:
        """Let a request in, or raise ``UnauthorizedError`` or ``ForbiddenError``."""
        match = request.match_info
        if match.http_exception is not None:
            return  # it leads nowhere
        rule = policy.rule_of(request.method, match)
        if rule is not None and rule.is_open:
            grant = EVERYBODY if not self.is_on else NOBODY
            request[_VISIT] = AuthSession(self.visits, Proof(), grant, 0)
            return
        if rule is None:
            log.error("%s %s is missing in web/auth/policy.py and so is shut", request.method, match.route.resource)
            raise ForbiddenError("nobody may do this")
        visit = await self._visit_of(request, rule)
        rule.require(visit.grant, request)
        request[_VISIT], request[_RULE] = visit, rule

    async def _visit_of(self, request: web.Request, rule: Rule) -> AuthSession:
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return await self.identify(token.strip(), request.remote or "")
        url_token = request.query.get(PARAMETER)
        if url_token is None or rule.signed is Signed.NO or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return await self.identify(None, request.remote or "")
        return await self._enter(Proof(url_token, request.path_qs), request.remote or "")


class _WrongTokenError(UnauthorizedError):
    """A guess."""


NOBODY = Grant("nobody", frozenset())
"""Whoever comes to an open door unasked."""

AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("authenticator", Authenticator)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a WebRTC viewer is, and what forgets that it ends with their token."""

    name: str
    release: Release


OWNERS: web.AppKey[dict[str, Owner]] = web.AppKey("whep_owners", dict)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nobody comes past it without a grant."""
    await request.app[AUTHENTICATOR].admit(request)
    async with while_allowed(request):
        return await handler(request)


@contextlib.asynccontextmanager
async def while_allowed(request: web.Request, *, has_begun: bool = False) -> AsyncIterator[None]:
    """While what reads is inside, it is ended with the token that opened it; see the module's rule 4.

    Raises what refuses the request where nothing is answered yet, and ``ConnectionResetError`` once the answer is cut;
    with ``has_begun`` only that.
    """
    rule = request.get(_RULE)
    if rule is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        yield
        return
    verdict: LiveedgeError | None = None
    try:
        async with asyncio.timeout(None) as bound:

            def end(error: LiveedgeError) -> None:
                nonlocal verdict
                verdict = error
                bound.reschedule(asyncio.get_running_loop().time())

            release = request[_VISIT].hold(lambda grant: rule.require(grant, request), end, is_file=rule.is_file)
            try:
                yield
            finally:
                release()
    except TimeoutError:
        if verdict is None:
            raise
        if not (has_begun or request.get(_HAS_BEGUN)):
            raise verdict from None
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("its token is over") from None


async def note_begun(request: web.Request, _: web.StreamResponse) -> None:
    """An answer is on its way."""
    request[_HAS_BEGUN] = True


def grant_of(request: web.Request) -> Grant:
    """What whoever sent this may do."""
    return request[_VISIT].grant if AUTHENTICATOR in request.app else EVERYBODY


def may_view(request: web.Request, camera_id: str) -> bool:
    """Whether a camera may stand in this answer."""
    return grant_of(request).may(Scope.VIEW, camera_id)


def carried_query(request: web.Request) -> str:
    """What every address in an answer has to carry on, so that it can be fetched as this was: a query, or nothing."""
    proof = request[_VISIT].proof if AUTHENTICATOR in request.app else Proof()
    return f"{PARAMETER}={proof.token}" if proof.address is not None else ""


def own(request: web.Request, viewer: Viewer) -> None:
    """Whoever sent this, and nobody else, may change or end this viewer, which ends with their token."""
    owners = request.app.get(OWNERS)
    if owners is not None:
        owners[viewer.id] = _owner(request, viewer)
        viewer.holds.append(lambda: owners.pop(viewer.id).release())


def _owner(request: web.Request, viewer: Viewer) -> Owner:
    def require(grant: Grant) -> None:
        grant.require(Scope.VIEW, viewer.camera_id)

    return Owner(
        grant_of(request).name, request[_VISIT].hold(require, lambda error: viewer.close_soon(f"not allowed: {error}"))
    )


def require_owner(request: web.Request, viewer: Viewer) -> None:
    """Raises :class:`~gateway.errors.NotFoundError` for a viewer of somebody else: not even its being is told.

    From now on the viewer ends with the token that its owner has just shown: newer ones keep it alive.
    """
    owners, grant = request.app.get(OWNERS), grant_of(request)
    owner = owners.get(viewer.id) if owners is not None else None
    if owners is not None and owner is not None and owner.name == grant.name:
        owners[viewer.id] = _owner(request, viewer)
        owner.release()
    elif owners is not None and not grant.may_everywhere(Scope.ADMIN):
        raise NotFoundError("there is no such viewer; it may have left, or be somebody else's")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
