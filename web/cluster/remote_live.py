"""RemoteLive: the live playlists and media of cameras that other nodes capture, fetched once from their owners.

Their addresses mean the same at every node: each answers with what the owner has. So a player may send each request to
another node, and it goes on at any of them.

Rules:

1. What several players request at the same time is requested of the owner once. That includes a blocking reload and a
   hinted part (rfc8216bis §6.2.5.2), which the owner holds. When all of them have left, the request ends.
2. Media are kept for as long as the owner says, since their names are never used twice; playlists with delivery
   directives for :data:`DIRECTED_S`, others for :data:`PLAIN_S`. :data:`KEPT_MAX_BYTES` are kept in all; beyond that,
   what was used longest ago is dropped.
3. While the owner is lost, a request waits for the next one, at most :data:`PATIENCE_S`, and is sent there. Where this
   node is that one, the request is answered here.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from gateway.camera_settings import RenditionName
from gateway.errors import (
    BadRequestError,
    LiveedgeError,
    NegotiationError,
    NodeAwayError,
    NotFoundError,
    NotOwnerError,
    UnavailableError,
)
from hls.live.playlist import LIVE_NAME, SUB_LIVE_NAME, Rendered
from hls.live.service import LiveService
from web.cluster.forwarding import Forwarding
from web.cluster.service import Cluster

DIRECTED_S = 1.0
"""As caches may (rfc8216bis §6.2.5)."""

PLAIN_S = 0.25
"""The least part target: a playlist changes no more often."""

KEPT_MAX_BYTES = 64 * 1024 * 1024
"""Ten seconds of fifty cameras with 1 Mbit/s, or of six with 8."""

PATIENCE_S = 10.0
"""A lost camera has another owner after 4 to 7 s."""

LOOK_S = 0.2
"""How often to look whether there is another owner."""

_MAX_AGE = re.compile(r"max-age=(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Media:
    """An init segment, a segment or a part, and for how many seconds the owner has it."""

    data: bytes
    lifetime_s: int


class _IsHereError(Exception):
    """This node owns the camera now."""


class _Flight:
    """A request to an owner, and how many wait for it."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiting = 0


