"""Webhooks: the endpoints of ``[webhooks.NAME]``, their outbox, and what is reported to them.

Rules:

1. Nothing runs, and no file is made, while no endpoint is configured.
2. Each endpoint has a task, a connection and a queue of its own. One that is slow or dead delays no other.
3. A change of the settings applies at once. An endpoint that was removed loses what waits for it; one with another
   URL or secret gets what waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping

from aiohttp import web

from gateway.errors import NotFoundError
from web.api.webhook_messages import Message
from web.checked_resolver import address_check
from web.gateway import Gateway
from web.observability.health import Finding
from web.settings import Settings
from web.webhooks.client import WebhookClient
from web.webhooks.delivery import Delivery
from web.webhooks.journal import remove_journal
from web.webhooks.outbox import Outbox
from web.webhooks.settings import WebhookTable
from web.webhooks.sources import Sources

log = logging.getLogger(__name__)

FILE = "webhooks.db"

FAILURES_MIN = 3
"""Failed attempts in a row that are a problem of the gateway."""


class Webhooks:
    """See the module. Lives on the event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._outbox: Outbox | None = None
        self._sources: Sources | None = None
        self._deliveries: dict[str, Delivery] = {}
        self._applying = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        gateway.problem_sources.append(self.problems)
        gateway.on_reload.append(self.reload)

    async def start(self) -> None:
        """Begin to report, after the gateway has started."""
        await self._apply(self._settings)

    async def close(self) -> None:
        """Stop. What waits is delivered after the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._sources is not None:
            await self._sources.close()
        for delivery in self._deliveries.values():
            await delivery.close()
        if self._outbox is not None:
            await self._outbox.close()

    def reload(self, settings: Settings) -> None:
        """Use other settings from now on."""
        task = asyncio.create_task(self._apply(settings), name="webhooks-reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _apply(self, settings: Settings) -> None:
        async with self._applying:
            before, self._settings = self._settings, settings
            wanted = settings.webhooks
            is_same_policy = before.allow_metadata_addresses == settings.allow_metadata_addresses
            if wanted and self._outbox is None:
                self._outbox = Outbox(settings.data_dir / FILE)
                await self._outbox.open()
            for name, delivery in tuple(self._deliveries.items()):
                if wanted.get(name) != delivery.table or not is_same_policy:
                    await self._deliveries.pop(name).close()
            if self._outbox is None:
                # An endpoint that comes later must not get what an earlier one has left.
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(remove_journal, settings.data_dir / FILE)
                return
            self._outbox.retain(wanted)
            for name, table in wanted.items():
                if name not in self._deliveries:
                    client = WebhookClient(table, address_check(settings))
                    self._deliveries[name] = Delivery(name, table, client, self._outbox)
                    self._deliveries[name].start()
            await self._follow(self._outbox, wanted)

    async def _follow(self, outbox: Outbox, wanted: Mapping[str, WebhookTable]) -> None:
        """Report while there is an endpoint; without one, a later one begins at its present."""
        if wanted and self._sources is None:
            self._sources = Sources(self._gateway, outbox, self._emit)
            self._sources.start()
        elif not wanted and self._sources is not None:
            await self._sources.close()
            self._sources = None
            for name in ("events", "clips", "watch"):
                outbox.set(name, None)

    def _emit(self, message_id: str, message: Message) -> None:
        body: bytes | None = None
        for delivery in self._deliveries.values():
            if delivery.table.wants(message.type, message.camera_id):
                body = body if body is not None else message.model_dump_json().encode()
                delivery.add(message_id, message.type, body)

    # --- state

    @property
    def deliveries(self) -> Mapping[str, Delivery]:
        """Each endpoint by its name."""
        return self._deliveries

    def delivery(self, name: str) -> Delivery:
        """An endpoint. Raises ``NotFoundError``."""
        try:
            return self._deliveries[name]
        except KeyError:
            raise NotFoundError(f"there is no webhook {name[:64]!r}; GET /api/webhooks lists all webhooks").because(
                "webhook_unknown"
            ) from None

    @property
    def clips_dropped(self) -> int:
        """Clips that will not be reported, because too many were waited for."""
        return self._sources.clips_dropped if self._sources is not None else 0

    def problems(self) -> Iterator[Finding]:
        """What is wrong, for ``GET /api/status``."""
        failing = [
            f"{name}: {delivery.disabled or delivery.last_error}"
            for name, delivery in self._deliveries.items()
            if delivery.disabled is not None or delivery.failures >= FAILURES_MIN
        ]
        if failing:
            yield ("webhooks", "webhook_failing", None, f"messages are not delivered: {'; '.join(failing)}")
        if self._outbox is not None and self._outbox.error is not None:
            why = f"messages are delivered, but lost if the gateway ends: {self._outbox.error}"
            yield ("webhooks", "webhook_outbox_failed", None, f"the outbox of webhooks cannot be written; {why}")


WEBHOOKS: web.AppKey[Webhooks] = web.AppKey("webhooks", Webhooks)
"""The application key by which request handlers reach the webhooks."""
