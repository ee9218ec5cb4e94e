"""PostClient: sends messages by POST to one URL that somebody named, and tells how each attempt ended.

Rules:

1. The addresses of the host are checked at each connect, and the connection goes to an address that was checked
   (:mod:`web.checked_resolver`).
2. Redirects are not followed: they could lead to any host.
3. An attempt ends after its time, however slowly the server reads or answers, and no more than
   :data:`ANSWER_MAX_BYTES` of the answer are read.
4. Nothing that is reported has more of the URL than what may be said of it.
"""

import contextlib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.metadata import version

import aiohttp
from yarl import URL

from gateway.errors import LiveedgeError
from web.checked_resolver import CheckAddress, CheckedResolver, check_host, refusal_of

ANSWER_MAX_BYTES = 16 * 1024
"""An answer has no meaning beside its status. A short one is read, so that the connection can be used again."""

RETRY_AFTER_MAX_S = 86_400.0


class Verdict(StrEnum):
    """What an attempt means."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """The endpoint cannot be reached, is overloaded, or does not answer: it may get any message later."""
    REFUSED = "refused"
    """The endpoint has an error with this message, or with every one."""
    GONE = "gone"
    """The endpoint wants no more messages."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``why`` is a clause for people; ``retry_after_s`` is what the endpoint asks for."""

    verdict: Verdict
    why: str
    status: int | None = None
    retry_after_s: float = 0.0


def parse_retry_after(text: str | None, now_s: float) -> float:
    """Seconds to wait (RFC 9110 §10.2.3), a day at most; 0 for no or no valid value. ``now_s`` is Unix time."""
    if not text:
        return 0.0
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(text)
        wait_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


class PostClient:
    """See the module. Lives on the event loop. ``told`` is what may be said of the URL."""

    def __init__(
        self,
        url: URL,
        told: str,
        check: CheckAddress | None,
        timeout_s: float,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._url = url
        self._told = told
        self._check = check
        self._timeout_s = timeout_s
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(check), use_dns_cache=False, ssl=tls, limit=1, keepalive_timeout=30
        )
        self._http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            auto_decompress=False,
            headers={"User-Agent": f"liveedge/{version('liveedge')}"},
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()

    async def post(self, body: bytes, headers: Mapping[str, str], verdict_of: Callable[[int], Verdict]) -> Outcome:
        """One attempt. Never raises, except if it is cancelled. ``verdict_of``: what the status of an answer means."""
        try:
            check_host(self._url.raw_host or "", self._check)
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                outcome = _outcome(answer, verdict_of(answer.status), self._told)
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    if len(await answer.content.read(ANSWER_MAX_BYTES)) == ANSWER_MAX_BYTES:
                        answer.close()
                return outcome
        except LiveedgeError as error:
            return Outcome(Verdict.FAILED, str(error))
        except TimeoutError:
            return Outcome(Verdict.FAILED, f"no answer from {self._told} within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(Verdict.FAILED, _reason_of(error, self._told))


def _reason_of(error: Exception, host: str) -> str:
    """Why a request failed, as a clause. ``host``: what may be said of the URL."""
    if (refusal := refusal_of(error)) is not None:
        return str(refusal)
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return f"the TLS connection to {host} failed: its certificate is not valid, or is of an unknown authority"
    if isinstance(error, aiohttp.InvalidURL):
        return f"{host} cannot be connected to: write its host as a name or as an address"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"there is no address for the host of {host}: {error.os_error.strerror or 'the look-up failed'}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {host}: {error.os_error.strerror or 'it failed'}"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return f"{host} closed the connection without an answer"
    return f"{host} sent no valid answer ({type(error).__name__})"


def _outcome(answer: aiohttp.ClientResponse, verdict: Verdict, told: str) -> Outcome:
    retry_after_s = 0.0
    if verdict is not Verdict.DELIVERED:
        retry_after_s = parse_retry_after(answer.headers.get("Retry-After"), time.time())
    return Outcome(verdict, f"the answer of {told} was {answer.status}", answer.status, retry_after_s)
