"""PushDelivery: serves one subscription from its queue.

Rules:

1. After a failure it rests: 5 s, then twice as long each time up to :data:`LONGEST_S`, longer where the push service
   asks for it (Retry-After, RFC 8030 §8.4). A message that the service refuses is given up, and the next one sent.
2. A message that is older than a push service would keep it is given up.
3. A subscription that has ended (404, 410) is reported to ``on_gone``, and nothing is sent any more.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable

from gateway.backoff import Backoff
from gateway.clock import to_rfc3339
from web.push.client import TTL_S, PushClient
from web.push.notification import Notification, topic_of
from web.webhooks.journal import Entry
from web.webhooks.outbox import FULL, Outbox
from web.webhooks.post import Outcome, Verdict

log = logging.getLogger(__name__)

QUEUE_MAX = 32
"""Messages that wait for one browser. Who was not reached for so long looks at the list of events."""

FIRST_S, LONGEST_S = 5.0, 300.0

EXPIRED, REFUSED, GONE = "expired", "refused", "gone"

REASONS = (FULL, EXPIRED, REFUSED, GONE)
"""Why a message is given up."""


class PushDelivery:
    """See the module. Lives on the event loop. ``name`` is that of the browser, for the log."""

    def __init__(
        self, subscription_id: str, name: str, client: PushClient, outbox: Outbox, on_gone: Callable[[str], None]
    ) -> None:
        self.id = subscription_id
        self.delivered = 0
        self.failed = 0
        """Attempts that failed."""
        self.last_error: str | None = None
        """Why the last attempt failed; ``None`` after a success."""
        self.last_delivered: str | None = None
        self._name = name
        self._client = client
        self._outbox = outbox
        self.queue = outbox.queue(subscription_id)
        self._on_gone = on_gone
        self._backoff = Backoff(0, FIRST_S / 2, longest_s=LONGEST_S)
        self._next_s = float("-inf")
        self._is_gone = False
        self._task: asyncio.Task[None] | None = None

    @property
    def origin(self) -> str:
        """That of the push service."""
        return self._client.origin

    @property
    def failures(self) -> int:
        """Failed attempts since the last success."""
        return self._backoff.failures

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._run(), name=f"push-{self.id}")

    async def close(self) -> None:
        """Stop. What waits stays in the queue."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._client.close()

    def add(self, message_id: str, kind: str, notification: Notification) -> None:
        """A message for the browser."""
        if not self._is_gone:
            self._outbox.add(self.id, message_id, kind, notification.payload, time.time())

    async def send_now(self, notification: Notification) -> Outcome:
        """Send a message past the queue, once."""
        outcome = await self._client.send(notification.payload, topic_of(notification.tag), is_urgent=True)
        self._note(outcome)
        return outcome

    async def _run(self) -> None:
        while not self._is_gone:
            entry = await self.queue.wait()
            wait_s = self._next_s - time.monotonic()
            if time.monotonic() - entry.added_s > TTL_S:
                self.queue.drop(entry, EXPIRED)
            elif wait_s > 0:
                await asyncio.sleep(wait_s)
            else:
                await self._attempt(entry)

    async def _attempt(self, entry: Entry) -> None:
        topic = topic_of(json.loads(entry.body)["tag"])
        outcome = await self._client.send(entry.body, topic, is_urgent=entry.type == "camera.down")
        self._note(outcome)
        if outcome.verdict is Verdict.DELIVERED:
            self.queue.remove(entry)
        elif outcome.verdict is Verdict.REFUSED:
            self.queue.drop(entry, REFUSED)

    def _note(self, outcome: Outcome) -> None:
        if outcome.verdict is Verdict.DELIVERED:
            self.delivered += 1
            self.last_delivered = to_rfc3339(time.time_ns() * 9 // 100_000)
            self.last_error = None
            self._backoff.reset()
            return
        self.failed += 1
        if self.last_error != outcome.why:
            log.warning("notifications for %s: %s", self._name, outcome.why)
        self.last_error = outcome.why
        if outcome.verdict is Verdict.GONE:
            self._is_gone = True
            self.queue.clear(GONE)
            self._on_gone(self.id)
        else:
            rest_s = self._backoff.failed() if outcome.verdict is Verdict.FAILED else 0.0
            self._next_s = time.monotonic() + max(rest_s, outcome.retry_after_s)
