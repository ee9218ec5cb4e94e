"""WebhookClient: sends messages to one endpoint, signed by the Standard Webhooks specification.

Rules:

1. 2xx is success. Anything else is a failure, redirects too: they are not followed (:mod:`web.webhooks.post`).
2. An attempt ends after :data:`TIMEOUT_S`.
3. Nothing that is reported has more of the URL than its host.
"""

from dataclasses import replace
from datetime import UTC, datetime

from standardwebhooks import Webhook
from yarl import URL

from signaling.ems_address import tls_context
from web.checked_resolver import CheckAddress
from web.webhooks.post import Outcome, PostClient, Verdict
from web.webhooks.settings import WebhookTable

TIMEOUT_S = 15.0
"""Standard Webhooks, "Delivery": 15 to 30 s."""

BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""These say nothing about the message."""


def verdict_of(status: int) -> Verdict:
    """What the status of an answer means."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 410:
        return Verdict.GONE
    return Verdict.FAILED if status in BUSY else Verdict.REFUSED


def signatures(table: WebhookTable, message_id: str, sent: datetime, body: str) -> str:
    """The value of ``webhook-signature``: a signature by every secret, the first secret's first."""
    secrets = (each.get_secret_value() for each in table.secret)
    return " ".join(Webhook(secret).sign(message_id, sent, body) for secret in secrets)


class WebhookClient:
    """See the module. Lives on the event loop."""

    def __init__(self, table: WebhookTable, check: CheckAddress | None, timeout_s: float = TIMEOUT_S) -> None:
        self._table = table
        url = URL(table.url.get_secret_value())
        self._http = PostClient(url, table.public_url, check, timeout_s, tls_context(table.tls_ca_file, "tls_ca_file"))

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
        outcome = await self._http.post(body, headers, verdict_of)
        if outcome.status is not None and 300 <= outcome.status < 400:
            why = "and redirects are not followed: set url to the address that it leads to"
            outcome = replace(outcome, why=f"{outcome.why}, {why}")
        return outcome
