"""Authenticator: which grant a request or a Socket.IO connection has, and whether it is sufficient.

Rules:

1. Authentication is on as soon as a token, a JWT secret or a JWKS URL is configured. Without one, the gateway listens
   on a loopback address only, unless ``AUTH_DISABLED=true`` says that every client may do everything.
2. A bearer token is sent in ``Authorization: Bearer`` or in Socket.IO's ``auth``. It is not accepted in a URL, because
   URLs stay in logs and in browser histories. ``?token=`` accepts the tokens of signed URLs only.
3. A route that is not in the access table (:mod:`web.auth.policy`) is refused.
4. While an address has sent too many wrong tokens (:mod:`web.auth.rate_limiter`), only what is signed is accepted from
   there: JWTs and signed URLs, which nobody can guess.
5. Of people who signed in (:mod:`web.auth.oidc`), a cookie is the credential, where a request has no other. Requests
   that pages of other origins caused have none (:mod:`web.auth.session_cookie`).
6. What a credential opened is closed when the credential ends (:mod:`web.auth.sessions`).
"""

import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection

from aiohttp import hdrs, web

from gateway.clock import Clock
from gateway.errors import BadRequestError, ForbiddenError, LiveedgeError, SettingsError, UnauthorizedError
from web.auth import policy
from web.auth.camera_marks import CameraMarks, Marks
from web.auth.grant import ANONYMOUS, UNRESTRICTED, Grant, node_grant
from web.auth.issued import IssuedAccess
from web.auth.jwt import JwtVerifier
from web.auth.known_tokens import KnownTokens
from web.auth.oidc import Oidc
from web.auth.policy import Family, Rule
from web.auth.rate_limiter import AuthRateLimiter
from web.auth.requests import RULE, SESSION, credential_note, grant_of
from web.auth.session_cookie import session_secret
from web.auth.sessions import NO_CREDENTIAL, AuthSession, AuthSessions, Credential
from web.auth.shared_access import SharedAccess
from web.auth.signing import UrlSigner
from web.auth.signing_key import kept_key
from web.auth.socket_access import SocketAccess
from web.auth.target import PARAMETER, Target, target_of
from web.auth.tokens import StaticTokens
from web.settings import Settings

log = logging.getLogger(__name__)

WHEP = "/whep/{camera}"

NODE_TOKEN = "Liveedge-Node"  # noqa: S105
"""The header field with the token of a node of the cluster (:mod:`web.cluster.tokens`)."""


SIGN_IN = "Liveedge-Sign-In"
"""The header field with the secret of a sign-in, of a request that another node or worker forwards. That has judged the
page that asked, which the cookie depends on. From anybody else it is ignored."""