class RemoteLive:
    """See the module. Lives on the event loop. ``live`` has the streams of the cameras that this node captures."""

    def __init__(
        self,
        cluster: Cluster,
        forwarding: Forwarding,
        live: LiveService,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = 0
        """That were sent to owners."""
        self.answered = 0
        """That players made."""
        self.dropped = 0
        """Answers that were dropped by rule 2 before their time was over."""
        self._cluster = cluster
        self._forwarding = forwarding
        self._live = live
        self._monotonic = monotonic
        self._flights: dict[str, _Flight] = {}
        self._kept: OrderedDict[str, tuple[Any, float, int]] = OrderedDict()
        """By address: what it is, until when, and its bytes."""
        self._kept_bytes = 0

    def has(self, camera_id: str) -> bool:
        """Whether another node has a camera's live streams."""
        return not self._cluster.captures(camera_id)

    async def media_playlist(
        self, camera_id: str, name: RenditionName, msn: int | None, part: int | None, *, delta: bool
    ) -> Rendered:
        """As :meth:`hls.live.stream.LiveStream.media_playlist`."""
        query = {"_HLS_msn": msn, "_HLS_part": part, "_HLS_skip": "YES" if delta else None}
        file = LIVE_NAME if name is RenditionName.MAIN else SUB_LIVE_NAME
        keep_s = PLAIN_S if msn is None else DIRECTED_S
        try:
            rendered: Rendered = await self._get(
                camera_id, _target(camera_id, file, query), _rendered, lambda _: keep_s
            )
            return rendered
        except _IsHereError:
            return await self._live.stream(camera_id, name).media_playlist(msn, part, delta=delta)

    async def multivariant_playlist(self, camera_id: str, only: RenditionName | None) -> Rendered:
        """As :meth:`hls.live.service.LiveService.multivariant_playlist`."""
        query = {"rendition": only.value if only is not None else None}
        try:
            target = _target(camera_id, "index.m3u8", query)
            rendered: Rendered = await self._get(camera_id, target, _rendered, lambda _: DIRECTED_S)
            return rendered
        except _IsHereError:
            return await self._live.multivariant_playlist(camera_id, only)

    async def media(self, camera_id: str, rendition: RenditionName, name: str) -> Media:
        """As :meth:`hls.live.stream.LiveStream.media`."""
        file = name if rendition is RenditionName.MAIN else f"sub/{name}"
        try:
            target = _target(camera_id, file, {})
            media: Media = await self._get(camera_id, target, _media, lambda media: media.lifetime_s)
            return media
        except _IsHereError:
            stream = self._live.stream(camera_id, rendition)
            return Media(bytes(await stream.media(name)), stream.window.lifetime_s)

    # --- rules 1 and 2

    async def _get(
        self,
        camera_id: str,
        target: str,
        make: Callable[[bytes, aiohttp.ClientResponse], Any],
        keep_s: Callable[[Any], float],
    ) -> Any:
        self.answered += 1
        found = self._kept.get(target)
        if found is not None and found[1] > self._monotonic():
            self._kept.move_to_end(target)
            return found[0]
        flight = self._flights.get(target)
        if flight is None:
            fetching = asyncio.create_task(self._fetch(camera_id, target, make, keep_s), name="remote-live")
            flight = self._flights[target] = _Flight(fetching)
            fetching.add_done_callback(lambda _: self._end(target, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                # A request that comes now is not to join one that ends.
                self._end(target, flight)
                flight.task.cancel()

    def _end(self, target: str, flight: _Flight) -> None:
        if self._flights.get(target) is flight:
            del self._flights[target]

    def _keep(self, target: str, value: Any, size: int, until_s: float) -> None:
        self._drop(target)
        now_s = self._monotonic()
        while self._kept and next(iter(self._kept.values()))[1] <= now_s:
            self._drop(next(iter(self._kept)))
        self._kept[target] = value, until_s, size
        self._kept_bytes += size
        while self._kept_bytes > KEPT_MAX_BYTES:
            self._drop(next(iter(self._kept)))
            self.dropped += 1

    def _drop(self, target: str) -> None:
        found = self._kept.pop(target, None)
        if found is not None:
            self._kept_bytes -= found[2]

    # --- rule 3

    async def _fetch(
        self,
        camera_id: str,
        target: str,
        make: Callable[[bytes, aiohttp.ClientResponse], Any],
        keep_s: Callable[[Any], float],
    ) -> Any:
        deadline_s = self._monotonic() + PATIENCE_S
        while True:
            owner_id = self._owner_id(camera_id)
            try:
                made, size = await self._while_owned(camera_id, owner_id, target, make)
            except (NodeAwayError, _NotOwnedError) as error:
                if self._monotonic() >= deadline_s:
                    raise error if isinstance(error, LiveedgeError) else self._nobody(camera_id) from None
                await asyncio.sleep(LOOK_S)
            else:
                self._keep(target, made, size, self._monotonic() + keep_s(made))
                return made

    def _owner_id(self, camera_id: str) -> str | None:
        if self._cluster.captures(camera_id):
            raise _IsHereError
        return self._cluster.coordinator.view.owner(camera_id).node_id

    async def _while_owned(
        self, camera_id: str, owner_id: str | None, target: str, make: Callable[[bytes, aiohttp.ClientResponse], Any]
    ) -> tuple[Any, int]:
        """Ask an owner, for as long as it is the owner."""
        asking = asyncio.create_task(self._ask(camera_id, owner_id, target, make), name="remote-live-request")
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=LOOK_S)
                if not asking.done() and self._owner_id(camera_id) != owner_id:
                    raise _NotOwnedError
            return asking.result()
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await asking

    async def _ask(
        self, camera_id: str, owner_id: str | None, target: str, make: Callable[[bytes, aiohttp.ClientResponse], Any]
    ) -> tuple[Any, int]:
        node = self._forwarding.node(owner_id)
        if node is None:
            raise _NotOwnedError
        self.requests += 1
        async with self._forwarding.ask(node, "GET", target, {"Accept-Encoding": "identity"}) as answer:
            try:
                body = await answer.read()
            except (aiohttp.ClientError, OSError):
                raise NodeAwayError(node.name, f"the node {node.name} of the cluster was lost") from None
            if answer.status == 200:
                return make(body, answer), len(body)
            raise _error_of(answer, body)

    def _nobody(self, camera_id: str) -> UnavailableError:
        return UnavailableError(
            self._cluster.elsewhere(camera_id) or f"camera {camera_id} is just being handed over", retry_after_s=2
        )


class _NotOwnedError(Exception):
    """The node that was asked is not the owner."""


def _target(camera_id: str, file: str, query: dict[str, Any]) -> str:
    text = urlencode({name: value for name, value in query.items() if value is not None})
    return f"/hls/{quote(camera_id)}/{quote(file)}" + (f"?{text}" if text else "")


def _rendered(body: bytes, _: aiohttp.ClientResponse) -> Rendered:
    return Rendered(body.decode())


def _media(body: bytes, answer: aiohttp.ClientResponse) -> Media:
    match = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
    return Media(body, int(match[1]) if match is not None else 0)


def _error_of(answer: aiohttp.ClientResponse, body: bytes) -> Exception:
    """The error that an owner answered, or that it is none."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    message = str(told.get("message") or f"the owner of the camera answered {answer.status}")
    if told.get("error") == NotOwnerError.code:
        return _NotOwnedError()
    if answer.status == 400:
        return BadRequestError(message)
    if answer.status == 404:
        return NotFoundError(message)
    if answer.status == 406:
        return NegotiationError(message, tuple(told.get("transports") or ()))
    retry_after = answer.headers.get("Retry-After", "")
    return UnavailableError(message, int(retry_after) if retry_after.isdecimal() else 2)
