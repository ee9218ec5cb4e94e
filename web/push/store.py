"""PushStore: the browsers that are notified, in ``DATA_DIR/push.json`` or the database of a cluster.

Rules:

1. The file is replaced atomically, with mode 0600, and is on the disk before a change is confirmed: who knows the
   endpoint and the keys of a subscription could send messages to the browser.
2. A file that cannot be read is reported, and left as it is. Until it is repaired or moved away nobody can subscribe.
3. In a cluster all nodes have the same subscriptions, as far as each has read them.
4. At most :data:`SUBSCRIPTIONS_MAX` subscriptions, :data:`PER_OWNER_MAX` of one owner.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import ConflictError, UnavailableError
from web.api.push_models import NewPushSubscription
from web.cluster.documents import ClusterDocuments
from web.private_files import write_private
from web.push.encryption import encode_base64url

log = logging.getLogger(__name__)

FILE_NAME = "push.json"
VERSION = 1

SUBSCRIPTIONS_MAX = 200
PER_OWNER_MAX = 50


class Holder(BaseModel):
    """Who subscribed, with the rights of the credential at that time; see :mod:`web.push.access`."""

    model_config = ConfigDict(frozen=True)

    owner: str
    name: str
    is_named: bool
    """Whether the grant can be looked up by its name."""
    cameras: list[str] | None


class Subscription(BaseModel):
    """One browser. Times are 90 kHz ticks of the wall clock."""

    model_config = ConfigDict(frozen=True)

    wanted: NewPushSubscription
    holder: Holder
    site: str | None = Field(description="origin of the page")
    created_90k: int
    confirmed_90k: int
    node: str | None = Field(default=None, description="the node of a cluster at which it was made")

    @property
    def id(self) -> str:
        """See :func:`subscription_id`."""
        return subscription_id(self.wanted.endpoint)


def subscription_id(endpoint: str) -> str:
    """The id of a subscription: the page computes it too, to know its own."""
    return encode_base64url(hashlib.sha256(endpoint.encode()).digest()[:16])


class PushStore:
    """See the module. Reads them when it is made: blocking. ``shared``: those of a cluster, and not of a file."""

    def __init__(self, data_dir: Path, shared: ClusterDocuments | None = None) -> None:
        self._shared = shared
        self.path = data_dir / FILE_NAME
        self.error: str | None = None
        """Why the file cannot be used; rule 2."""
        self._lock = asyncio.Lock()
        self._all: dict[str, Subscription] = {}
        if shared is not None:
            self._all = _parse(shared.now())
            return
        try:
            self._all = _read(self.path)
        except OSError as error:
            self._refuse(f"cannot be read ({error.strerror}): give it to the user that runs liveedge")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._refuse("is damaged or was not written by liveedge: restore a copy, or move it away")

    @property
    def subscriptions(self) -> Mapping[str, Subscription]:
        """All by their id, in the order in which they were made."""
        return self._all

    async def refresh(self) -> frozenset[str]:
        """Read what other nodes have changed; the ids of what is new, changed or gone. Raises ``UnavailableError``."""
        if self._shared is None:
            return frozenset()
        async with self._lock:
            before, self._all = self._all, _parse(await self._shared.read())
        return frozenset(key for key in before.keys() | self._all.keys() if before.get(key) != self._all.get(key))

    async def put(self, subscription: Subscription) -> bool:
        """Add one, or replace it; whether it is new. Raises ``ConflictError`` and ``UnavailableError``."""
        async with self._lock:
            owner = subscription.holder.owner
            if self._shared is not None:
                body = subscription.model_dump_json()
                is_new = await self._shared.put(
                    subscription.id, body, lambda bodies: _require_room(_parse(bodies), owner)
                )
                self._all = {**self._all, subscription.id: subscription}
                return is_new
            is_new = subscription.id not in self._all
            if is_new:
                _require_room(self._all, owner)
            await self._save({**self._all, subscription.id: subscription})
            return is_new

    async def remove(self, *ids: str) -> None:
        """Remove some, if they are there. Raises ``UnavailableError``."""
        async with self._lock:
            if not any(each in self._all for each in ids):
                return
            others = {key: value for key, value in self._all.items() if key not in ids}
            if self._shared is not None:
                await self._shared.remove(ids)
                self._all = others
            else:
                await self._save(others)

    def _refuse(self, why: str) -> None:
        self.error = f"{self.path} {why}, and restart the gateway"
        log.error("notifications: %s", self.error)

    async def _save(self, subscriptions: dict[str, Subscription]) -> None:
        if self.error is not None:
            raise UnavailableError(f"subscriptions cannot be saved: {self.error}", retry_after_s=60)
        tables = [each.model_dump() for each in subscriptions.values()]
        data = json.dumps({"version": VERSION, "subscriptions": tables}, indent=1, ensure_ascii=False).encode()
        try:
            await asyncio.to_thread(write_private, self.path, data)
        except OSError as error:
            raise UnavailableError(
                f"the subscription was not saved, because DATA_DIR cannot be written ({error.strerror})",
                retry_after_s=30,
            ).because("data_dir_unwritable") from None
        self._all = subscriptions


def _require_room(subscriptions: Mapping[str, Subscription], owner: str) -> None:
    if len(subscriptions) >= SUBSCRIPTIONS_MAX:
        raise ConflictError(f"there are {SUBSCRIPTIONS_MAX} subscriptions, the limit; remove one in the list").because(
            "limit_reached", limit=SUBSCRIPTIONS_MAX
        )
    if sum(each.holder.owner == owner for each in subscriptions.values()) >= PER_OWNER_MAX:
        raise ConflictError(f"this token has {PER_OWNER_MAX} subscriptions, the limit; remove one in the list").because(
            "limit_reached", limit=PER_OWNER_MAX
        )


def _parse(documents: Mapping[str, str]) -> dict[str, Subscription]:
    """One that a newer liveedge wrote, and this one cannot read, is left out."""
    found = {}
    for key, body in documents.items():
        try:
            found[key] = Subscription.model_validate_json(body)
        except ValidationError:
            log.warning("a subscription of the cluster is of another version of liveedge, and is left out here")
    return found


def _read(path: Path) -> dict[str, Subscription]:
    """Raises ``OSError``, and others for what is no such file."""
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if kept["version"] != VERSION:
        raise ValueError("unknown version")
    try:
        found = [Subscription.model_validate(table) for table in kept["subscriptions"]]
    except ValidationError as error:
        raise ValueError(str(error)) from None
    return {each.id: each for each in found}
