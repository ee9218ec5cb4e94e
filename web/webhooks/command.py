"""``liveedge webhook test NAME``: send one message to an endpoint, without the gateway."""

import time
import uuid

from gateway.clock import SYSTEM_CLOCK, to_rfc3339
from gateway.errors import SettingsError
from web.api.webhook_messages import TrialData, message
from web.checked_resolver import address_check
from web.settings import Settings
from web.webhooks.client import WebhookClient
from web.webhooks.post import Verdict


async def send_test(settings: Settings, name: str) -> tuple[bool, str]:
    """Whether the endpoint took the message, and the sentence that says so. Raises ``SettingsError``."""
    table = settings.webhooks.get(name)
    if table is None:
        known = ", ".join(settings.webhooks) or "none is configured"
        raise SettingsError(f"there is no [webhooks.{name}] in the settings ({known})")
    text = "liveedge webhook test: this endpoint is reached, and the signature can be verified"
    body = message("webhook.test", to_rfc3339(SYSTEM_CLOCK.wall_90k()), TrialData(message=text)).model_dump_json()
    client = WebhookClient(table, address_check(settings))
    began_s = time.monotonic()
    try:
        outcome = await client.send(f"msg_{uuid.uuid4().hex}", body.encode())
    finally:
        await client.close()
    took_ms = round((time.monotonic() - began_s) * 1000)
    if outcome.verdict is Verdict.DELIVERED:
        return True, f"webhook {name}: delivered to {table.public_url} ({outcome.status}, {took_ms} ms)"
    return False, f"webhook {name}: not delivered: {outcome.why}"
