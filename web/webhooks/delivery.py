"""Delivery: serves one endpoint from its queue, one message after the other.

Rules:

1. Messages are delivered in their order. The next one is sent after the one before was delivered or given up
   (:mod:`web.webhooks.retries`), and each at least once.
2. An endpoint that answers 410 is disabled, and what waits for it is dropped. It stays disabled over restarts, until
   its URL is changed or an administrator enables it.
3. A wait that an endpoint has asked for goes on after a restart.
"""

import asyncio
import hashlib
import json
import logging
import time

from gateway.clock import CLOCK_RATE, to_rfc3339
from web.api.webhook_status import WebhookStatus
from web.webhooks.client import WebhookClient
from web.webhooks.journal import Entry
from web.webhooks.outbox import ENDPOINT, FULL, Outbox
from web.webhooks.post import RETRY_AFTER_MAX_S, Outcome, Verdict
from web.webhooks.retries import Retries
from web.webhooks.settings import WebhookTable

log = logging.getLogger(__name__)

EXPIRED, REFUSED, GONE = "expired", "refused", "gone"

REASONS = (FULL, EXPIRED, REFUSED, GONE)
"""Why a message is given up."""


class Delivery:
    """See the module. Lives on the event loop."""

    def __init__(
        self, name: str, table: WebhookTable, client: WebhookClient, outbox: Outbox, retries: Retries | None = None
    ) -> None:
        self.name = name
        self.table = table
        self.delivered = 0
        self.failed = 0
        """Attempts that failed."""
        self.last_error: str | None = None
        """Why the last attempt failed; ``None`` after a success."""
        self.disabled: str | None = None
        """Why nothing is sent to it."""
        self._client = client
        self._outbox = outbox
        self._queue = outbox.queue(name)
        self._retries = retries or Retries()
        self._delivered_90k: int | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._restore()

    def start(self) -> None:
        """Begin to deliver."""
        if self._task is None and self.disabled is None:
            self._task = asyncio.create_task(self._run(), name=f"webhook-{self.name}")

    async def close(self) -> None:
        """Stop. What waits stays in the queue."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._client.close()

    def add(self, message_id: str, kind: str, body: bytes) -> None:
        """A message for the endpoint; nothing while it is disabled."""
        if self.disabled is None:
            self._outbox.add(self.name, message_id, kind, body, time.time())

    def enable(self) -> None:
        """Send messages again, the next one at once."""
        if self._task is not None and self.disabled is not None:
            self._task = None  # it has ended
        self.disabled = self.last_error = None
        self._retries.reset()
        self._save()
        self._woken.set()
        self.start()

    def status(self) -> WebhookStatus:
        """The endpoint now."""
        oldest = self._queue.oldest
        return WebhookStatus(
            name=self.name,
            url=self.table.public_url,
            events=list(self.table.events),
            cameras=None if self.table.cameras is None else list(self.table.cameras),
            enabled=self.disabled is None,
            error=self.disabled or self.last_error,
            failures=self._retries.failures,
            waiting=len(self._queue),
            waiting_since=to_rfc3339(round(oldest.created_s * CLOCK_RATE)) if oldest else None,
            delivered=self.delivered,
            failed=self.failed,
            dropped={reason: self._queue.dropped[reason] for reason in REASONS},
            last_delivered=to_rfc3339(self._delivered_90k) if self._delivered_90k is not None else None,
        )

    @property
    def failures(self) -> int:
        """Failed attempts since the last success."""
        return self._retries.failures

    # --- rule 1

    async def _run(self) -> None:
        while self.disabled is None:
            entry = await self._queue.wait()
            if self._retries.is_expired(entry.added_s, time.monotonic()):
                self._give_up(entry, EXPIRED, f"it has waited too long: {self.last_error}")
            elif not await self._rest():
                await self._attempt(entry)

    async def _rest(self) -> bool:
        """Wait for the next attempt. Whether there was anything to wait for: the queue may be another one then."""
        self._woken.clear()
        wait_s = self._retries.next_s - time.monotonic()
        if wait_s <= 0:
            return False
        waiting = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait([waiting], timeout=wait_s)
        finally:
            waiting.cancel()
        return True

    async def _attempt(self, entry: Entry) -> None:
        outcome = await self._client.send(entry.id, entry.body)
        is_done = self._retries.note(entry.id, outcome, time.monotonic())
        if outcome.verdict is Verdict.DELIVERED:
            self.delivered += 1
            self._delivered_90k = time.time_ns() * 9 // 100_000
            if self.last_error is not None:
                log.info("webhook %s: messages are delivered again", self.name)
            self.last_error = None
            self._queue.remove(entry)
            return
        self.failed += 1
        if self.last_error != outcome.why:
            log.warning("webhook %s: %s; trying again", self.name, outcome.why)
        self.last_error = outcome.why
        if outcome.verdict is Verdict.GONE:
            self._disable()
        elif is_done:
            self._give_up(entry, REFUSED, outcome.why)
        if outcome.retry_after_s:
            self._save(outcome)

    def _give_up(self, entry: Entry, reason: str, why: str) -> None:
        log.error("webhook %s: the message %s (%s) is given up: %s", self.name, entry.id, entry.type, why)
        self._queue.drop(entry, reason)

    # --- rules 2 and 3

    def _disable(self) -> None:
        self.disabled = (
            f"the endpoint answered 410 Gone and gets no more messages: change its url, or enable it again with"
            f" POST /api/webhooks/{self.name}/enable"
        )
        log.error("webhook %s: %s", self.name, self.disabled)
        self._queue.clear(GONE)
        self._save()

    def _save(self, outcome: Outcome | None = None) -> None:
        kept = {
            "url": _digest(self.table),
            "disabled": self.disabled,
            "retry_at": time.time() + outcome.retry_after_s if outcome else 0,
        }
        self._outbox.set(f"{ENDPOINT}{self.name}", json.dumps(kept))

    def _restore(self) -> None:
        text = self._outbox.get(f"{ENDPOINT}{self.name}")
        kept = json.loads(text) if text else {}
        if kept.get("url") != _digest(self.table):
            return
        self.disabled = kept["disabled"]
        wait_s = min(kept["retry_at"] - time.time(), RETRY_AFTER_MAX_S)
        if wait_s > 0:
            self._retries.next_s = time.monotonic() + wait_s


def _digest(table: WebhookTable) -> str:
    return hashlib.sha256(table.url.get_secret_value().encode()).hexdigest()
