"""Gate: who a request comes from, and whether it may; the same for Socket.IO.

Rules:

1. Auth is on once anything is configured that somebody could prove themselves by. Without it the gateway serves only
   the machine that it runs on, unless ``AUTH_DISABLED=true`` says that everybody may do everything.
2. A bearer token comes in ``Authorization: Bearer`` or in Socket.IO's ``auth``; never in an address, where it would
   stay in logs and histories. ``?token=`` takes signed URLs only.
3. A route that is not in the table of :mod:`web.auth.policy` is shut.
4. What a token opened stays open until it ends by itself: a grant is asked once a request, and once for each event.
   A Socket.IO connection ends with its grant.
"""

import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from gateway.access import Scope
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import ForbiddenError, NotFoundError, SettingsError, UnauthorizedError
from gateway.settings import Settings
from gateway.webrtc.viewer import Viewer
from signaling.access import Access
from web.auth import policy
from web.auth.grant import EVERYBODY, Grant
from web.auth.jwt import JwtVerifier
from web.auth.policy import Over, Signed
from web.auth.signing import PARAMETER, UrlSigner
from web.auth.throttle import GuessThrottle
from web.auth.tokens import StaticTokens

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_GRANT = web.RequestKey("grant", Grant)
_URL_TOKEN = web.RequestKey("url_token", str)


class Gate:
    """See the module. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._host = settings.host
        self._random_key = secrets.token_urlsafe(32)
        self.throttle = GuessThrottle(clock)
        self._take(settings)
        if settings.auth_disabled and not is_loopback(settings.host):
            log.warning("AUTH_DISABLED: everybody who reaches %s may watch and change every camera", settings.host)

    def reload(self, settings: Settings) -> None:
        """Let other tokens be in force from now on. Raises ``SettingsError``, and leaves all as it was."""
        self._take(settings)

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
        self.signer = UrlSigner(settings, tokens, self._clock, self._random_key)

    async def close(self) -> None:
        """Let go of what is under way."""
        await self.jwt.close()

    async def identify(self, token: object, address: str) -> Grant:
        """The grant of a bearer token that came from ``address``; everybody's while auth is off.

        Raises :class:`~gateway.errors.UnauthorizedError`, for a wrong token after a delay.
        """
        if not self.is_on:
            return EVERYBODY
        if not isinstance(token, str) or not token:
            raise UnauthorizedError(
                "this needs a token: as Authorization: Bearer over HTTP, as auth.token over Socket.IO"
            )
        grant = self.tokens.find(token) or await self.jwt.verify(token)
        if grant is None:
            await self.throttle.punish(address)
            raise UnauthorizedError("this token is not known here", is_invalid=True)
        return grant

    async def admit_socket(self, request: web.Request, auth: object) -> Access:
        """Let a Socket.IO client in by its ``auth``, or by the header of the request that connects."""
        scheme, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is None and scheme.lower() == "bearer":
            token = bearer.strip()
        grant = await self.identify(token, request.remote or "")

        def authorize(event: str, camera_id: str | None) -> None:
            if event not in policy.EVENTS:
                raise ForbiddenError("nobody may do this")
            grant.require(policy.EVENTS[event], camera_id)

        def may_view(camera_id: str) -> bool:
            return grant.may(Scope.VIEW, camera_id)

        if grant.expires_at_s is None:
            return Access(authorize, may_view)
        return Access(authorize, may_view, max(0.0, grant.expires_at_s - self._clock.wall_90k() / CLOCK_RATE))

    async def admit(self, request: web.Request) -> None:
        """Let a request in, or raise ``UnauthorizedError`` or ``ForbiddenError``."""
        match = request.match_info
        if match.http_exception is not None:
            return  # it leads nowhere
        rule = policy.rule_of(request.method, match)
        if not self.is_on or (rule is not None and rule.is_open):
            request[_GRANT] = EVERYBODY if not self.is_on else NOBODY
            return
        if rule is None:
            log.error("%s %s is missing in web/auth/policy.py and so is shut", request.method, match.route.resource)
            raise ForbiddenError("nobody may do this")
        grant = await self._grant_of(request, rule)
        scope = rule.scope_of(request.query)
        if scope is not None and rule.over is Over.ALL:
            grant.require_everywhere(scope)
        elif scope is not None:
            grant.require(scope, match.get("camera") if rule.over is Over.CAMERA else None)
        request[_GRANT] = grant

    async def _grant_of(self, request: web.Request, rule: policy.Rule) -> Grant:
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return await self.identify(token.strip(), request.remote or "")
        url_token = request.query.get(PARAMETER)
        if url_token is None or rule.signed is Signed.NO or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return await self.identify(None, request.remote or "")
        grant = self.signer.verify(url_token, request.path_qs)
        if grant is None:
            await self.throttle.punish(request.remote or "")
            raise UnauthorizedError("this URL is not signed by this gateway; ask POST /api/sign", is_invalid=True)
        request[_URL_TOKEN] = url_token
        return grant


NOBODY = Grant("nobody", frozenset())
"""Whoever comes to an open door unasked."""

GATE: web.AppKey[Gate] = web.AppKey("gate", Gate)
OWNERS: web.AppKey[dict[str, str]] = web.AppKey("whep_owners", dict)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nobody comes past it without a grant."""
    await request.app[GATE].admit(request)
    return await handler(request)


def grant_of(request: web.Request) -> Grant:
    """What whoever sent this may do."""
    return request[_GRANT] if GATE in request.app else EVERYBODY


def may_view(request: web.Request, camera_id: str) -> bool:
    """Whether a camera may stand in this answer."""
    return grant_of(request).may(Scope.VIEW, camera_id)


def carried_query(request: web.Request) -> str:
    """What every address in an answer has to carry on, so that it can be fetched as this was: a query, or nothing."""
    token = request.get(_URL_TOKEN)
    return f"{PARAMETER}={token}" if token is not None else ""


def own(request: web.Request, viewer: Viewer) -> None:
    """Whoever sent this, and nobody else, may change or end this viewer."""
    owners = request.app.get(OWNERS)
    if owners is not None:
        owners[viewer.id] = grant_of(request).name
        viewer.holds.append(lambda: owners.__delitem__(viewer.id))


def require_owner(request: web.Request, viewer: Viewer) -> None:
    """Raises :class:`~gateway.errors.NotFoundError` for a viewer of somebody else: not even its being is told."""
    owners, grant = request.app.get(OWNERS), grant_of(request)
    if owners is not None and owners.get(viewer.id) != grant.name and not grant.may_everywhere(Scope.ADMIN):
        raise NotFoundError("there is no such viewer; it may have left, or be somebody else's")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
