"""Requests to the gateway, and what its answers mean.

Rules:

1. The token is sent to the gateway's own address only.
2. Every error of aiohttp, every status from 400 on, and every value that cannot be sent is a :class:`LiveedgeError`.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
from yarl import URL

from liveedge_client.address import bearer_token, gateway_url, in_utf8
from liveedge_client.errors import (
    ApiError,
    InvalidArgumentError,
    LiveedgeError,
    ServerError,
    UnreachableError,
    error_of,
)
from liveedge_client.times import time_text

Query = Mapping[str, str | float | bool | datetime | Sequence[str] | None]
"""Parameters of a URL. Those that are ``None`` are left out."""

ROOTS = frozenset({"api", "archive", "hls", "mjpeg", "snapshot", "whep"})
"""Where the paths of the gateway begin."""

ANSWER_BYTES = 64 * 1024
"""Of an answer that is an error, no more is read."""


class Requests:
    """The requests of one client. ``timeout_s`` limits each but downloads and streams."""

    def __init__(self, url: str | URL, token: str | None, session: aiohttp.ClientSession | None, timeout_s: float):
        self.url = gateway_url(url)
        self.timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._token = bearer_token(token)
        if self._token is not None and self.url.user is not None:
            raise InvalidArgumentError("the URL has a user, and there is a token: a request has one of them")
        self._base = self.url.raw_path.rstrip("/")
        self._session = session
        self._is_own = session is None

    async def close(self) -> None:
        """Close the session, if it is none of the caller's."""
        if self._is_own and self._session is not None:
            await self._session.close()
            self._session = None

    def resolve(self, path: str, query: Query | None = None) -> URL:
        """The URL of a path of the API. The gateway may be below a path itself."""
        url = self.url.join(URL(f"{self._base}{URL(path).raw_path_qs}", encoded=True))
        pairs = [(name, text) for name, value in (query or {}).items() for text in _texts(value)]
        return url.extend_query(pairs) if pairs else url

    def resolve_answered(self, url: str) -> URL:
        """A URL that the gateway answered. A proxy may have put the path of the gateway in front of it, or not."""
        answered = URL(url)
        if answered.absolute:
            return answered
        path, base = answered.raw_path, f"{self._base}/"
        is_whole = path.startswith(base) and path.removeprefix(base).partition("/")[0] in ROOTS
        return self.url.join(answered) if is_whole else self.resolve(url)

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
            data = _json(body)
            sent.setdefault("Content-Type", "application/json")
        is_sent = False
        try:
            async with self._session.request(
                method, url, data=data, headers=sent, timeout=timeout or self.timeout
            ) as response:
                is_sent = True
                if response.status >= 400:
                    raise await _error(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            advice = "Is the gateway running, and is this its address?"
            raise UnreachableError(f"{method} {url.origin()}{url.path}: no answer ({reason}). {advice}") from error
        except ValueError as error:  # of aiohttp, before it sends anything
            if isinstance(error, LiveedgeError) or is_sent:
                raise
            raise InvalidArgumentError(f"{method} {url.origin()}{url.path} cannot be sent: {error}") from error

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
    texts = (str(value),) if isinstance(value, (str, int, float)) else value
    for text in texts:
        in_utf8(text, "a parameter")
    return texts


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    raise InvalidArgumentError(f"{value!r} cannot be sent as JSON")


def _json(body: object) -> bytes:
    try:
        return json.dumps(body, default=_as_json).encode()
    except InvalidArgumentError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"a value cannot be sent as JSON: {error}") from None


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
