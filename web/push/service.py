"""Push: notifications on the browsers that subscribed; their outbox, and what is reported to them.

Rules:

1. Nothing runs, and no file is made, while nobody has subscribed.
2. Each subscription has a task, a connection and a queue of its own. One that is slow or dead delays no other.
3. A camera that sends video is news only after it was down: who watches a camera that is started on demand must not
   notify all others.
4. A subscription ends when its push service says so, when its token ends (:mod:`web.push.access`), or when somebody
   removes it.
5. Subscriptions and key are those of all workers, and of all nodes of a cluster (:mod:`web.push.shared`).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from aiohttp import web
from yarl import URL

from gateway.access import Scope
from gateway.clock import CLOCK_RATE, to_rfc3339
from gateway.errors import BadRequestError, LiveedgeError, NotFoundError, UnavailableError
from web.api.push_models import NewPushSubscription, PushSubscription
from web.api.webhook_messages import Message
from web.auth.authenticator import Authenticator
from web.auth.grant import Grant
from web.auth.shared_access import SharedAccess
from web.gateway import Gateway
from web.observability.health import Finding
from web.push.access import current_grant, holder_of, may_get
from web.push.client import PushClient, check_endpoint
from web.push.delivery import QUEUE_MAX, REASONS, PushDelivery
from web.push.encryption import ReceiverKeys
from web.push.notification import notification, trial, wants
from web.push.shared import SharedPush, is_told_here
from web.push.store import Documents, PushStore, Subscription, id_of
from web.push.subscriptions_file import SubscriptionsFile
from web.push.vapid import FILE_NAME, VapidKey
from web.settings import Settings
from web.webhooks.outbox import Outbox
from web.webhooks.post import Outcome
from web.webhooks.sources import Sources

log = logging.getLogger(__name__)

FILE = "push.db"

DOWN = "down"
"""The name of the text with the cameras that were reported as down."""

FAILURES_MIN = 3
"""Failed attempts in a row that are a problem of the gateway, if no push service takes messages."""


class Push:
    """See the module. Lives on the event loop."""

    def __init__(self, gateway: Gateway, authenticator: Authenticator, shared: SharedAccess | None = None) -> None:
        self._shared = shared
        self._cluster = SharedPush.of(gateway.cluster)
        if shared is not None:
            shared.on_changed.append(self.refresh)
        self._gateway = gateway
        self._authenticator = authenticator
        self._settings = gateway.settings
        self._data_dir = gateway.settings.data_dir if gateway.worker is None else Path(gateway.worker.data_dir)
        documents: Documents
        if self._cluster is not None:
            documents = self._cluster.subscriptions
        else:
            documents = SubscriptionsFile(self._data_dir, id_of, shared.announce if shared is not None else None)
        self.store = PushStore(documents)
        self.deliveries: dict[str, PushDelivery] = {}
        """By the id of the subscription."""
        self.ended = Counter[str]()
        """Counts of deliveries that are there no more: ``delivered``, ``failed``, and each reason of a drop."""
        self._vapid: VapidKey | None = None
        self._key_error: str | None = None
        self._outbox: Outbox | None = None
        self._sources: Sources | None = None
        self._applying = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._key_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_started = False
        gateway.problem_sources.append(self.problems)
        gateway.on_reload.append(self.reload)

    async def start(self) -> None:
        """Begin to report, after the gateway has started."""
        self._is_started = True
        await self._apply()

    async def refresh(self) -> None:
        """Take over what other nodes have changed. Raises ``UnavailableError``."""
        async with self._refreshing:
            changed = await self.store.refresh()
            if changed and self._is_started:
                await self._apply(changed)

    async def close(self) -> None:
        """Stop. What waits is delivered after the next start."""
        self._is_started = False
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._sources is not None:
            await self._sources.close()
        for delivery in self.deliveries.values():
            await delivery.close()
        if self._outbox is not None:
            await self._outbox.close()

    def reload(self, settings: Settings) -> None:
        """Use other settings from now on."""
        before, self._settings = self._settings, settings
        is_same = (before.push_contact, before.push_services, before.allow_metadata_addresses) == (
            settings.push_contact,
            settings.push_services,
            settings.allow_metadata_addresses,
        )
        self._spawn(self._apply(() if is_same else tuple(self.deliveries)))

    # --- subscriptions

    async def public_key(self) -> str:
        """The key that browsers subscribe for; makes it if there is none. Raises ``UnavailableError``."""
        return (await self._key()).public

    async def subscribe(self, grant: Grant, wanted: NewPushSubscription, site: str | None) -> tuple[str, bool]:
        """Add or replace a subscription; its id, and whether it is new.

        Raises ``BadRequestError``, ``ConflictError`` and ``UnavailableError``.
        """
        check_endpoint(wanted.endpoint, self._settings.push_services)
        _keys_of(wanted)
        await self._key()
        now_90k = self._gateway.clock.wall_90k()
        subscription = Subscription(
            wanted=wanted,
            holder=holder_of(grant, self._authenticator),
            site=site,
            created_90k=now_90k,
            confirmed_90k=now_90k,
            node=self._cluster.node if self._cluster is not None else None,
        )
        before = self.store.subscriptions.get(subscription.id)
        if before is not None:
            subscription = subscription.model_copy(update={"created_90k": before.created_90k})
        is_new = await self.store.put(subscription)
        await self._apply((subscription.id,))
        return subscription.id, is_new

    def of(self, grant: Grant) -> Iterator[Subscription]:
        """The subscriptions that the holder of a grant may see and remove."""
        for each in self.store.subscriptions.values():
            if grant.may_everywhere(Scope.ADMIN) or each.holder.owner == grant.owner:
                yield each

    def find(self, grant: Grant, subscription_id: str) -> Subscription:
        """One of them. Raises ``NotFoundError``."""
        for each in self.of(grant):
            if each.id == subscription_id:
                return each
        raise NotFoundError("there is no such subscription; GET /api/push/subscriptions lists yours").because(
            "subscription_gone"
        )

    async def remove(self, *ids: str) -> None:
        """Remove some. Raises ``UnavailableError``."""
        await self.store.remove(*ids)
        await self._apply()

    async def send_test(self, subscription: Subscription) -> Outcome:
        """Send a message at once. Raises ``UnavailableError``."""
        delivery = self.deliveries.get(subscription.id)
        if delivery is None:
            raise UnavailableError("nothing can be sent to this subscription at present", retry_after_s=10).because(
                "subscription_busy"
            )
        return await delivery.send_now(trial(subscription.wanted.language, datetime.now().astimezone()))

    def status(self, subscription: Subscription) -> PushSubscription:
        """A subscription as the API shows it."""
        delivery = self.deliveries.get(subscription.id)
        choice = subscription.wanted.model_dump(exclude={"endpoint", "keys"})
        return PushSubscription(
            **choice,
            subscription_id=subscription.id,
            service=str(URL(subscription.wanted.endpoint).origin()) if delivery is None else delivery.origin,
            created=to_rfc3339(subscription.created_90k),
            confirmed=to_rfc3339(subscription.confirmed_90k),
            delivered=delivery.delivered if delivery else 0,
            failed=delivery.failed if delivery else 0,
            waiting=len(delivery.queue) if delivery else 0,
            last_delivered=delivery.last_delivered if delivery else None,
            error=delivery.last_error if delivery else self._key_error,
        )

    # --- what runs

    async def _apply(self, changed: Iterable[str] = ()) -> None:
        """Have a delivery for each subscription that is allowed; new ones for those in ``changed``."""
        async with self._applying:
            await self._end_unauthorized()
            wanted = self.store.subscriptions
            for each in changed:
                await self._close(each)
            for each in tuple(self.deliveries):
                if each not in wanted:
                    self.ended.update(self.deliveries[each].queue.dropped)
                    await self._close(each)
            if self._outbox is None and wanted:
                self._outbox = Outbox(self._settings.data_dir / FILE, "notifications", QUEUE_MAX)
                await self._outbox.open()
            if self._outbox is None:
                return
            for subscription in wanted.values():
                if subscription.id not in self.deliveries:
                    await self._open(subscription, self._outbox)
            self._outbox.retain(wanted)
            await self._follow(self._outbox, is_wanted=bool(wanted))

    async def _open(self, subscription: Subscription, outbox: Outbox) -> None:
        try:
            vapid = await self._key()
            contact = self._settings.push_contact or subscription.site
            keys = _keys_of(subscription.wanted)
            client = PushClient(subscription.wanted.endpoint, keys, vapid, self._settings, contact)
        except LiveedgeError as error:
            log.warning("notifications for %s are not sent: %s", subscription.wanted.name, error)
            return
        delivery = PushDelivery(subscription.id, subscription.wanted.name, client, outbox, self._on_gone)
        self.deliveries[subscription.id] = delivery
        delivery.start()

    async def _close(self, subscription_id: str) -> None:
        delivery = self.deliveries.pop(subscription_id, None)
        if delivery is not None:
            await delivery.close()
            self.ended.update({"delivered": delivery.delivered, "failed": delivery.failed})

    async def _follow(self, outbox: Outbox, *, is_wanted: bool) -> None:
        """Report while somebody has subscribed; without anybody, a later one begins at its present."""
        if is_wanted and self._sources is None:
            self._sources = Sources(self._gateway, outbox, self._emit, what="notifications", has_recordings=False)
            self._sources.start()
        elif not is_wanted and self._sources is not None:
            await self._sources.close()
            self._sources = None
            for name in ("events", "clips", "watch", DOWN):
                outbox.set(name, None)

    async def _end_unauthorized(self) -> None:
        now_90k = self._gateway.clock.wall_90k()
        ended = [
            each.id
            for each in self.store.subscriptions.values()
            if current_grant(each, self._authenticator, now_90k) is None and self._may_end(each, now_90k)
        ]
        if ended:
            log.info("notifications: %d subscription(s) end with their tokens", len(ended))
            try:
                await self.store.remove(*ended)
            except UnavailableError as error:
                log.warning("notifications: %s", error)

    def _may_end(self, subscription: Subscription, now_90k: int) -> bool:
        if self._shared is not None and not self._shared.is_read:
            return False  # its token may be there
        return self._cluster is None or self._cluster.may_end(subscription, now_90k)

    def _on_gone(self, subscription_id: str) -> None:
        log.info("notifications: the push service has ended a subscription, and it is removed")
        self._spawn(self._remove_gone(subscription_id))

    async def _remove_gone(self, subscription_id: str) -> None:
        try:
            await self.remove(subscription_id)
        except UnavailableError as error:
            log.warning("notifications: %s", error)  # it is tried again after the next message

    def _is_news(self, message: Message) -> bool:
        """Rule 3. What is down is kept over restarts, with what was reported."""
        if self._outbox is None or message.camera_id is None or message.type not in ("camera.down", "camera.up"):
            return True
        down = set(filter(None, (self._outbox.get(DOWN) or "").split(",")))
        was_down = message.camera_id in down
        down = down - {message.camera_id} if message.type == "camera.up" else down | {message.camera_id}
        self._outbox.set(DOWN, ",".join(sorted(down)))
        return message.type == "camera.down" or was_down

    def _emit(self, message_id: str, message: Message) -> None:
        cluster = self._gateway.cluster
        if cluster is not None and not is_told_here(message, cluster, are_workers=self._gateway.worker is not None):
            return
        if not self._is_news(message):
            return
        now_90k = self._gateway.clock.wall_90k()
        now = datetime.fromtimestamp(now_90k / CLOCK_RATE).astimezone()
        names = {camera.id: camera.settings.name for camera in self._gateway.service.cameras.values()}
        known = {key: name for key, name in names.items() if name is not None}
        for each in self.store.subscriptions.values():
            delivery = self.deliveries.get(each.id)
            grant = current_grant(each, self._authenticator, now_90k)
            if grant is None:
                self._spawn(self._apply())
            elif delivery is not None and may_get(grant, message.camera_id) and wants(each.wanted, message, now):
                delivery.add(message_id, message.type, notification(message, each.wanted.language, known))

    async def _key(self) -> VapidKey:
        """Raises ``UnavailableError``."""
        async with self._key_lock:
            if self._vapid is None and self._cluster is not None:
                self._vapid = await self._cluster.key()
            if self._vapid is None:
                try:
                    self._vapid = await asyncio.to_thread(VapidKey.kept, self._data_dir)
                    self._key_error = None
                except (OSError, ValueError) as error:
                    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                    path = self._data_dir / FILE_NAME
                    self._key_error = f"{path} cannot be used ({why}): repair it, or move it away and subscribe again"
                    raise UnavailableError(f"there are no notifications: {self._key_error}", 60) from None
            return self._vapid

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="push-apply")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- state

    def dropped(self) -> Mapping[str, int]:
        """Messages that were given up, by reason."""
        found = Counter({reason: self.ended[reason] for reason in REASONS})
        for delivery in self.deliveries.values():
            found.update(delivery.queue.dropped)
        return {reason: found[reason] for reason in REASONS}

    def problems(self) -> Iterator[Finding]:
        """What is wrong, for ``GET /api/status``."""
        error = self.store.error or self._key_error
        if error is not None:
            yield ("push", "push_unusable", None, f"there are no notifications: {error}")
        failing = [each for each in self.deliveries.values() if each.failures >= FAILURES_MIN]
        if failing and len(failing) == len(self.deliveries):
            why = failing[0].last_error
            yield ("push", "push_failing", None, f"no push service takes notifications: {why}")


def _keys_of(wanted: NewPushSubscription) -> ReceiverKeys:
    try:
        return ReceiverKeys.parse(wanted.keys.p256dh, wanted.keys.auth)
    except ValueError:
        raise BadRequestError("keys: they must be those of PushSubscription.toJSON()") from None


PUSH: web.AppKey[Push] = web.AppKey("push", Push)
"""The application key by which request handlers reach the notifications."""
