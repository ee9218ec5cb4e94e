"""Oidc: sign-in of people by OpenID Connect: the authorization code flow with PKCE.

Theory of operation. :meth:`Oidc.begin` gives the address of the provider, and what the browser keeps meanwhile in a
cookie: state, nonce, the verifier of PKCE, and where the page was. It is signed with the key of signed URLs, and the
gateway keeps nothing for a sign-in that never ends. :meth:`Oidc.finish` gets what the provider sends the browser back
with, exchanges the code for an ID token, and opens a session (:mod:`web.auth.sign_in_sessions`).

Rules:

1. The answer has to have the state of this browser's cookie (RFC 6749 §10.12). If it names an issuer, it is ours. It
   has to name it where the provider says that it does (RFC 9207 §2.4).
2. The code is exchanged by the gateway, with the verifier (RFC 7636). Tokens of the provider never reach the page.
3. The ID token is verified as :mod:`web.auth.oidc_claims` says. Roles that it does not have are asked of userinfo: its
   ``sub`` has to be the same (OpenID Connect Core §5.3.2).
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
from jwt.exceptions import PyJWTError

from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import UnavailableError
from web.auth.jwt import KEY_ALGORITHMS
from web.auth.oidc_claims import SignInError, grant_of_claims, role_names, verified_claims
from web.auth.oidc_provider import OidcProvider
from web.auth.oidc_settings import OidcSettings
from web.auth.shared_access import SharedAccess
from web.auth.sign_in_sessions import SignInSessions

log = logging.getLogger(__name__)

ATTEMPT_S = 600
"""How long somebody may take to sign in at the provider."""

AUDIENCE = "liveedge-sign-in"
ALGORITHM = "HS256"

PLACE = re.compile(r"#/[A-Za-z0-9_/?=&,.:%+-]{0,500}")
"""A view of the page, which people come back to."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """``url`` is where the browser goes, ``cookie`` what it keeps until it is back."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """``secret`` is that of the session, ``place`` where the page was."""

    secret: str
    place: str


class Oidc:
    """See the module. ``key`` gives the key that signs URLs. Raises :class:`~gateway.errors.SettingsError`."""

    def __init__(
        self, settings: OidcSettings, clock: Clock, key: Callable[[], str], shared: SharedAccess | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._key = key
        self.provider = OidcProvider(settings, clock)
        self.sessions = SignInSessions(clock, settings.oidc_session_idle, settings.oidc_session_lifetime, shared)
        self.name = settings.oidc_name or urlsplit(self.provider.issuer).hostname or ""

    async def close(self) -> None:
        """Cancel what is asked of the provider."""
        await self.provider.close()

    async def begin(self, redirect_url: str, place: str) -> Attempt:
        """Begin a sign-in. Raises :class:`~web.auth.oidc_claims.SignInError`."""
        metadata = await self.provider.metadata()
        redirect_url = self._settings.oidc_redirect_url or redirect_url
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": redirect_url,
            "scope": self._settings.oidc_scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        kept = {
            "aud": AUDIENCE,
            "until": self._now_s() + ATTEMPT_S,
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "redirect": redirect_url,
            "place": place if PLACE.fullmatch(place) else "#/",
        }
        url = metadata["authorization_endpoint"]
        return Attempt(f"{url}{'&' if '?' in url else '?'}{urlencode(query)}", jwt.encode(kept, self._key(), ALGORITHM))

    async def finish(self, query: Mapping[str, str], cookie: str | None) -> SignedIn:
        """End a sign-in. Raises :class:`~web.auth.oidc_claims.SignInError`."""
        kept = self._kept(cookie)
        state = query.get("state", "")
        if not hmac.compare_digest(state.encode(errors="replace"), kept["state"].encode()):
            raise SignInError("expired", "the state of the answer is not that of this browser")
        metadata = await self.provider.metadata()
        issuer = query.get("iss")
        is_needed = metadata.get("authorization_response_iss_parameter_supported") is True
        if issuer != self.provider.issuer and (issuer is not None or is_needed):
            raise SignInError("provider", f"the answer is of another issuer: {str(issuer)[:200]!r} (RFC 9207)")
        if "error" in query:
            code = query["error"][:100]
            reason = "denied" if code in ("access_denied", "login_required", "interaction_required") else "provider"
            raise SignInError(reason, f"the provider refused: {code}")
        if not query.get("code"):
            raise SignInError("provider", "the answer has no code")
        tokens = await self.provider.exchange(query["code"], kept["verifier"], kept["redirect"])
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise SignInError("provider", "the provider sent no ID token")
        claims = await self._claims(id_token, kept["nonce"], tokens.get("access_token"))
        grant = grant_of_claims(claims, self._settings, self.sessions.ends_at_s)
        log.info("%s signed in", grant.name)
        return SignedIn(await self.sessions.open(grant, id_token), kept["place"])

    async def sign_out(self, secret: str | None, page_url: str) -> str | None:
        """End a session; returns the provider's address to sign out there, too, where it has one.

        OpenID Connect RP-Initiated Logout 1.0 §2.
        """
        session = None if secret is None else await self.sessions.close(secret)
        if session is None:
            return None
        try:
            url = (await self.provider.metadata()).get("end_session_endpoint")
        except SignInError:
            return None
        if not isinstance(url, str):
            return None
        query = {
            "id_token_hint": session.id_token,
            "client_id": self.provider.client_id,
            "post_logout_redirect_uri": page_url,
        }
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"

    async def _claims(self, id_token: str, nonce: str, access_token: object) -> Mapping[str, Any]:
        """Rule 3."""
        try:
            header = jwt.get_unverified_header(id_token)
            algorithm = header.get("alg", "")
            key = await self.provider.key(header.get("kid"), algorithm) if algorithm in KEY_ALGORITHMS else None
        except PyJWTError as error:
            raise SignInError("provider", f"the ID token cannot be read: {error}") from None
        except UnavailableError as error:
            raise SignInError("unreachable", str(error)) from None
        if key is None:
            raise SignInError("provider", f"the ID token is signed with an unknown key ({algorithm!r})")
        claims = verified_claims(
            id_token, key, algorithm, issuer=self.provider.issuer, client_id=self.provider.client_id, nonce=nonce
        )
        if role_names(claims, self._settings.oidc_roles_claim) is None and isinstance(access_token, str):
            more = await self.provider.userinfo(access_token)
            if more and more.get("sub") != claims["sub"]:
                raise SignInError("provider", "userinfo is of somebody else")
            claims = {**more, **claims}
        return claims

    def _kept(self, cookie: str | None) -> dict[str, str]:
        try:
            kept: dict[str, Any] = jwt.decode(cookie or "", self._key(), algorithms=[ALGORITHM], audience=AUDIENCE)
        except PyJWTError:
            raise SignInError("expired", "the answer has no cookie of a sign-in that this browser began") from None
        if self._now_s() >= kept["until"]:
            raise SignInError("expired", f"the sign-in took longer than {ATTEMPT_S} s")
        return kept

    def _now_s(self) -> float:
        return self._clock.wall_90k() / CLOCK_RATE
