"""PushStore: the browsers that are notified, as this process has read them.

They are kept in a file of the machine (:mod:`web.push.subscriptions_file`) or in the database of a cluster
(:mod:`web.cluster.documents`).

Rules:

1. All workers of a machine, and all nodes of a cluster, have the same ones, as far as each has read them.
2. At most :data:`SUBSCRIPTIONS_MAX` subscriptions, :data:`PER_OWNER_MAX` of one owner.
"""

import asyncio
import hashlib
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import ConflictError
from hls.cluster.shared import Check
from web.api.push_models import NewPushSubscription
from web.push.encryption import encode_base64url

log = logging.getLogger(__name__)

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


class Documents(Protocol):
    """Where subscriptions are: JSON by their ids. Raises ``UnavailableError``."""

    error: str | None
    """Why they cannot be used."""

    def now(self) -> dict[str, str]: ...

    async def read(self) -> dict[str, str]: ...

    async def put(self, document_id: str, body: str, check: Check) -> bool: ...

    async def remove(self, ids: Collection[str]) -> bool: ...


class PushStore:
    """See the module. Reads them when it is made: blocking."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._lock = asyncio.Lock()
        self._all = _parse(documents.now())

    @property
    def error(self) -> str | None:
        """Why nobody can subscribe."""
        return self._documents.error

    @property
    def subscriptions(self) -> Mapping[str, Subscription]:
        """All by their id, in the order in which they were made."""
        return self._all

    async def refresh(self) -> frozenset[str]:
        """Read what other processes have changed; the ids of what is new, changed or gone.

        Raises ``UnavailableError``.
        """
        async with self._lock:
            found = await self._documents.read()
            if self.error is not None:
                return frozenset()
            before, self._all = self._all, _parse(found)
        return frozenset(key for key in before.keys() | self._all.keys() if before.get(key) != self._all.get(key))

    async def put(self, subscription: Subscription) -> bool:
        """Add one, or replace it; whether it is new. Raises ``ConflictError`` and ``UnavailableError``."""
        owner = subscription.holder.owner
        async with self._lock:
            is_new = await self._documents.put(
                subscription.id, subscription.model_dump_json(), lambda bodies: _require_room(_parse(bodies), owner)
            )
            self._all = {**self._all, subscription.id: subscription}
            return is_new

    async def remove(self, *ids: str) -> None:
        """Remove some, if they are there. Raises ``UnavailableError``."""
        async with self._lock:
            if any(each in self._all for each in ids):
                await self._documents.remove(ids)
                self._all = {key: value for key, value in self._all.items() if key not in ids}


def id_of(body: str) -> str:
    """The id of a subscription as JSON. Raises ``ValueError``."""
    return Subscription.model_validate_json(body).id


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
            log.warning("a subscription is of another version of liveedge, and is left out")
    return found