class Authenticator:
    """See the module. Raises :class:`~gateway.errors.SettingsError`.

    ``cameras`` are those that exist now. ``signing_key`` is the one that signs URLs where ``AUTH_SIGNING_KEY`` is not
    set; without it, one is made. ``issued`` are the tokens and links of the API; without it there are none.
    ``shared`` is for processes that share what was given: it is read with ``issued``. ``marks``: those of cameras,
    where they are not in the data directory of this process alone.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        cameras: Collection[str] = (),
        signing_key: str | None = None,
        issued: IssuedAccess | None = None,
        shared: SharedAccess | None = None,
        marks: Marks | None = None,
    ) -> None:
        self._clock = clock
        self._host = settings.host
        self._data_dir = settings.data_dir
        self._kept_key = signing_key
        self.issued = issued or IssuedAccess(None, clock)
        self.oidc: Oidc | None = None
        """``None`` where people cannot sign in."""
        if settings.oidc_issuer is not None:
            self.oidc = Oidc(settings, clock, lambda: self.signer.key, shared)
        self._used_90k: dict[str, int] = {}
        self.verify_node: Callable[[str, str, str], str] | None = None
        """Returns the name of the node that sent a token for a method and a path, or raises ``UnauthorizedError``."""
        self._marks = marks or CameraMarks(settings.data_dir, cameras, is_kept=settings.has_auth)
        self.rate_limiter = AuthRateLimiter(clock)
        self._apply(settings)
        self.sessions = AuthSessions(self._verify, clock)
        self.issued.on_revoked = self.sessions.tokens_changed
        if shared is not None:
            shared.on_changed.append(self._take_over)
            if self.oidc is not None:
                shared.before_look.append(self.oidc.sessions.share_uses)
        if settings.auth_disabled and not is_loopback(settings.host):
            log.warning(
                "AUTH_DISABLED: every client that can reach %s may watch and change every camera", settings.host
            )

    def reload(self, settings: Settings) -> None:
        """Use other tokens from now on. Raises ``SettingsError``; nothing is changed then."""
        self._apply(settings)
        self.sessions.tokens_changed()

    async def cameras_changed(self) -> None:
        """Cameras were added or removed: live URLs that were signed for a removed one end."""
        await self._marks.update(is_kept=self.is_enabled)

    async def _take_over(self) -> None:
        """Another process ended something that is not in ``issued``."""
        await self._marks.reload()
        if self.oidc is not None and await self.oidc.sessions.forget_ended():
            self.sessions.tokens_changed()

    def start(self) -> None:
        """Start to revoke what ended credentials opened."""
        self.sessions.start()

    def _apply(self, settings: Settings) -> None:
        is_enabled = settings.has_auth
        if is_enabled and settings.auth_disabled:
            raise SettingsError("AUTH_DISABLED is true, but tokens are configured: remove one of the two")
        if not is_enabled and not is_loopback(self._host) and not settings.auth_disabled:
            raise SettingsError(
                f"HOST is {self._host}, which other machines can reach, and no token is configured: set AUTH_TOKEN to a"
                " secret of 16 characters or more (or [auth.tokens] or AUTH_JWT_…), or set AUTH_DISABLED=true if every"
                " client that can reach it may see and do everything"
            )
        if shared := settings.shared_secrets():
            raise SettingsError(
                f"{shared[0]} and {shared[1]} are the same: give each its own secret, because who may use one of them"
                " could do what the other allows"
            )
        jwt = JwtVerifier(settings, self._clock)
        tokens = KnownTokens(StaticTokens(settings), self.issued.tokens, self._used_90k, self._clock)
        self.is_enabled, self.tokens, self.jwt = is_enabled, tokens, jwt
        if is_enabled and settings.auth_signing_key is None and self._kept_key is None:
            self._kept_key = kept_key(self._data_dir)
        self.signer = UrlSigner(
            settings,
            tokens,
            self._clock,
            self._kept_key or secrets.token_urlsafe(32),
            self._marks.of,
            self.issued.links.is_revoked,
        )

    async def close(self) -> None:
        """Stop the checks of credentials, and cancel a fetch of the issuer's keys."""
        await self.sessions.close()
        await self.jwt.close()
        if self.oidc is not None:
            await self.oidc.close()

    async def authenticate(self, token: object, address: str) -> AuthSession:
        """Verify a bearer token from a client address. While authentication is off, every client is accepted.

        Raises :class:`~gateway.errors.UnauthorizedError`, for a wrong token after a delay.
        """
        return await self._open(Credential(token if isinstance(token, str) and token else None), address)

    async def authenticate_socket(self, request: web.Request, auth: object) -> SocketAccess:
        """Authenticate a Socket.IO client by its ``auth``, or else by the headers of its request."""
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is None:
            token = _bearer_token(request)
        address = request.remote or ""
        if token is None and (secret := self._session_secret(request)) is not None:
            session = await self._open(Credential(secret, is_cookie=True), address)
        else:
            session = await self.authenticate(token, address)
        credential_note(request).lacks_credential = False
        return SocketAccess.of(session, address)

    def authenticate_request(self, request: web.Request) -> Awaitable[None] | None:
        """Set the session of a request. Where a credential has to be verified, the session is set by what it returns.

        Both raise ``UnauthorizedError`` or ``ForbiddenError`` for a request that is refused.
        """
        match = request.match_info
        if match.http_exception is not None:
            return None  # no route matches: the answer is 404 or 405
        rule = policy.rule_of(request.method, match)
        if rule is None:
            log.error("%s %s is refused: it is missing in web/auth/policy.py", request.method, match.route.resource)
            raise ForbiddenError("no client may use this route")
        if rule.is_for_nodes:
            request[SESSION] = self.sessions.of(NO_CREDENTIAL, self._require_node(request))
            return None
        if rule.is_public:
            request[SESSION] = self.sessions.of(NO_CREDENTIAL, ANONYMOUS if self.is_enabled else UNRESTRICTED)
            return None
        if NODE_TOKEN in request.headers and "X-Forwarded-For" not in request.headers:
            # A node asks for itself, not for a client.
            request[SESSION], request[RULE] = self.sessions.of(NO_CREDENTIAL, self._require_node(request)), rule
            return None
        credential = self._credential_of(request, rule)
        if self.is_enabled:
            return self._verify_request(request, rule, credential)
        request[SESSION], request[RULE] = self.sessions.of(credential, UNRESTRICTED), rule
        return None

    def _require_node(self, request: web.Request) -> Grant:
        """The grant of a request of another node. Raises ``UnauthorizedError``."""
        token = request.headers.get(NODE_TOKEN)
        if self.verify_node is None or token is None:
            raise UnauthorizedError("this is for the other nodes of a cluster")
        return node_grant(self.verify_node(token, request.method, request.raw_path.partition("?")[0]))

    async def _verify_request(self, request: web.Request, rule: Rule, credential: Credential) -> None:
        session = await self._open(credential, request.remote or "")
        rule.require(session.grant, request)
        request[SESSION], request[RULE] = session, rule

    def _credential_of(self, request: web.Request, rule: Rule) -> Credential:
        if (bearer := _bearer_token(request)) is not None:
            return Credential(bearer) if bearer else NO_CREDENTIAL
        cookie = self._session_secret(request)
        other = NO_CREDENTIAL if cookie is None else Credential(cookie, is_cookie=True)
        url_token = request.query.get(PARAMETER)
        is_allowed = request.method in (hdrs.METH_GET, hdrs.METH_HEAD) or rule.family is Family.WHEP
        if url_token is None or rule.family is None or not is_allowed:
            return other
        if rule.family is Family.WHEP and not self.signer.is_redeemable(url_token):
            return other
        return Credential(url_token, self._target_of(rule, request))

    def sign_offer(self, request: web.Request, lifetime_s: int) -> str:
        """A token with which another node takes the offer of a request, for who sent it."""
        rule = policy.ROUTES[hdrs.METH_POST, WHEP]
        target = target_of(rule, request.match_info, request.query, self._clock.wall_90k())
        return self.signer.sign(grant_of(request), target, redeemed_s=lifetime_s).token

    def is_offer_signed(self, request: web.Request) -> bool:
        """Whether a request with an offer, or its preflight, has a token of :meth:`sign_offer`."""
        match = request.match_info
        token = request.query.get(PARAMETER)
        if token is None or match.http_exception is not None or match.route.resource is None:
            return False
        if match.route.resource.canonical != WHEP:
            return False
        try:
            target = self._target_of(policy.ROUTES[hdrs.METH_POST, WHEP], request)
        except LiveedgeError:
            return False
        return self.signer.is_redeemable(token, target)

    def _session_secret(self, request: web.Request) -> str | None:
        if self.oidc is None:
            return None
        if NODE_TOKEN in request.headers:
            return request.headers.get(SIGN_IN)
        return session_secret(request)

    def _target_of(self, rule: Rule, request: web.Request) -> Target:
        try:
            return target_of(rule, request.match_info, request.query, self._clock.wall_90k())
        except BadRequestError as error:
            # No URL that was signed is so.
            raise UnauthorizedError(str(error), is_invalid=True) from None

    async def _open(self, credential: Credential, address: str) -> AuthSession:
        if self.oidc is not None and credential.is_cookie and credential.token is not None:
            session = await self.sessions.open(credential)
            self.oidc.sessions.touch(credential.token)
            return session
        if self.is_enabled and credential.token is not None:
            await self._require_turn(credential, credential.token, address)
        try:
            session = await self.sessions.open(credential)
        except _WrongTokenError:
            await self.rate_limiter.delay_failure(address, credential.token or "")
            raise
        if credential.token is not None:
            self.rate_limiter.record_success(address, credential.token)
        return session

    async def _require_turn(self, credential: Credential, token: str, address: str) -> None:
        """Rule 4. Raises :class:`~web.auth.rate_limiter.TooManyError`, and what the verification raises."""
        if self.rate_limiter.may_compare(address, token):
            return
        target = credential.target
        grant = await self.jwt.verify(token) if target is None else self.signer.verify(token, target)
        if grant is None:
            raise self.rate_limiter.too_many()

    async def _verify(self, credential: Credential) -> Grant:
        if not self.is_enabled:
            return UNRESTRICTED
        if credential.token is None:
            raise UnauthorizedError(
                "this needs a token: as Authorization: Bearer over HTTP, as auth.token over Socket.IO"
            ).because("token_missing")
        if credential.is_cookie:
            signed_in = await self.oidc.sessions.find(credential.token) if self.oidc is not None else None
            if signed_in is None:
                raise UnauthorizedError("your sign-in has ended; sign in again", is_invalid=True).because(
                    "sign_in_ended"
                )
            return signed_in.grant
        version = self.issued.version
        try:
            return await self._verify_token(credential, credential.token)
        except UnauthorizedError:
            await self.issued.refresh()
            # It may also have been taken over while this was verified, or waited.
            if self.issued.version == version:
                raise
        return await self._verify_token(credential, credential.token)

    async def _verify_token(self, credential: Credential, token: str) -> Grant:
        if credential.target is not None:
            grant = self.signer.verify(token, credential.target)
            if grant is None:
                raise _WrongTokenError(
                    "this gateway did not sign this URL; ask POST /api/sign", is_invalid=True
                ).because("link_unknown")
            return grant
        grant = self.tokens.find(token) or await self.jwt.verify(token)
        if grant is None:
            raise _WrongTokenError("this token is unknown, or was revoked", is_invalid=True).because("token_unknown")
        return grant


class _WrongTokenError(UnauthorizedError):
    """The token may be a guess: its answer is delayed."""


AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("authenticator", Authenticator)


def _bearer_token(request: web.Request) -> str | None:
    """The token of ``Authorization: Bearer`` (RFC 6750 §2.1); ``None`` without one."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
