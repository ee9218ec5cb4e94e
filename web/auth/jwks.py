"""Jwks: the keys of an issuer, kept and renewed.

Rules:

1. Keys are fetched when they are first needed, again after :data:`REFRESH_S`, and at once for a key id that is not
   known, but never more often than every :data:`RETRY_S`, whatever tokens are shown to us: strangers must not be able
   to make us knock at the issuer's door.
2. While the issuer cannot be reached, the keys that are known stay good for :data:`STALE_S`.
3. An answer is bounded in time and size, redirects are not followed, and symmetric keys in it are passed over.
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
"""An issuer that takes a key back is heard after this."""

RETRY_S = 30.0
STALE_S = 24 * 3600.0
TIMEOUT_S = 5.0
ANSWER_MAX_BYTES = 256 * 1024
KEYS_MAX = 64

KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
"""By algorithm (RFC 7518 §3.1, §6.1)."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Jwks:
    """See the module. Raises :class:`~gateway.errors.SettingsError` for a URL that anybody on the way could answer."""

    def __init__(self, url: str, clock: Clock) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise SettingsError("AUTH_JWKS_URL: keys that come without TLS could be anybody's; use an https:// URL")
        self._url = url
        self._clock = clock
        self._keys: list[tuple[str | None, str, jwt.PyJWK]] = []
        self._fetched_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: object, algorithm: str) -> Any:
        """The key of a token's header, or ``None``. Raises :class:`~gateway.errors.UnavailableError`."""
        found = self._find(key_id, algorithm)
        age_s = self._clock.monotonic() - self._fetched_at_s
        if found is None or age_s > REFRESH_S:
            await self._refresh()
            found = self._find(key_id, algorithm)
            age_s = self._clock.monotonic() - self._fetched_at_s
        if age_s > STALE_S:
            raise UnavailableError(
                "the issuer's keys cannot be had, so that tokens cannot be checked; the log has the reason",
                retry_after_s=int(RETRY_S),
            )
        return found

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _find(self, key_id: object, algorithm: str) -> Any:
        of_type = [(kid, key) for kid, key_type, key in self._keys if key_type == KEY_TYPES[algorithm]]
        if key_id is None:
            # Without an id there is no choosing (RFC 7515 §4.1.4 makes it optional).
            return of_type[0][1].key if len(of_type) == 1 else None
        return next((key.key for kid, key in of_type if kid == key_id), None)

    async def _refresh(self) -> None:
        """One fetch at a time, for all who wait; rule 1."""
        if self._fetching is None:
            now_s = self._clock.monotonic()
            if now_s - self._tried_at_s < RETRY_S:
                return
            self._tried_at_s = now_s
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        fetching = self._fetching
        try:
            # Whoever waits may go away; the fetch is everybody's.
            await asyncio.shield(fetching)
        finally:
            if fetching.done():
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
            log.warning("AUTH_JWKS_URL does not give keys: %s", redact(f"{type(error).__name__}: {error}"))
            return
        self._keys = keys
        self._fetched_at_s = self._clock.monotonic()


def _read(document: object) -> list[tuple[str | None, str, jwt.PyJWK]]:
    """The usable keys of a JWK set (RFC 7517 §5). Raises ``ValueError`` where there are none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no JWK set")  # noqa: TRY004  (the caller's one word for a wrong answer)
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
