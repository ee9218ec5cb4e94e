"""WebhookClient: sends one message to one endpoint, signed by the Standard Webhooks specification.

Rules:

1. 2xx is success. Anything else is a failure, redirects too: they are not followed, since they could lead to any host.
2. The addresses of the host are checked at each connect (:mod:`web.checked_resolver`).
3. An attempt ends after :data:`TIMEOUT_S`, however slowly the endpoint reads or answers, and no more than
   :data:`ANSWER_MAX_BYTES` of the answer are read.
4. Nothing that is reported has more of the URL than its host.
"""

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.metadata import version

import aiohttp
from standardwebhooks import Webhook
from yarl import URL

from gateway.errors import LiveedgeError
from signaling.ems_address import tls_context
from web.checked_resolver import CheckAddress, CheckedResolver, check_host, refusal_of
from web.webhooks.settings import WebhookTable

TIMEOUT_S = 15.0
"""Standard Webhooks, "Delivery": 15 to 30 s."""

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
    """410: the endpoint wants no more messages."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``why`` is a clause for people; ``retry_after_s`` is what the endpoint asks for."""

    verdict: Verdict
    why: str
    status: int | None = None
    retry_after_s: float = 0.0


BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""These say nothing about the message."""


def verdict_of(status: int) -> Verdict:
    """What the status of an answer means."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 410:
        return Verdict.GONE
    return Verdict.FAILED if status in BUSY else Verdict.REFUSED


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


def signatures(table: WebhookTable, message_id: str, sent: datetime, body: str) -> str:
    """The value of ``webhook-signature``: a signature by every secret, the first secret's first."""
    secrets = (each.get_secret_value() for each in table.secret)
    return " ".join(Webhook(secret).sign(message_id, sent, body) for secret in secrets)


class WebhookClient:
    """See the module. Lives on the event loop."""

    def __init__(self, table: WebhookTable, check: CheckAddress | None, timeout_s: float = TIMEOUT_S) -> None:
        self._table = table
        self._check = check
        self._url = URL(table.url.get_secret_value())
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(check),
            use_dns_cache=False,
            ssl=tls_context(table.tls_ca_file, "tls_ca_file"),
            limit=1,
            keepalive_timeout=30,
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

    async def send(self, message_id: str, body: bytes) -> Outcome:
        """One attempt. Never raises, except if it is cancelled."""
        sent = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": signatures(self._table, message_id, sent, body.decode()),
        }
        try:
            check_host(self._url.raw_host or "", self._check)
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                outcome = _outcome(answer)
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    if len(await answer.content.read(ANSWER_MAX_BYTES)) == ANSWER_MAX_BYTES:
                        answer.close()
                return outcome
        except LiveedgeError as error:
            return Outcome(Verdict.FAILED, str(error))
        except TimeoutError:
            return Outcome(Verdict.FAILED, f"no answer within {self._http.timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(Verdict.FAILED, reason_of(error, self._table.public_url))


def reason_of(error: Exception, host: str) -> str:
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


def _outcome(answer: aiohttp.ClientResponse) -> Outcome:
    verdict = verdict_of(answer.status)
    why = f"the answer was {answer.status}"
    if 300 <= answer.status < 400:
        why += ", and redirects are not followed: set url to the address that it leads to"
    retry_after_s = 0.0
    if verdict is not Verdict.DELIVERED:
        retry_after_s = parse_retry_after(answer.headers.get("Retry-After"), time.time())
    return Outcome(verdict, why, answer.status, retry_after_s)
