"""Jwks: the public keys of an issuer (RFC 7517), fetched over HTTP and cached.

Rules:

1. Keys are fetched when they are first needed, again after :data:`REFRESH_S`, and at once for an unknown key id, but
   never more often than every :data:`RETRY_S`: clients with made-up tokens must not cause requests to the issuer.
2. While the issuer cannot be reached, the known keys are used for :data:`STALE_S`.
3. The answer is limited in time and size, redirects are not followed, and symmetric keys in it are ignored.
"""

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
from jwt.exceptions import PyJWTError

from gateway.clock import Clock
from gateway.errors import SettingsError, UnavailableError, redact

log = logging.getLogger(__name__)

REFRESH_S = 600.0
"""A key that the issuer revokes is used for this long at most."""

RETRY_S = 30.0
STALE_S = 24 * 3600.0
TIMEOUT_S = 5.0
ANSWER_MAX_BYTES = 256 * 1024
KEYS_MAX = 64

KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
"""By algorithm (RFC 7518 §3.1, §6.1)."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Jwks:
    """See the module. ``setting`` names it in messages. Raises ``SettingsError`` for a URL without TLS."""

    def __init__(self, url: str, clock: Clock, setting: str = "AUTH_JWKS_URL") -> None:
        self._setting = setting
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise SettingsError(
                f"{setting}: without TLS, anybody on the network could replace the keys; use an https:// URL"
            )
        self._url = url
        self._clock = clock
        self._keys: list[tuple[str | None, str, jwt.PyJWK]] = []
        self._fetched_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: object, algorithm: str) -> Any:
        """The key for a token, or ``None``. Raises :class:`~gateway.errors.UnavailableError`."""
        found = self._find(key_id, algorithm)
        age_s = self._clock.monotonic() - self._fetched_at_s
        if found is None or age_s > REFRESH_S:
            await self._refresh()
            found = self._find(key_id, algorithm)
            age_s = self._clock.monotonic() - self._fetched_at_s
        if age_s > STALE_S:
            raise UnavailableError(
                "tokens cannot be verified, because the issuer's keys cannot be fetched; the log has the reason",
                retry_after_s=int(RETRY_S),
            )
        return found

    async def close(self) -> None:
        """Cancel a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _find(self, key_id: object, algorithm: str) -> Any:
        of_type = [(kid, key) for kid, key_type, key in self._keys if key_type == KEY_TYPES[algorithm]]
        if key_id is None:
            # The key id is optional (RFC 7515 §4.1.4). Without it, there must be only one key of the type.
            return of_type[0][1].key if len(of_type) == 1 else None
        return next((key.key for kid, key in of_type if kid == key_id), None)

    async def _refresh(self) -> None:
        """Fetch the keys, once for all callers that wait; rule 1."""
        if self._fetching is None:
            now_s = self._clock.monotonic()
            if now_s - self._tried_at_s < RETRY_S:
                return
            self._tried_at_s = now_s
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")
            self._fetching.add_done_callback(self._forget)
        # Shielded: one caller may be cancelled while others wait.
        await asyncio.shield(self._fetching)

    def _forget(self, _: asyncio.Future[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise ValueError(f"status {answer.status}")
                body = b""
                async for chunk in answer.content.iter_chunked(16 * 1024):
                    body += chunk
                    if len(body) > ANSWER_MAX_BYTES:
                        raise ValueError(f"more than {ANSWER_MAX_BYTES} bytes")
            keys = _read(json.loads(body))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("%s: the keys cannot be fetched: %s", self._setting, redact(f"{type(error).__name__}: {error}"))
            return
        self._keys = keys
        self._fetched_at_s = self._clock.monotonic()


def _read(document: object) -> list[tuple[str | None, str, jwt.PyJWK]]:
    """The usable keys of a JWK set (RFC 7517 §5). Raises ``ValueError`` if there are none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWK set")  # noqa: TRY004  (the caller catches ValueError for every wrong answer)
    keys = []
    for entry in entries[:KEYS_MAX]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
            continue
        algorithm = "RS256" if entry["kty"] == "RSA" else "ES256"
        try:
            key = jwt.PyJWK(entry, algorithm)
        except (PyJWTError, ValueError, TypeError):
            continue
        if entry["kty"] == "EC" and entry.get("crv") != "P-256":
            continue
        kid = entry.get("kid")
        keys.append((kid if isinstance(kid, str) else None, entry["kty"], key))
    if not keys:
        raise ValueError("no RSA or P-256 key in the set")
    return keys
