"""PushClient: sends messages to the endpoint of one subscription (RFC 8030 §5).

Rules:

1. Who may view a camera may subscribe, and so names a URL that the gateway sends requests to. It has to be https, and
   at an address on the Internet (:func:`~web.address_policy.is_public`), unless ``PUSH_SERVICES`` names its origin.
   This is checked at each connect (:mod:`web.webhooks.post`).
2. Redirects are not followed, and an attempt ends after :data:`TIMEOUT_S`.
3. Nothing that is reported has more of the endpoint than its origin: who knows it can send messages to the browser.
"""

from collections.abc import Collection

from yarl import URL

from gateway.capture.engine import Address
from gateway.errors import BadRequestError, ForbiddenError
from web.address_policy import is_public
from web.checked_resolver import CheckAddress, address_check, check_host
from web.push.encryption import ReceiverKeys, encrypt
from web.push.settings import origin_of
from web.push.vapid import VapidKey
from web.settings import Settings
from web.webhooks.post import Outcome, PostClient, Verdict

TIMEOUT_S = 15.0

TTL_S = 4 * 3600
"""How long a push service keeps a message for a device that is off (RFC 8030 §5.2). Nobody needs older news."""

BUSY = frozenset({408, 425, 429})
"""These, and 5xx, say nothing about the message."""


def verdict_of(status: int) -> Verdict:
    """What the status of an answer means (RFC 8030 §5, §7.3; 404 and 410: the subscription has ended)."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status in (404, 410):
        return Verdict.GONE
    return Verdict.FAILED if status in BUSY or status >= 500 else Verdict.REFUSED


def check_endpoint(endpoint: str, services: Collection[str]) -> str:
    """The origin of an endpoint. Raises ``BadRequestError`` for one that rule 1 refuses by its looks."""
    try:
        origin = origin_of(endpoint)
    except ValueError as error:
        raise BadRequestError(f"endpoint: {error}") from None
    if origin in services:
        return origin
    if not origin.startswith("https://"):
        raise BadRequestError("endpoint: it must begin with https://, unless PUSH_SERVICES names its origin")
    try:
        check_host(URL(endpoint).raw_host or "", _refuse_private)
    except ForbiddenError as error:
        raise BadRequestError(f"endpoint: {error}") from None
    return origin


def _refuse_private(address: Address) -> None:
    if not is_public(address):
        raise ForbiddenError(
            f"its host has the address {address}, which is not on the Internet, so no connection was made; if it is a"
            " push service of yours, PUSH_SERVICES names its origin"
        )


class PushClient:
    """See the module. Lives on the event loop. Raises ``BadRequestError``."""

    def __init__(
        self,
        endpoint: str,
        keys: ReceiverKeys,
        vapid: VapidKey,
        settings: Settings,
        contact: str | None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.origin = check_endpoint(endpoint, settings.push_services)
        is_ours = self.origin in settings.push_services
        check: CheckAddress | None = address_check(settings) if is_ours else _refuse_private
        self._endpoint = endpoint
        self._keys = keys
        self._vapid = vapid
        self._contact = contact
        self._http = PostClient(URL(endpoint, encoded=True), self.origin, check, timeout_s)

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()

    async def send(self, payload: bytes, topic: str, *, is_urgent: bool) -> Outcome:
        """One attempt. Never raises, except if it is cancelled. ``topic``: RFC 8030 §5.4."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(TTL_S),
            "Topic": topic,
            "Urgency": "high" if is_urgent else "normal",  # RFC 8030 §5.3
            "Authorization": self._vapid.authorization(self._endpoint, self._contact),
        }
        return await self._http.post(encrypt(payload, self._keys), headers, verdict_of)
