"""Requests to the gateway, and what its answers mean.

Rules:

1. The token is sent to the gateway's own address only.
2. Every error of aiohttp, and every status from 400 on, becomes a :class:`LiveedgeError`.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
from yarl import URL

from liveedge_client.errors import ApiError, ServerError, UnreachableError, error_of
from liveedge_client.times import time_text

Query = Mapping[str, str | float | bool | datetime | Sequence[str] | None]
"""Parameters of a URL. Those that are ``None`` are left out."""

ANSWER_BYTES = 64 * 1024
"""Of an answer that is an error, no more is read."""


class Requests:
    """The requests of one client. ``timeout_s`` limits each but downloads and streams."""

    def __init__(self, url: str | URL, token: str | None, session: aiohttp.ClientSession | None, timeout_s: float):
        self.url = URL(url)
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ValueError(f"{url!r} is not the URL of a gateway, as in http://gateway.example:8000")
        self.timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._token = token
        self._session = session
        self._is_own = session is None

    async def close(self) -> None:
        """Close the session, if it is none of the caller's."""
        if self._is_own and self._session is not None:
            await self._session.close()
            self._session = None

    def resolve(self, path: str | URL, query: Query | None = None) -> URL:
        """The URL of a path on the gateway, which may be below a path itself."""
        path = URL(path)
        base = self.url.raw_path.rstrip("/")
        if not path.absolute and not path.raw_path.startswith(f"{base}/"):
            path = URL(f"{base}{path.raw_path_qs}", encoded=True)
        url = self.url.join(path)
        pairs = [(name, text) for name, value in (query or {}).items() for text in _texts(value)]
        return url.extend_query(pairs) if pairs else url

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: URL,
        *,
        body: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, and wait for the head of a successful answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        sent = dict(headers or {})
        if self._token is not None and url.origin() == self.url.origin():
            sent["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            data = json.dumps(body, default=_as_json).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            async with self._session.request(
                method, url, data=data, headers=sent, timeout=timeout or self.timeout
            ) as response:
                if response.status >= 400:
                    raise await _error(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            advice = "Is the gateway running, and is this its address?"
            raise UnreachableError(f"{method} {url.origin()}{url.path}: no answer ({reason}). {advice}") from error

    async def read(self, method: str, path: str, query: Query | None = None, body: object = None) -> bytes:
        """The body of an answer."""
        async with self.send(method, self.resolve(path, query), body=body) as response:
            return await response.read()


def _texts(value: str | float | bool | datetime | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, datetime):
        return (time_text(value),)
    if isinstance(value, (str, int, float)):
        return (str(value),)
    return value


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    raise TypeError(f"{value!r} cannot be sent as JSON")


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    text = await response.content.read(ANSWER_BYTES)
    try:
        answer = json.loads(text)
        code, message = str(answer["error"]), str(answer["message"])
    except (ValueError, KeyError, TypeError):
        # Not an answer of liveedge: of a proxy in front of it, or of another program.
        return ServerError(response.status, "no_liveedge", f"{response.url.origin()} does not answer as liveedge does")
    wait = response.headers.get("Retry-After", "")
    return error_of(response.status, code, message, float(wait) if wait.isdigit() else None)
