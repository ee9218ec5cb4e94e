"""OidcProvider: the HTTP with a provider of OpenID Connect: discovery, keys, tokens, userinfo.

Rules:

1. Endpoints have TLS, unless they are on this machine: without it, anybody on the network could sign in as anybody.
2. Answers are bounded in time and size. Redirects are not followed.
3. The discovery document is fetched when it is first needed, and again after :data:`REFRESH_S`. While the provider
   cannot be reached, the known one is used.
"""

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp

from gateway.clock import Clock
from gateway.errors import SettingsError, redact
from web.auth.jwks import LOOPBACK, Jwks
from web.auth.oidc_claims import SignInError
from web.auth.oidc_settings import OidcSettings

log = logging.getLogger(__name__)

REFRESH_S = 600.0
TIMEOUT_S = 10.0
ANSWER_MAX_BYTES = 256 * 1024

WELL_KNOWN = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 1.0 §4."""

REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class OidcProvider:
    """See the module. Raises :class:`~gateway.errors.SettingsError` for an issuer without TLS."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        assert settings.oidc_issuer is not None
        assert settings.oidc_client_id is not None
        self.issuer = settings.oidc_issuer
        if not _is_safe(self.issuer):
            raise SettingsError(
                "OIDC_ISSUER: without TLS, anybody on the network could sign in as anybody; use an https:// URL"
            )
        self.client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
        self._clock = clock
        self._metadata: Mapping[str, Any] | None = None
        self._fetched_at_s = float("-inf")
        self._lock = asyncio.Lock()
        self._keys: Jwks | None = None
        self._keys_url = ""

    async def close(self) -> None:
        """Cancel a fetch of keys."""
        if self._keys is not None:
            await self._keys.close()

    async def metadata(self) -> Mapping[str, Any]:
        """The discovery document. Raises :class:`~web.auth.oidc_claims.SignInError`."""
        async with self._lock:
            if self._metadata is None or self._clock.monotonic() - self._fetched_at_s > REFRESH_S:
                try:
                    document = await self._request("GET", self.issuer.rstrip("/") + WELL_KNOWN)
                    self._metadata = self._checked(document)
                except SignInError:
                    if self._metadata is None:
                        raise
                self._fetched_at_s = self._clock.monotonic()
        return self._metadata

    async def exchange(self, code: str, verifier: str, redirect_url: str) -> Mapping[str, Any]:
        """The answer of the token endpoint (RFC 6749 §4.1.3, RFC 7636 §4.5). Raises ``SignInError``."""
        metadata = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_url,
            "code_verifier": verifier,
        }
        headers = {}
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret is None:
            form["client_id"] = self.client_id
        elif "client_secret_basic" not in methods and "client_secret_post" in methods:
            form |= {"client_id": self.client_id, "client_secret": self._secret}
        else:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"  # RFC 6749 §2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        return await self._request("POST", metadata["token_endpoint"], form, headers)

    async def userinfo(self, access_token: str) -> Mapping[str, Any]:
        """The claims that are not in the ID token (OpenID Connect Core §5.3); empty where there are none."""
        url = (await self.metadata()).get("userinfo_endpoint")
        if not isinstance(url, str) or not _is_safe(url):
            return {}
        return await self._request("GET", url, headers={"Authorization": f"Bearer {access_token}"})

    async def key(self, key_id: object, algorithm: str) -> Any:
        """The key of an ID token; ``None`` for an unknown one. Raises ``SignInError`` and ``UnavailableError``."""
        url = (await self.metadata())["jwks_uri"]
        if self._keys is None or self._keys_url != url:
            await self.close()
            self._keys, self._keys_url = Jwks(url, self._clock, "OIDC_ISSUER"), url
        return await self._keys.key(key_id, algorithm)

    def _checked(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if document.get("issuer") != self.issuer:
            raise SignInError(
                "provider", f"OIDC_ISSUER is {self.issuer}, but its discovery document is of {document.get('issuer')!r}"
            )
        for name in REQUIRED:
            if not isinstance(document.get(name), str) or not _is_safe(document[name]):
                raise SignInError("provider", f"the discovery document has no {name} with TLS")
        if "S256" not in document.get("code_challenge_methods_supported", ["S256"]):
            raise SignInError("provider", "the provider has no PKCE with S256")
        return document

    async def _request(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}{urlsplit(url).path}"
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                session.request(
                    method,
                    url,
                    data=form,
                    headers={"Accept": "application/json", **(headers or {})},
                    allow_redirects=False,
                ) as answer,
            ):
                body = bytearray()
                async for chunk in answer.content.iter_chunked(16 * 1024):
                    body += chunk
                    if len(body) > ANSWER_MAX_BYTES:
                        raise ValueError(f"more than {ANSWER_MAX_BYTES} bytes")
                document = json.loads(body) if answer.content_type == "application/json" else {}
                if answer.status != 200:
                    code = document.get("error") if isinstance(document, dict) else None
                    raise SignInError("provider", f"{where} answered {answer.status} {str(code or '')[:100]}".rstrip())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            raise SignInError("unreachable", f"{where}: {redact(f'{type(error).__name__}: {error}')}") from None
        if not isinstance(document, dict):
            raise SignInError("provider", f"{where} sent no JSON object")
        return document


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
